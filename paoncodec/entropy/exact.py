"""Networks in exact arithmetic: the same bits on every machine, thread count and library version.

Weights and activations are dyadic numbers: integers divided by a power of two. A layer's products
and sums are carried in float64 and bounded below 2⁵³ units of their common grid, where float64 adds
integers without rounding, so neither the order of summation nor a fused multiply-add can change a
bit. Everything else is an element-wise IEEE 754 operation of its own, rounded back to the grid.

Activations are NumPy arrays: its element-wise operations run in the calling thread, which for the
thousands of small steps of a decoder is faster than waking others, and never stalls on a busy
machine. Convolutions are torch's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from paoncodec.entropy.products import (
    Array,
    Product,
    convolution,
    masked,
    matrix_product,
    pade_convolution,
    pade_transposed,
    transposed,
)
from paoncodec.errors import WeightsError
from paoncodec.layers import (
    DENOMINATOR_FLOOR,
    CausalPaLaConv2d,
    CheckerboardPaLaConv2d,
    MaskedPaLaConv2d,
    PaLaConv2d,
    PaLaConvTranspose2d,
    PaLaLinear,
)
from paoncodec.layers.base import PaLa

#: Activations are multiples of 2**-ACTIVATION_BITS …
ACTIVATION_BITS = 14
#: … and saturate at ±ACTIVATION_LIMIT.
ACTIVATION_LIMIT = 2.0**12
#: Weights are multiples of 2**-WEIGHT_BITS.
WEIGHT_BITS = 16

_EXACT_INTEGERS = 2.0**53
_PRODUCT_BITS = ACTIVATION_BITS + WEIGHT_BITS


def to_grid(x: npt.NDArray[Any], bits: int = ACTIVATION_BITS) -> Array:
    """``x`` in float64, rounded half to even to multiples of 2**-bits; a new array."""
    grid = np.multiply(x, 2.0**bits, dtype=np.float64)
    np.rint(grid, out=grid)
    return np.multiply(grid, 2.0**-bits, out=grid)


def to_activation(x: npt.NDArray[Any]) -> Array:
    """``x`` rounded to the activations' grid and saturated; a new array."""
    grid = to_grid(x)
    np.maximum(grid, -ACTIVATION_LIMIT, out=grid)
    return np.minimum(grid, ACTIVATION_LIMIT, out=grid)


class ExactLinear:
    """A convolution, transposed convolution or matrix product with dyadic weights.

    Args:
        weight: any shape; rounded to the weights' grid.
        bias: (outputs,) or None; rounded to the grid of the products.
        output_dim: dimension of ``weight`` that counts outputs.
        product: makes the linear operation of the weight.
        name: for messages.

    Raises:
        WeightsError: weights are not finite, or the sums could leave the range in which float64 is
            exact.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor | None, output_dim: int, product: Product, name: str
    ) -> None:
        outputs = weight.shape[output_dim]
        self.weight = to_grid(weight.detach().cpu().double().numpy(), WEIGHT_BITS)
        bias = torch.zeros(outputs) if bias is None else bias
        self.bias = to_grid(bias.detach().cpu().double().numpy(), _PRODUCT_BITS)
        self._sums = product(self.weight, _EXACT_INTEGERS / self._largest(output_dim, name))

    def _largest(self, output_dim: int, name: str) -> float:
        """Of all sums that there can be, in units of their grid."""
        rows = np.moveaxis(np.abs(self.weight), output_dim, 0).reshape(len(self.bias), -1)
        largest = rows.sum(1) * ACTIVATION_LIMIT + np.abs(self.bias)
        units = float(largest.max()) * 2.0**_PRODUCT_BITS
        if not units < _EXACT_INTEGERS:
            raise WeightsError(
                f"{name}: weights too large (or not finite) for exact arithmetic, "
                f"{units:.3g} units of 2^-{_PRODUCT_BITS} against 2^53; "
                "train with a smaller learning rate or weight decay"
            )
        return max(units, 1.0)

    def __call__(self, x: Array) -> Array:
        sums = self._sums(x)
        sums += self.bias.reshape(-1, *[1] * (sums.ndim - 2))
        return to_activation(sums)


class ExactPade:
    """A smooth or absolute Padé layer without shift, from the exact products of its terms.

    Powers, products, sums and the quotient are each one exact or IEEE operation, rounded to the
    activations' grid and saturated: powers of x beyond ±ACTIVATION_LIMIT are that limit. Two
    activations are each below 2²⁷ units, so ``Q·P`` and ``Q²`` of the smooth kind, and the sums of
    two of them, are exact in float64; the division is the only step that rounds.

    Args:
        layer: degrees, kind and a0.
        weights: a degree of a polynomial by its name, with the outputs in ``output_dim``.
        output_dim: as for :class:`ExactLinear`.
        product: the linear operation.
        name: for messages.

    Raises:
        WeightsError: as :class:`ExactLinear`, or a0 is not finite or out of the activations' range.
        TypeError: the vanilla kind, which has poles, or groups.
    """

    def __init__(
        self,
        layer: PaLa,
        weights: Callable[[Literal["numerator", "denominator"]], Sequence[Tensor] | Tensor],
        output_dim: int,
        product: Product,
        name: str,
    ) -> None:
        if layer.spec.kind == "vanilla" or layer.groups != 1:
            raise TypeError(
                f"{name}: {layer!r} has no exact form: vanilla has poles, or has groups"
            )
        self._spec = layer.spec
        bias = layer.bias.detach().cpu().double().numpy()
        if not np.abs(bias).max() <= ACTIVATION_LIMIT:
            raise WeightsError(f"{name}: a0 is beyond ±{ACTIVATION_LIMIT:g} or not finite")
        self._a0 = to_activation(bias)
        num = weights("numerator") if layer.spec.num else ()
        den = weights("denominator") if layer.spec.den else ()
        # What both polynomials have of a degree is one product.
        self._products = [
            ExactLinear(
                torch.cat([*num[k : k + 1], *den[k : k + 1]], output_dim),
                None,
                output_dim,
                product,
                f"{name}, degree {k + 1}",
            )
            for k in range(layer.spec.longest)
        ]

    def __call__(self, x: Array) -> Array:
        num: list[Array] = []
        den: list[Array] = []
        power = x
        for degree, product in enumerate(self._products, 1):
            power = x if degree == 1 else to_activation(power * x)
            terms = product(power)
            both = np.split(terms, 2, axis=1) if degree <= self._spec.shared else [terms]
            if degree <= self._spec.num:
                num.append(both[0])
            if degree <= self._spec.den:
                den.append(both[-1])
        a0 = self._a0.reshape(-1, *[1] * (x.ndim - 2))
        return _quotient(num, den, a0, absolute=self._spec.kind == "absolute")


def _quotient(num: list[Array], den: list[Array], a0: Array, *, absolute: bool) -> Array:
    """The formulas of :mod:`paoncodec.layers.quotients` on terms that lie on the grid."""
    if absolute:
        den = [np.abs(term) for term in den]
    # P_{-1} = 0, P_0 = a0, … P_K, and Q_{-1} = 0, Q_0 = 1, … Q_L.
    p_low, p = [np.zeros(1), *accumulate([a0, *num], _saturated_sum)][-2:]
    q_low, q = [np.zeros(1), *accumulate([np.ones(1), *den], _saturated_sum)][-2:]
    if absolute or not den:
        return to_activation(p / q)
    squares = np.maximum(q * q + q_low * q_low, DENOMINATOR_FLOOR)
    return to_activation((q * p + q_low * p_low) / squares)


def _saturated_sum(a: Array, b: Array) -> Array:
    return to_activation(a + b)


def exact_sequence(layers: Iterable[nn.Module], name: str) -> Callable[[Array], Array]:
    """The exact form of a chain of layers: (B, C, H, W) float64 on the grid → the same.

    Knows Conv2d, ConvTranspose2d, ReLU, LeakyReLU, and Padé layers as :class:`ExactPade` does.

    Raises:
        WeightsError: as :class:`ExactLinear`.
        TypeError: another layer, or an option without an exact form.
    """
    return _chain([exact_layer(layer, f"{name}.{i}") for i, layer in enumerate(layers)])


def _chain(steps: Sequence[Callable[[Array], Array]]) -> Callable[[Array], Array]:
    def run(x: Array) -> Array:
        for step in steps:
            x = step(x)
        return x

    return run


def exact_layer(layer: nn.Module, name: str) -> Callable[[Array], Array]:
    """The exact form of one layer; see :func:`exact_sequence`."""
    # By type, not by instance: a subclass may compute something else.
    if type(layer) is nn.ReLU:
        return lambda x: np.maximum(x, 0.0)
    if type(layer) is nn.LeakyReLU:
        return _leaky_relu(float(layer.negative_slope), name)
    if type(layer) is nn.ConvTranspose2d and layer.dilation == (1, 1) and layer.groups == 1:
        return ExactLinear(layer.weight, layer.bias, 1, transposed(layer), name)
    if type(layer) is nn.Conv2d and layer.padding_mode == "zeros":
        return ExactLinear(layer.weight, layer.bias, 0, convolution(layer), name)
    if type(layer) is CausalPaLaConv2d or type(layer) is CheckerboardPaLaConv2d:
        return ExactPade(layer, layer.kernel, 0, masked, name)
    if type(layer) is PaLaConv2d and _still(layer):
        return ExactPade(layer, layer.terms, 0, pade_convolution(layer), name)
    if type(layer) is PaLaConvTranspose2d and _still(layer):
        return ExactPade(layer, layer.terms, 1, pade_transposed(layer), name)
    raise TypeError(f"{name}: {layer!r} has no exact form")


def _still(layer: PaLaConv2d | PaLaConvTranspose2d) -> bool:
    """Whether nothing is shifted, and the border is one that NumPy pads as torch does."""
    unshifted = isinstance(layer.shifter, nn.Identity)
    return unshifted and layer.padding_mode in ("replicate", "zeros")


def _leaky_relu(slope: float, name: str) -> Callable[[Array], Array]:
    if not 0 <= slope <= 1:
        raise TypeError(f"{name}: a LeakyReLU of slope {slope} has no exact form, only of 0 to 1")
    # For these slopes the larger of x and slope · x; what is on the grid and in range stays there.
    return lambda x: to_grid(np.maximum(x, x * slope))


def exact_product(weight: Tensor, bias: Tensor | None, name: str) -> ExactLinear:
    """(P, inputs) → (P, outputs) for weights (outputs, inputs).

    Raises:
        WeightsError: as :class:`ExactLinear`.
    """
    return ExactLinear(weight.T.contiguous(), bias, 1, matrix_product, name)


def exact_pade_product(layer: MaskedPaLaConv2d | PaLaLinear, name: str) -> ExactPade:
    """(P, inputs) → (P, outputs); the inputs of a masked layer are ordered (tap, channel).

    Raises:
        WeightsError, TypeError: as :class:`ExactPade`.
    """
    by_tap = layer.by_tap if isinstance(layer, MaskedPaLaConv2d) else layer.terms

    def columns(which: Literal["numerator", "denominator"]) -> list[Tensor]:
        return [weight.T for weight in by_tap(which)]

    return ExactPade(layer, columns, 1, matrix_product, name)


def exact_pointwise(
    layers: Iterable[nn.Module], name: str, skipped: int = 0
) -> Callable[[Array], Array]:
    """The exact form of 1×1 convolutions, as products of positions: (P, C) → (P, C').

    Args:
        layers: Conv2d of kernel 1 and what :func:`exact_layer` knows element-wise.
        name: for messages.
        skipped: leading inputs that are 0 everywhere and are left out.

    Raises:
        WeightsError, TypeError: as :func:`exact_sequence`.
    """
    steps: list[Callable[[Array], Array]] = []
    for i, layer in enumerate(layers):
        if type(layer) is nn.Conv2d and layer.kernel_size == (1, 1):
            weight = layer.weight.flatten(1)[:, 0 if i else skipped :]
            steps.append(exact_product(weight, layer.bias, f"{name}.{i}"))
        else:
            steps.append(exact_layer(layer, f"{name}.{i}"))
    return _chain(steps)
