"""The rational part of a Padé neuron: from a layer's products to their quotient.

The formulas are in :mod:`paoncodec.layers.quotients`; here are the layout of the products, the
number formats, and what is kept for the backward.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from paoncodec.layers import fused
from paoncodec.layers.quotients import BACKWARD, FORWARD, Terms

#: Values of a term that are worked on at a time.
_PART_SIZE = 2**18

Kind = Literal["smooth", "absolute", "vanilla"]


@dataclass(frozen=True)
class PadeSpec:
    """Degrees and kind of a Padé neuron.

    Args:
        num: degree K ≥ 0 of the numerator.
        den: degree L ≥ 0 of the denominator; ``num + den`` ≥ 1.
        kind: ``"smooth"`` (Paon-S, eq. 4), ``"absolute"`` (Paon-A) or ``"vanilla"`` (eq. 3).

    Raises:
        ValueError: a degree is negative, both are 0, or the kind is unknown.
    """

    num: int = 1
    den: int = 1
    kind: Kind = "smooth"

    def __post_init__(self) -> None:
        if self.num < 0 or self.den < 0 or self.num + self.den < 1:
            raise ValueError(
                f"degrees ({self.num}, {self.den}): each must be >= 0 and their sum >= 1"
            )
        if self.kind not in get_args(Kind):
            raise ValueError(f"kind {self.kind!r}: choose one of {', '.join(get_args(Kind))}")

    @property
    def shared(self) -> int:
        """Number of degrees ≥ 1 that both polynomials have."""
        return min(self.num, self.den)

    @property
    def longest(self) -> int:
        """The larger of the two degrees."""
        return max(self.num, self.den)


def rational(stacks: Sequence[Tensor], bias: Tensor, spec: PadeSpec, groups: int = 1) -> Tensor:
    """Quotient of the two polynomials whose terms a layer has computed.

    Args:
        stacks: the terms as the layer's products left them, channels in dimension 1. The first
            stack holds the degrees 1 … min(K, L) that both polynomials have, its channels ordered
            (degree, group, numerator | denominator, channel of the group); the second the degrees
            above, which only one polynomial has, ordered (degree, group, channel of the group).
            A stack with no degrees is left out.
        bias: ``a0``, shape (C,).
        spec: degrees and kind.
        groups: groups of the layer's product; divides C.

    Returns:
        (B, C, ...) in the dtype of the stacks. Keeps the stacks (that is, the terms of P and Q) and
        the bias for the backward and nothing else; not even the stacks when L = 0. In float16
        terms and result saturate at ±65504 and the arithmetic is done in float32, while a gradient
        that overflows becomes infinite, as ``torch.amp.GradScaler`` expects. Differentiable once.

    Raises:
        ValueError: the stacks are not those of these degrees.
    """
    degrees = [2 * spec.shared, spec.longest - spec.shared]
    expected = [d * bias.numel() for d in degrees if d]
    found = [stack.shape[1] for stack in stacks]
    if found != expected:
        raise ValueError(
            f"stacks of {found} channels: degrees ({spec.num}, {spec.den}) with "
            f"{bias.numel()} outputs need {expected}"
        )
    y: Tensor = _Rational.apply(bias, spec, groups, *stacks)
    return y


def denominator(stacks: Sequence[Tensor], spec: PadeSpec, groups: int = 1) -> Tensor:
    """Q_L (of the absolute kind its divisor) of the same arguments, (B, C, ...), no gradient."""
    with torch.no_grad():
        terms = [_widen(term) for term in _terms(stacks, spec, groups).den]
        if spec.kind == "absolute":
            terms = [term.abs() for term in terms]
        return sum(terms, torch.ones_like(terms[0])).flatten(1, 2)


class _Rational(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, bias: Tensor, spec: PadeSpec, groups: int, *stacks: Tensor) -> Tensor:
        # The gradient of a polynomial does not depend on its terms.
        ctx.save_for_backward(bias, *(stacks if spec.den else ()))
        ctx.spec, ctx.groups = spec, groups
        ctx.fused = spec.den > 0 and fused.is_fused(stacks, groups)
        if ctx.fused:
            return fused.value(stacks, bias, spec)
        terms = _terms(stacks, spec, groups)
        # Not like a term: of a single image these have strides that torch does not take for
        # channels last.
        result = torch.empty_like(stacks[0][:, : bias.numel()])
        value = result.unflatten(1, (groups, -1))
        for part in _parts(value):
            here = terms.at(part, _widen)
            a0 = _constant(bias, here, groups)
            if not spec.den:
                value[part] = narrowed(sum(here.num, a0), value.dtype)
            elif value.dtype == torch.float16:
                wide = torch.empty_like(here.den[0])
                FORWARD[spec.kind](here, a0, wide)
                value[part] = narrowed(wide, value.dtype)
            else:
                FORWARD[spec.kind](here, a0, value[part])
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        bias, *stacks = ctx.saved_tensors
        spec, groups = ctx.spec, ctx.groups
        if not stacks:
            return _channel_sums(grad, bias), None, None, torch.cat([grad] * spec.num, dim=1)
        if ctx.fused:
            into, grad_bias = fused.slopes(grad, stacks, bias, spec)
            return grad_bias, None, None, *into
        grad = grad.unflatten(1, (groups, -1))
        terms = _terms(stacks, spec, groups)
        into = [torch.empty_like(s) for s in stacks]
        places = _terms(into, spec, groups)
        grad_bias = torch.zeros_like(bias)
        for part in _parts(grad):
            here = terms.at(part, _widen)
            a0 = _constant(bias, here, groups)
            dtype = here.den[0].dtype
            grad_a0 = BACKWARD[spec.kind](grad[part].to(dtype), here, a0, places.at(part))
            grad_bias += _channel_sums(grad_a0.flatten(1, 2), bias)
        return grad_bias, None, None, *into


def _parts(value: Tensor) -> Iterator[tuple[slice, ...]]:
    """Indexes that cut (B, groups, C / groups, H, ...) into images, and these into bands of rows.

    What is computed for one part stays in the processor's cache, and little memory is taken beside
    the results. On other devices each step is a launch: there the parts are large.
    """
    most = _PART_SIZE if value.device.type == "cpu" else _PART_SIZE << 8
    images = max(1, most * len(value) // max(1, value.numel()))
    whole = slice(None)
    for first in range(0, len(value), images):
        batch = slice(first, first + images)
        if value.ndim < 4 or images > 1:
            yield (batch,)
            continue
        rows = max(1, most * len(value) * value.shape[3] // max(1, value.numel()))
        for row in range(0, value.shape[3], rows):
            yield batch, whole, whole, slice(row, row + rows)


def _terms(stacks: Sequence[Tensor], spec: PadeSpec, groups: int) -> Terms:
    """Views of the stacks, each (B, groups, C / groups, ...)."""
    num: list[Tensor] = []
    den: list[Tensor] = []
    if spec.shared:
        pairs = stacks[0].unflatten(1, (spec.shared, groups, 2, -1))
        num += pairs[:, :, :, 0].unbind(1)
        den += pairs[:, :, :, 1].unbind(1)
    if spec.longest > spec.shared:
        above = stacks[-1].unflatten(1, (spec.longest - spec.shared, groups, -1)).unbind(1)
        longer = num if spec.num > spec.den else den
        longer += above
    return Terms(num, den)


def _constant(bias: Tensor, terms: Terms, groups: int) -> Tensor:
    """a0 in the shape in which it broadcasts over a term: (1, groups, C / groups, 1 ...)."""
    like = (terms.num or terms.den)[0]
    return bias.to(like.dtype).view(1, groups, -1, *[1] * (like.ndim - 3))


def _channel_sums(grad: Tensor, bias: Tensor) -> Tensor:
    return grad.sum([d for d in range(grad.ndim) if d != 1], dtype=bias.dtype)


def _widen(stack: Tensor) -> Tensor:
    """float16 as saturated float32: an infinity would become NaN in the quotient."""
    if stack.dtype != torch.float16:
        return stack
    limit = torch.finfo(torch.float16).max
    return stack.float().clamp_(-limit, limit)


def narrowed(value: Tensor, dtype: torch.dtype) -> Tensor:
    """``value`` in another format, saturated at its largest number."""
    if value.dtype == dtype:
        return value
    limit = torch.finfo(dtype).max
    return value.clamp(-limit, limit).to(dtype)
