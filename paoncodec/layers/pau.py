"""The Padé activation unit: one learned rational function for all values of a layer.

Molina, Schramowski and Kersting, "Padé Activation Units: End-to-end Learning of Flexible Activation
Functions in Deep Networks" (ICLR 2020). "Padé Neurons for Efficient Neural Models" compares with it
(IV-A5, degrees [7/6]); unlike a Padé neuron it acts on each value by itself. The authors' package,
rational_activations 0.2.0, asks for torch 1.7.1 and compiles for CUDA; hence this one.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

#: The start is fitted on [-FIT_REACH, FIT_REACH].
FIT_REACH = 3.0


class PAU(nn.Module):
    """Safe Padé activation unit: any shape → the same.

    ``y = (a_0 + Σ_{k=1..K} a_k x^k) / (1 + |Σ_{k=1..L} b_k x^k|)``; the denominator is ≥ 1. Starts
    as the leaky ReLU, fitted by least squares. For the default degrees and slope the fit is within
    0.015 of it on [-3, 3].

    Parameters: ``numerator`` (K + 1,), a_0 first; ``denominator`` (L,), b_1 first.

    Args:
        num: degree K ≥ 0 of the numerator.
        den: degree L ≥ 1 of the denominator.
        negative_slope: of the leaky ReLU it starts as.

    For \\|x\\| ≤ 1e4 values are finite in float32; float16 and bfloat16 are computed in it. The
    backward keeps x and the coefficients alone. Differentiable once.

    Raises:
        ValueError: impossible degrees.
    """

    def __init__(self, num: int = 7, den: int = 6, negative_slope: float = 0.01) -> None:
        super().__init__()
        if num < 0 or den < 1:
            raise ValueError(f"degrees ({num}, {den}): need one >= 0, then one >= 1")
        a, b = fit_leaky_relu(num, den, negative_slope)
        self.numerator = nn.Parameter(a.to(torch.get_default_dtype()))
        self.denominator = nn.Parameter(b.to(torch.get_default_dtype()))

    def forward(self, x: Tensor) -> Tensor:
        """Any shape → the same, in the dtype of x."""
        return _Unit.apply(x, self.numerator, self.denominator)

    def extra_repr(self) -> str:
        """What ``repr`` shows."""
        return f"degrees=({len(self.numerator) - 1}, {len(self.denominator)})"


def fit_leaky_relu(num: int, den: int, negative_slope: float) -> tuple[Tensor, Tensor]:
    """Coefficients (a_0 … a_K) and (b_1 … b_L) near the leaky ReLU, float64.

    Least squares of ``P - f·Q`` over an even grid, each point divided by the Q of the round before
    (Sanathanan and Koerner, 1963), so that in the end it is the error of P / Q that is least.
    """
    x = torch.linspace(-FIT_REACH, FIT_REACH, 2001, dtype=torch.float64)
    y = torch.where(x > 0, x, negative_slope * x)
    p = torch.stack([x**k for k in range(num + 1)], 1)
    q = torch.stack([x**k for k in range(1, den + 1)], 1)
    weight = torch.ones_like(x)
    for _ in range(30):
        system = torch.cat([p, -y[:, None] * q], 1) * weight[:, None]
        found = torch.linalg.lstsq(system, (y * weight)[:, None], driver="gelsd").solution[:, 0]
        a, b = found.split([num + 1, den])
        weight = 1 / (1 + (q @ b).abs())
    return a, b


def _polynomial(x: Tensor, coefficients: Tensor) -> Tensor:
    """c_0 + c_1 x + … by Horner's rule, in memory of its own."""
    *lower, highest = coefficients.unbind()
    total = highest.expand_as(x).clone()
    for coefficient in reversed(lower):
        total.mul_(x).add_(coefficient)
    return total


class _Unit(torch.autograd.Function):
    """Autograd by itself would keep each step of both polynomials: a dozen maps, not one."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, a: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(x, a, b)
        wide = _wide(x)
        divisor = _inner(wide, b).abs_().add_(1)
        return _polynomial(wide, a.to(wide.dtype)).div_(divisor).to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, a, b = ctx.saved_tensors
        wide = _wide(x)
        inner = _inner(wide, b)
        divisor = inner.abs().add_(1)
        value = _polynomial(wide, a.to(wide.dtype)).div_(divisor)
        share = grad.to(wide.dtype) / divisor
        slope = value.mul_(inner.sign_()).mul_(share).neg_()  # by the denominator's polynomial
        grad_x = _polynomial(wide, _derived(a, wide.dtype)).mul_(share)
        # d/dx (b_1 x + … + b_L x^L)
        grad_x.add_(_polynomial(wide, _derived(torch.cat([b.new_zeros(1), b]), wide.dtype)) * slope)
        grad_a = _moments(share, wide, len(a), first=0)
        grad_b = _moments(slope, wide, len(b), first=1)
        return grad_x.to(x.dtype), grad_a.to(a.dtype), grad_b.to(b.dtype)


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _inner(x: Tensor, b: Tensor) -> Tensor:
    """b_1 x + … + b_L x^L."""
    return _polynomial(x, b.to(x.dtype)).mul_(x)


def _derived(coefficients: Tensor, dtype: torch.dtype) -> Tensor:
    """Coefficients of the derivative; of a constant it is 0."""
    powers = torch.arange(1, len(coefficients), device=coefficients.device)
    derived = coefficients[1:].to(dtype) * powers
    return derived if len(derived) else derived.new_zeros(1)


def _moments(grad: Tensor, x: Tensor, count: int, first: int) -> Tensor:
    """Sums of ``grad · x^k`` for ``count`` powers from ``first``."""
    weighted = grad * x if first else grad.clone()
    sums = []
    for _ in range(count):
        sums.append(weighted.sum())
        weighted.mul_(x)
    return torch.stack(sums)
