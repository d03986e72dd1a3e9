"""Padé layers (PaLa): every output is a learned ratio of two polynomials of the inputs.

"Padé Neurons for Efficient Neural Models", III. A layer first shifts its input, then multiplies it
and its powers with weights (a matrix product, a convolution or a transposed convolution), then
divides (:mod:`paoncodec.layers.rational`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from paoncodec.layers.base import (
    PaLa,
    becomes_half,
    by_images,
    require_at_least,
    require_groups,
)
from paoncodec.layers.convolutions import conv2d, conv_transpose2d
from paoncodec.layers.layout import channels_last
from paoncodec.layers.rational import Kind
from paoncodec.layers.shift import (
    NoShift,
    PredictedShifter,
    ShiftSpec,
    StaticShifter,
    build_shifter,
)

#: What a convolution sees outside the picture. The paper's is the first.
PaddingMode = Literal["replicate", "zeros", "reflect", "circular"]


class PaLaLinear(PaLa):
    """Fully connected Padé layer: (..., in_features) → (..., out_features).

    Args:
        in_features, out_features: sizes of the last dimension.
        degrees: (K, L) of numerator and denominator, each ≥ 0, together ≥ 1.
        kind: ``"smooth"``, ``"absolute"`` or ``"vanilla"`` (:class:`.PadeSpec`).

    With degrees (1, 0) it is ``torch.nn.Linear``. Finite as :class:`PaLaConv2d` is.

    Raises:
        ValueError: impossible sizes, degrees or kind.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        degrees: tuple[int, int] = (1, 1),
        kind: Kind = "smooth",
    ) -> None:
        require_at_least(1, in_features=in_features, out_features=out_features)
        shape = (out_features, in_features)
        super().__init__(in_features, out_features, shape, in_features, degrees, kind)

    def _stack(self, weights: Sequence[Tensor]) -> Tensor:
        return torch.stack(list(weights), dim=1).flatten(1, 2)  # (D, polynomials·out, in)

    def _product(self, x: Tensor, weight: Tensor, groups: int, *places: Tensor) -> Tensor:
        if groups == 1:
            return F.linear(x, weight[0])
        by_degree = x.unflatten(1, (groups, -1)).transpose(0, 1)
        return torch.bmm(by_degree, weight.mT).transpose(0, 1).flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_features) → (..., out_features)."""
        if x.shape[-1] != self.in_channels:
            raise ValueError(f"input of shape {_shape(x)}: expected (..., {self.in_channels})")
        y = self._pade(x.reshape(-1, self.in_channels))
        return y.reshape(*x.shape[:-1], self.out_channels)


class PaLaConv2d(PaLa):
    """Convolutional Padé layer: (B, C_in, H, W) → (B, C_out, H', W').

    ``H' = floor((H + 2·padding - kernel_size) / stride) + 1``.

    Args:
        in_channels, out_channels: numbers of channels.
        kernel_size: side of the square kernel.
        stride: step of the output positions.
        padding: pixels of border; default ``kernel_size // 2``.
        groups: blocks of channels convolved apart; divides both numbers of channels.
        degrees: (K, L) of numerator and denominator, each ≥ 0, together ≥ 1.
        kind: ``"smooth"``, ``"absolute"`` or ``"vanilla"`` (:class:`.PadeSpec`).
        shift: :class:`.NoShift`, :class:`.StaticShift` or :class:`.PredictedShift`.
        padding_mode: what the border is made of; ``"replicate"`` (III-C), or as in
            ``torch.nn.Conv2d`` ``"zeros"``, ``"reflect"`` or ``"circular"``.

    [1/1] is one convolution with 2·C_out outputs. Special cases (III-E): degrees (1, 0) without
    shift is an ordinary convolution, (2, 0) a quadratic neuron, (K ≥ 2, 0) a generative neuron and,
    with a learned shift, a super neuron. Smooth [1/1] with ``denominator`` = 0 is linear:
    ``(a1 ⊛ x + 2 a0) / 2``.

    For \\|x\\| ≤ 1e4, degrees ≤ 3 and weights up to 1e3, values and gradients are finite in float32
    and bfloat16, and values in float16, where they saturate; not so the vanilla kind, which has
    poles.

    Raises:
        ValueError: impossible sizes, degrees, kind, groups, shift or padding mode.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int | None = None,
        groups: int = 1,
        degrees: tuple[int, int] = (1, 1),
        kind: Kind = "smooth",
        shift: ShiftSpec = NoShift(),
        padding_mode: PaddingMode = "replicate",
    ) -> None:
        padding = kernel_size // 2 if padding is None else padding
        require_at_least(1, kernel_size=kernel_size, stride=stride)
        require_padding_mode(padding_mode, get_args(PaddingMode))
        require_at_least(0, padding=padding)
        require_groups(groups, in_channels, out_channels)
        shape = (out_channels, in_channels // groups, kernel_size, kernel_size)
        fan_in = math.prod(shape[1:])
        super().__init__(in_channels, out_channels, shape, fan_in, degrees, kind, groups)
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding
        self.padding_mode: PaddingMode = padding_mode
        self.shifter = build_shifter(shift, in_channels)

    def _stack(self, weights: Sequence[Tensor]) -> Tensor:
        return stack_convolution(weights, self.groups)

    def _product(self, x: Tensor, weight: Tensor, groups: int, *places: Tensor) -> Tensor:
        return conv2d(x, weight, self.stride, groups)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) → (B, C_out, H', W')."""
        require_maps(x, self.in_channels)
        return by_images(self._of_images, x, self._terms_of(x, self.stride**-2))

    def _of_images(self, x: Tensor) -> Tensor:
        return self._pade(_shifted(self.shifter, x, self.padding, self.padding_mode))

    def extra_repr(self) -> str:
        """What ``repr`` shows."""
        mode = "" if self.padding_mode == "replicate" else f", padding_mode={self.padding_mode!r}"
        sizes = f"kernel_size={self.kernel_size}, stride={self.stride}"
        return f"{super().extra_repr()}, {sizes}{mode}"


class PaLaConvTranspose2d(PaLa):
    """Transposed convolutional Padé layer: (B, C_in, H, W) → (B, C_out, H', W').

    ``H' = (H - 1)·stride - 2·padding + kernel_size + output_padding``. The input's border is
    replicated as far as the kernel reaches, so that no output sees zeros from outside.

    Args:
        in_channels, out_channels: numbers of channels.
        kernel_size: side of the square kernel.
        stride: up-sampling factor.
        padding: pixels cropped on each side; default ``kernel_size // 2``.
        output_padding: pixels added at the bottom and right, less than ``stride``; default
            ``stride - 1``, which with an odd kernel makes H' = stride · H.
        groups, degrees, kind, shift: as for :class:`PaLaConv2d`; the shift is always per channel,
            as in the paper's codecs.
        padding_mode: ``"replicate"``, or ``"zeros"`` for what torch's layer computes.

    Finite as :class:`PaLaConv2d` is. On a CPU the products of float16 are computed in float32.

    Raises:
        ValueError: impossible sizes, degrees, kind, groups, shift or padding mode.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int | None = None,
        output_padding: int | None = None,
        groups: int = 1,
        degrees: tuple[int, int] = (1, 1),
        kind: Kind = "smooth",
        shift: ShiftSpec = NoShift(),
        padding_mode: Literal["replicate", "zeros"] = "replicate",
    ) -> None:
        padding = kernel_size // 2 if padding is None else padding
        output_padding = stride - 1 if output_padding is None else output_padding
        require_at_least(1, kernel_size=kernel_size, stride=stride)
        require_at_least(0, padding=padding, output_padding=output_padding)
        require_groups(groups, in_channels, out_channels)
        require_padding_mode(padding_mode, ("replicate", "zeros"))
        if output_padding >= stride:
            raise ValueError(f"output_padding {output_padding}: must be < stride {stride}")
        shape = (in_channels, out_channels // groups, kernel_size, kernel_size)
        # An output of a transposed convolution sums in/groups · k² / stride² products.
        fan_in = max(1, in_channels // groups * kernel_size**2 // stride**2)
        super().__init__(in_channels, out_channels, shape, fan_in, degrees, kind, groups)
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding
        self.output_padding = output_padding
        # Outputs see the input positions -border … H - 1 + border: input i reaches the outputs
        # stride·i - padding … stride·i - padding + kernel_size - 1.
        reach = max(0, (kernel_size - 1 - padding + output_padding) // stride)
        self.padding_mode = padding_mode
        self.border = reach if padding_mode == "replicate" else 0
        self.shifter = build_shifter(shift, in_channels)

    def _stack(self, weights: Sequence[Tensor]) -> Tensor:
        if len(weights[0]) * self.groups == 1:  # as below, but channels-last weights stay so
            return torch.cat([w.squeeze(0) for w in weights], dim=1)
        grouped = [w.unflatten(1, (self.groups, -1)) for w in weights]  # (D, g, in/g, out/g, k, k)
        return torch.stack(grouped, dim=3).flatten(3, 4).flatten(0, 2)

    def _product(self, x: Tensor, weight: Tensor, groups: int, *places: Tensor) -> Tensor:
        if x.device.type == "cpu" and becomes_half(x):
            # CPUs without float16 arithmetic would sum in float16, and come to the difference of
            # two infinities. One infinity is a saturated term.
            with torch.autocast("cpu", enabled=False):
                return self._transposed(x.float(), weight.float(), groups).half()
        return self._transposed(x, weight, groups)

    def _transposed(self, x: Tensor, weight: Tensor, groups: int) -> Tensor:
        padding = self.padding + self.stride * self.border
        return conv_transpose2d(x, weight, self.stride, padding, self.output_padding, groups)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) → (B, C_out, H', W')."""
        require_maps(x, self.in_channels)
        return by_images(self._of_images, x, self._terms_of(x, self.stride**2))

    def _of_images(self, x: Tensor) -> Tensor:
        y = self._pade(_shifted(self.shifter, x, self.border, "replicate"))
        # Where nothing learns, products come channels last on CPUs: conv_transpose2d says why. What
        # follows is fastest if it is laid out as the weights are.
        as_it_is = y.requires_grad or y.device.type != "cpu" or self._channels_last()
        return y if as_it_is else y.contiguous()

    def _channels_last(self) -> bool:
        weights = (self.numerator, self.denominator)
        return any(channels_last(weight) for weight in weights if weight is not None)

    def extra_repr(self) -> str:
        """What ``repr`` shows."""
        mode = "" if self.padding_mode == "replicate" else f", padding_mode={self.padding_mode!r}"
        sizes = f"kernel_size={self.kernel_size}, stride={self.stride}"
        return f"{super().extra_repr()}, {sizes}{mode}"


def stack_convolution(weights: Sequence[Tensor], groups: int) -> Tensor:
    """Weights of one or two polynomials, (D, out, in / groups, k, k) each, for D·groups groups.

    Outputs are ordered (degree, group, polynomial, channel of the group).
    """
    if len(weights[0]) * groups == 1:  # as below, but channels-last weights stay so
        return torch.cat([w.squeeze(0) for w in weights])
    grouped = [w.unflatten(1, (groups, -1)) for w in weights]  # (D, g, out/g, in/g, k, k)
    return torch.stack(grouped, dim=2).flatten(0, 3)


def _shifted(shifter: nn.Module, x: Tensor, border: int, mode: PaddingMode) -> Tensor:
    if mode == "replicate" and isinstance(shifter, (StaticShifter, PredictedShifter)):
        moved: Tensor = shifter(x, border)
        return moved
    return pad(shifter(x), border, mode)


def pad(x: Tensor, border: int | tuple[int, int, int, int], mode: PaddingMode) -> Tensor:
    """(B, C, H, W) with ``border`` more pixels: on each side, or left, right, above and below."""
    sides = border if isinstance(border, tuple) else (border,) * 4
    if not any(sides):
        return x
    # Autocast would pad in float32: as many conversions there and back.
    with torch.autocast(x.device.type, enabled=False):
        return F.pad(x, sides, mode="constant" if mode == "zeros" else mode)


def require_padding_mode(mode: str, known: Sequence[str]) -> None:
    """Check an argument of a constructor.

    Raises:
        ValueError: ``mode`` is not among the known ones.
    """
    if mode not in known:
        raise ValueError(f"padding_mode {mode!r}: choose one of {', '.join(known)}")


def require_maps(x: Tensor, channels: int) -> None:
    """Check the input of a layer.

    Raises:
        ValueError: not (B, channels, H, W).
    """
    if x.ndim != 4 or x.shape[1] != channels:
        raise ValueError(
            f"input of shape {_shape(x)}: expected (batch, {channels}, height, width); "
            "give a single image as x[None]"
        )


def _shape(x: Tensor) -> str:
    return str(tuple(x.shape))
