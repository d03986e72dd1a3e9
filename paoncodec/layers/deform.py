"""The deformable Padé layer: each kernel tap looks where the features tell it to.

"Padé Neurons for Efficient Neural Models", III-C, second method: offsets from a convolution,
bounded by ``m·tanh(x / m)``, carried out as a deformable convolution (Dai et al., "Deformable
Convolutional Networks", 2017): torchvision's, on CPUs :mod:`paoncodec.layers.sampling`'s.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from paoncodec.layers.base import (
    PaLa,
    by_images,
    require_at_least,
    require_groups,
    result_dtype,
)
from paoncodec.layers.pade import (
    PaddingMode,
    pad,
    require_maps,
    require_padding_mode,
    stack_convolution,
)
from paoncodec.layers.rational import Kind, narrowed
from paoncodec.layers.rounding import rounded_through
from paoncodec.layers.sampling import deform_by_places

#: Offsets that are bounded at a time.
_PART_SIZE = 2**16


@dataclass(frozen=True)
class ElementShift:
    """Offsets of each place and kernel tap, from a convolution over the features.

    Args:
        kernel_size: side of the offset convolution's kernel; the paper has 1 and 3. An even one
            sees a row and a column more above and to the left of a place than below and right.
        whole: one pair of offsets a place, shared by all taps ("kernel-wise" in Table III).
        bound: m in pixels; 0 stands for the paper's max(h, w) / 4, where h and w are the sides of
            the input.
        per_channel: offsets of each input channel apart, as many times the offset convolution.
        padding_mode: border of the offset convolution.
        rounded: move by whole pixels; the gradient passes the rounding by.

    Raises:
        ValueError: a non-positive kernel size, a negative bound, or an unknown mode.
    """

    kernel_size: int = 1
    whole: bool = False
    bound: float = 0.0
    per_channel: bool = False
    padding_mode: PaddingMode = "replicate"
    rounded: bool = False

    def __post_init__(self) -> None:
        require_at_least(1, kernel_size=self.kernel_size)
        if not 0 <= self.bound < math.inf:
            raise ValueError(f"bound {self.bound}: must be >= 0 pixels, 0 for max(h, w) / 4")
        require_padding_mode(self.padding_mode, get_args(PaddingMode))


class PaLaDeformConv2d(PaLa):
    """Deformable convolutional Padé layer: (B, C_in, H, W) → (B, C_out, H', W').

    ``H' = floor((H - kernel_size % 2) / stride) + 1``: the border is ``kernel_size // 2`` wide. The
    powers of the input are sampled, each tap at its own offset, bilinear between pixels.

    Args:
        in_channels, out_channels: numbers of channels.
        kernel_size: side of the square kernel.
        stride: step of the output positions.
        groups, degrees, kind, padding_mode: as for :class:`.PaLaConv2d`.
        shift: how the offsets are made.

    The offsets start at zero, where this is :class:`.PaLaConv2d`. They move the kernel to anywhere
    in the picture and its border but not out of them, so that no tap reaches past the border.
    Degrees that both polynomials have are one call of torchvision with the powers as groups of
    channels; [1/1] is one call with 2·C_out outputs.

    Sampling is done in float32 (or float64) whatever autocast says; finite as :class:`.PaLaConv2d`
    is. Differentiable once.

    Raises:
        ValueError: impossible sizes, degrees, kind, groups, shift or padding mode.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        groups: int = 1,
        degrees: tuple[int, int] = (1, 1),
        kind: Kind = "smooth",
        shift: ElementShift = ElementShift(),
        padding_mode: PaddingMode = "replicate",
    ) -> None:
        require_at_least(1, kernel_size=kernel_size, stride=stride)
        require_groups(groups, in_channels, out_channels)
        require_padding_mode(padding_mode, get_args(PaddingMode))
        if not isinstance(shift, ElementShift):
            raise ValueError(f"shift {shift!r}: expected ElementShift; PaLaConv2d takes the others")
        shape = (out_channels, in_channels // groups, kernel_size, kernel_size)
        super().__init__(
            in_channels, out_channels, shape, math.prod(shape[1:]), degrees, kind, groups
        )
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding_mode: PaddingMode = padding_mode
        self.shifter = ElementShifter(shift, in_channels, kernel_size, stride)

    def _stack(self, weights: Sequence[Tensor]) -> Tensor:
        return stack_convolution(weights, self.groups)

    def _polynomials(self, powers: Sequence[Tensor], *places: Tensor) -> list[Tensor]:
        """As in all layers, but a product for each of two polynomials that look elsewhere."""
        shared = self.spec.shared
        if self.shifter.together or not shared:
            return super()._polynomials(powers, *places)
        weights = self.terms("numerator"), self.terms("denominator")
        each = [self._products(powers[: len(w)], [w], *places) for w in weights]
        # From (degree, group, channel) to (degree, group, numerator | denominator, channel).
        rows = shared * self.out_channels
        both = [terms[:, :rows].unflatten(1, (shared * self.groups, -1)) for terms in each]
        longer = [terms[:, rows:] for terms in each if terms.shape[1] > rows]
        return [torch.stack(both, dim=2).flatten(1, 3), *longer]

    def _product(self, x: Tensor, weight: Tensor, groups: int, *places: Tensor) -> Tensor:
        (offset,) = places
        weight = weight.to(x.dtype)
        if self._by_places(x):
            border = self.kernel_size // 2 if self.padding_mode == "replicate" else 0
            return deform_by_places(x, offset, weight, self.stride, groups, border)
        if self.shifter.of_outputs:
            return _mixed_and_moved(x, offset, weight, self.stride, groups)
        offset = self.shifter.of_powers(offset, x.shape[1] // self.in_channels)
        # Slow to import, and few networks shift element by element.
        from torchvision.ops import deform_conv2d

        return deform_conv2d(x, offset, weight, stride=self.stride)

    def _by_places(self, x: Tensor) -> bool:
        shifter = self.shifter
        return x.device.type == "cpu" and shifter.stays_inside and not shifter.per_channel

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) → (B, C_out, H', W')."""
        require_maps(x, self.in_channels)
        if self._by_places(x):
            return self._of_images(x)
        values = max(self._samples_of(x), self._terms_of(x, self.stride**-2))
        return by_images(self._of_images, x, values)

    def _samples_of(self, x: Tensor) -> int:
        """Size, for one image, of the workspace for all that the taps sample, or sample from."""
        taps = self.spec.longest * self.kernel_size**2 * x.shape[2:].numel()
        if self.shifter.of_outputs:
            return self.out_channels * taps
        return self.in_channels * taps // self.stride**2

    def _of_images(self, x: Tensor) -> Tensor:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        with torch.autocast(x.device.type, enabled=False):
            offset = self.shifter(wide)
            if not (self._by_places(x) and self.padding_mode == "replicate"):
                wide = pad(wide, self.kernel_size // 2, self.padding_mode)
            y = self._pade(wide, offset)
        return narrowed(y, result_dtype(x))

    def extra_repr(self) -> str:
        """What ``repr`` shows."""
        return f"{super().extra_repr()}, kernel_size={self.kernel_size}, stride={self.stride}"


class ElementShifter(nn.Module):
    """Offsets of :class:`ElementShift`, in torchvision's order; start at zero.

    (B, C, H, W) float32 or float64 → (B, G·2k², H', W'), where G is C with offsets per channel and
    otherwise 1; within a group dy and dx of each tap, taps in raster order.
    """

    bound: Tensor
    #: Whether no tap reaches past the padded input.
    stays_inside = True
    #: Whether both polynomials look at the same places.
    together = True
    #: Whether groups of offsets are of blocks of a product's outputs, not of its inputs.
    of_outputs = False

    def __init__(self, spec: ElementShift, channels: int, kernel_size: int, stride: int) -> None:
        super().__init__()
        self.per_channel, self.rounded = spec.per_channel, spec.rounded
        self.padding_mode: PaddingMode = spec.padding_mode
        self.kernel_size, self.stride = kernel_size, stride
        self.groups = channels if spec.per_channel else 1
        #: Taps a side that have offsets of their own.
        self.side = 1 if spec.whole else kernel_size
        # A buffer, so that a state dict alone says how far its shifts may reach.
        self.register_buffer("bound", torch.tensor(float(spec.bound)))
        self.predict = nn.Conv2d(channels, self.groups * 2 * self.side**2, spec.kernel_size)
        for parameter in self.predict.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, G·2k², H', W')."""
        weight, bias = self.predict.weight.to(x.dtype), self.predict.bias
        border = *self._border(x.shape[3]), *self._border(x.shape[2])
        wide = pad(x, border, self.padding_mode)
        raw = F.conv2d(wide, weight, None if bias is None else bias.to(x.dtype), self.stride)
        return self.offsets(raw, (x.shape[2], x.shape[3]))

    def _border(self, size: int) -> tuple[int, int]:
        """Pixels before and behind ``size`` others, to make as many offsets as there are places."""
        side = self.predict.kernel_size[0]
        last = self._free(size) // self.stride * self.stride
        return side // 2, max(0, last + side - side // 2 - size)

    def _free(self, size: int) -> int:
        """How far the layer's kernel can go in ``size`` pixels and their border."""
        return size - self.kernel_size % 2

    def of_powers(self, offset: Tensor, powers: int) -> Tensor:
        """The offsets of the channels of ``powers`` powers, one power after the other.

        A group is of a block of channels that follow one another, all blocks of one size. Here each
        power of a channel moves with it.
        """
        return offset.repeat(1, powers, 1, 1) if self.per_channel else offset

    def offsets(self, raw: Tensor, size: tuple[int, int]) -> Tensor:
        """What the convolution gave, (B, G·2·side², H', W'), bounded and spread over the taps."""
        low, high = _room(raw, (self._free(size[0]), self._free(size[1])), self.stride)
        bound = torch.where(self.bound > 0, self.bound, max(size) / 4).to(raw.dtype)
        k = self.kernel_size
        by_tap = raw.unflatten(1, (self.groups, self.side, self.side, 2))
        by_tap = by_tap.expand(-1, -1, k, k, -1, -1, -1)
        offset = _Bounded.apply(by_tap, bound, low, high).flatten(1, 4)
        return rounded_through(offset) if self.rounded else offset

    def extra_repr(self) -> str:
        """What ``repr`` shows."""
        bound = self.bound.item()
        return f"whole={self.side == 1}, bound={f'{bound:g}' if bound else 'max(h, w) / 4'}"


def _mixed_and_moved(x: Tensor, offset: Tensor, weight: Tensor, stride: int, groups: int) -> Tensor:
    """A deformable convolution whose groups of offsets move blocks of outputs.

    What moves alike may as well be mixed before it moves: here to a map for each output and tap.

    Args:
        x: (B, C, H, W), its border included.
        offset: (B, G·2k², H', W'), of G blocks of outputs, as many in each.
        weight: (n, C / groups, k, k).

    Returns:
        (B, n, H', W').
    """
    from torchvision.ops import deform_conv2d

    count, _, side, _ = weight.shape
    by_tap = weight.permute(0, 2, 3, 1).flatten(0, 2)[:, :, None, None]
    maps = F.conv2d(x, by_tap, groups=groups)
    tap = torch.arange(side, device=x.device, dtype=x.dtype)
    taps = torch.stack(torch.meshgrid(tap, tap, indexing="ij"), dim=2)[..., None, None]
    moves = offset.unflatten(1, (-1, side, side, 2)) + taps
    moves = moves.repeat_interleave(count // moves.shape[1], dim=1).flatten(1, 4)
    # A tap alone has more places than the kernel.
    height, width = offset.shape[2:]
    rows, columns = ((n - 1) // stride + 1 for n in x.shape[2:])
    moves = F.pad(moves, (0, columns - width, 0, rows - height))
    sums = x.new_ones(count, side**2, 1, 1)
    return deform_conv2d(maps, moves, sums, stride=stride)[..., :height, :width]


def _room(raw: Tensor, free: tuple[int, int], stride: int) -> tuple[Tensor, Tensor]:
    """How far up-left and down-right a kernel can move at each place: (2, H', W') each.

    That is dy and dx to its first, then to its last position, ``free`` rows and columns behind.
    """
    starts = [stride * torch.arange(n, device=raw.device, dtype=raw.dtype) for n in raw.shape[2:]]
    start = torch.stack(torch.meshgrid(*starts, indexing="ij"))
    return -start, start.new_tensor(free)[:, None, None] - start


class _Bounded(torch.autograd.Function):
    """``bound · tanh(x / bound)`` within [low, high]; x is (B, G, k, k, 2, H', W').

    Keeps the value and where it was inside. Where the features are constant beyond the border the
    slope that torchvision takes is not 0: past its last row it sees zeros. Only the last row and
    column of taps get that far; there the gradient is stopped here.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, bound: Tensor, low: Tensor, high: Tensor) -> Tensor:
        value = x.new_empty(x.shape)
        inside = torch.empty(x.shape, dtype=torch.bool, device=x.device)
        for part in _parts(x):
            free = torch.div(x[part], bound).tanh_().mul_(bound)
            held = torch.clamp(free, low, high)
            here = torch.eq(free, held, out=inside[part])
            short = held < high
            here[:, :, -1, :, 0] &= short[:, :, -1, :, 0]
            here[:, :, :, -1, 1] &= short[:, :, :, -1, 1]
            # A position that is not a number would send torchvision out of its memory.
            torch.nan_to_num(held, nan=0.0, out=value[part])
        ctx.save_for_backward(value, inside, bound)
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        value, inside, bound = ctx.saved_tensors
        result = torch.empty_like(grad)
        for part in _parts(grad):
            share = torch.div(value[part], bound).square_().neg_().add_(1).mul_(inside[part])
            torch.mul(share, grad[part], out=result[part])
        return result, None, None, None


def _parts(x: Tensor) -> Iterator[slice]:
    """The images, a few at a time: what is computed for them stays in the processor's cache."""
    most = _PART_SIZE if x.device.type == "cpu" else _PART_SIZE << 8
    step = max(1, most // max(1, x.shape[1:].numel()))
    return (slice(first, first + step) for first in range(0, len(x), step))
