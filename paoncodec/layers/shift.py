"""The shifter: features moved by learned fractions of a pixel before a Padé layer's product.

"Padé Neurons for Efficient Neural Models", III-C, first method (one pair of numbers per channel);
the second method is in :mod:`paoncodec.layers.deform`. A shift (dx, dy) makes
``out[i, j] = in[i + dy, j + dx]``, bilinear between pixels, the border replicated unless asked
otherwise, so no shift brings in zeros.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from paoncodec.layers.layout import channels_last
from paoncodec.layers.rounding import rounded_through

#: What a shift brings in from outside: the border pixel, zeros, or the picture mirrored about the
#: outer edge of its border. The paper's is the first; the others are for weights trained with them.
Border = Literal["replicate", "zeros", "mirror"]

#: Pixels of a map that is worth a step of its own.
_LARGE_PLANE = 2**12


@dataclass(frozen=True)
class NoShift:
    """Features stay where they are."""


@dataclass(frozen=True)
class StaticShift:
    """Two learned numbers per input channel, kept within [-bound, bound] pixels.

    The paper's b > 0, as the super neuron has it.

    Args:
        bound: largest shift either way, in pixels.
        border: what comes in from outside.
        rounded: move by whole pixels; the gradient passes the rounding by.

    Raises:
        ValueError: ``bound`` is not positive, or an unknown border.
    """

    bound: float = 1.0
    border: Border = "replicate"
    rounded: bool = False

    def __post_init__(self) -> None:
        if not self.bound > 0:
            raise ValueError(f"bound {self.bound}: must be > 0 pixels")
        _require_border(self.border)


@dataclass(frozen=True)
class PredictedShift:
    """Two numbers per input channel and image, predicted from the channel averages; unbounded.

    The paper's b = 0.

    Args:
        border: what comes in from outside.
        rounded: move by whole pixels; the gradient passes the rounding by.

    Raises:
        ValueError: an unknown border.
    """

    border: Border = "replicate"
    rounded: bool = False

    def __post_init__(self) -> None:
        _require_border(self.border)


ShiftSpec = NoShift | StaticShift | PredictedShift


def _require_border(border: str) -> None:
    if border not in get_args(Border):
        raise ValueError(f"border {border!r}: choose one of {', '.join(get_args(Border))}")


def shift2d(x: Tensor, shift: Tensor, border: Border = "replicate", padding: int = 0) -> Tensor:
    """Moves each channel by its own fraction of a pixel.

    Args:
        x: (B, C, H, W).
        shift: (B, C, 2) or (1, C, 2): dx, dy in pixels, any finite numbers. Differentiable.
        border: what comes in from outside.
        padding: pixels that the result has more on each side, in which its edge is repeated.

    Returns:
        (B, C, H + 2·padding, W + 2·padding) in the dtype of x. A zero shift returns x's values
        exactly; an integer shift copies them.
    """
    shift = shift.expand(x.shape[0], -1, -1)
    if border != "replicate" or not _in_parts(x, shift):
        return _padded(_shift_by_gathering(x, shift, border), padding)
    if channels_last(x) and bool((shift.abs() <= 1).all()):
        return _shift_taps(x, shift, padding)
    return _padded(_shift_planes(x, shift), padding)


def _padded(x: Tensor, padding: int) -> Tensor:
    return F.pad(x, (padding,) * 4, mode="replicate") if padding else x


def _in_parts(x: Tensor, shift: Tensor) -> bool:
    """Whether channels, or rows, are moved by themselves: large maps on a CPU, without gradients.

    Such a part then stays in the processor's cache; what goes through all of them at once is read
    from memory and written to it some ten times.
    """
    learns = torch.is_grad_enabled() and (x.requires_grad or shift.requires_grad)
    large = x.device.type == "cpu" and x.shape[2:].numel() >= _LARGE_PLANE
    # A trace follows tensors, not the numbers that are read from them.
    if not large or learns or torch.jit.is_tracing():  # type: ignore[attr-defined]
        return False
    return bool(shift.isfinite().all())


def _shift_planes(x: Tensor, shift: Tensor) -> Tensor:
    """:func:`shift2d` of replicated borders, to the last bit."""
    height, width = x.shape[2:]
    shift = shift.to(torch.promote_types(shift.dtype, torch.float32))
    limit = shift.new_tensor([width, height])
    shift = torch.minimum(torch.maximum(shift, -limit), limit)
    whole = shift.floor()
    fraction = (shift - whole).to(x.dtype).flatten(0, 1).tolist()
    moves = zip(whole.long().flatten(0, 1).tolist(), fraction, strict=True)
    moved = x.new_empty(x.shape)
    between, rest = x.new_empty(2, height, width)
    sources, targets = x.contiguous().flatten(0, 1), moved.view(-1, height, width)
    for source, target, ((dx, dy), (fx, fy)) in zip(sources, targets, moves, strict=True):
        _move_rows(source, dy, fy, between, rest)
        _move_rows(between.mT, dx, fx, target.mT, rest.mT)
    return moved


def _move_rows(x: Tensor, whole: int, fraction: float, out: Tensor, rest: Tensor) -> None:
    """``out[i]`` is what lies ``whole + fraction`` rows behind ``x[i]``. Writes over ``rest``."""
    height = len(x)
    first, last = (min(max(row, 0), height) for row in (-whole, height - 1 - whole))
    out[:first] = x[:1]
    out[last:] = x[-1:]
    if first < last:
        near, far = x[first + whole : last + whole], x[first + whole + 1 : last + whole + 1]
        step = torch.sub(far, near, out=rest[first:last]).mul_(fraction)
        torch.add(near, step, out=out[first:last])


def _shift_taps(x: Tensor, shift: Tensor, padding: int) -> Tensor:
    """:func:`shift2d` by a pixel at most, of what is channels last: each channel is convolved.

    The convolution makes room for the padding: to copy all of a large map costs half as long again.
    """
    # As exactly as all others: shares that do not add up to 1 would darken what they move.
    shift = shift.to(torch.promote_types(torch.promote_types(shift.dtype, x.dtype), torch.float32))
    taps = torch.stack([(-shift).clamp(min=0), 1 - shift.abs(), shift.clamp(min=0)], dim=3)
    kernels = (taps[:, :, 1, :, None] * taps[:, :, 0, None, :]).to(x.dtype)
    with torch.autocast(x.device.type, enabled=False):
        images = [
            F.conv2d(image, kernel[:, None], padding=1 + padding, groups=len(kernel))
            for image, kernel in zip(x.split(1), kernels, strict=True)
        ]
    whole = images[0] if len(images) == 1 else torch.cat(images)
    height, width = x.shape[2:]
    moved = whole[:, :, padding : padding + height, padding : padding + width]
    # The convolution has seen zeros outside.
    for edge, seen in ((slice(1), slice(2)), (slice(-1, None), slice(-2, None))):
        moved[:, :, edge] = _shift_by_gathering(x[:, :, seen], shift)[:, :, edge]
        moved[..., edge] = _shift_by_gathering(x[..., seen], shift)[..., edge]
    rows = whole[..., padding : padding + width]
    for maps, side in ((rows, height), (whole.mT, width)):
        maps[:, :, :padding] = maps[:, :, padding : padding + 1]
        maps[:, :, padding + side :] = maps[:, :, padding + side - 1 : padding + side]
    return whole


def _shift_by_gathering(x: Tensor, shift: Tensor, border: Border = "replicate") -> Tensor:
    """:func:`shift2d` of everything at once."""
    return _shift_rows(_shift_rows(x, shift[..., 1], border).mT, shift[..., 0], border).mT


def _shift_rows(x: Tensor, shift: Tensor, border: Border) -> Tensor:
    """Shift along dimension 2 by (B, C) pixels."""
    height = x.shape[2]
    shift = shift.to(torch.promote_types(shift.dtype, torch.float32))
    if border != "mirror":  # every row past the picture's height is like another
        shift = shift.clamp(-height, height)
    whole = shift.detach().floor()
    fraction = (shift - whole).to(x.dtype)[..., None, None]
    if border == "mirror":  # the mirrored picture repeats
        whole = whole.remainder(2 * height)
    rows = torch.arange(height, device=x.device) + whole.long()[..., None]
    near = _take_rows(x, rows, border)
    far = _take_rows(x, rows + 1, border)
    return near + fraction * (far - near)


def _take_rows(x: Tensor, rows: Tensor, border: Border) -> Tensor:
    height = x.shape[2]
    if border == "mirror":
        rows = rows.remainder(2 * height)
        rows = torch.minimum(rows, 2 * height - 1 - rows)
    seen = rows.clamp(0, height - 1)
    taken = x.gather(2, seen[..., None].expand(-1, -1, -1, x.shape[3]))
    return taken.masked_fill((seen != rows)[..., None], 0) if border == "zeros" else taken


class _Bounded(torch.autograd.Function):
    """clamp(value, -bound, bound) whose gradient still leads back inside.

    The gradient of torch's clamp is 0 past the bound: what one step carried there would never
    return. Here only the descent that leads further out is stopped.
    """

    @staticmethod
    def forward(ctx: Any, value: Tensor, bound: Tensor) -> Tensor:
        ctx.save_for_backward(value, bound)
        return value.clamp(-bound, bound)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        value, bound = ctx.saved_tensors
        outwards = torch.where(grad < 0, value >= bound, value <= -bound)
        return grad.masked_fill(outwards, 0), None


class StaticShifter(nn.Module):
    """Learned shifts of :class:`StaticShift`; (B, C, H, W) → (B, C, H, W). Starts at zero."""

    bound: Tensor

    def __init__(
        self,
        channels: int,
        bound: float,
        border: Border = "replicate",
        rounded: bool = False,
    ) -> None:
        super().__init__()
        # A buffer, so that a state dict alone says how far its shifts may reach.
        self.register_buffer("bound", torch.tensor(float(bound)))
        self.shift = nn.Parameter(torch.zeros(channels, 2))
        self.border, self.rounded = border, rounded

    def forward(self, x: Tensor, padding: int = 0) -> Tensor:
        """(B, C, H, W) → the same, with ``padding`` as :func:`shift2d` adds it."""
        shift = _Bounded.apply(self.shift, self.bound)
        shift = rounded_through(shift) if self.rounded else shift
        return shift2d(x, shift[None], self.border, padding)

    def extra_repr(self) -> str:
        """What ``repr`` shows."""
        return f"{self.shift.shape[0]}, bound={self.bound.item():g}"


class PredictedShifter(nn.Module):
    """Shifts of :class:`PredictedShift`; (B, C, H, W) → (B, C, H, W). Starts at zero.

    The average is taken over each image alone, so an image's result never depends on its
    neighbours in the batch.
    """

    def __init__(self, channels: int, border: Border = "replicate", rounded: bool = False) -> None:
        super().__init__()
        self.predict = nn.Conv2d(channels, 2 * channels, 1)
        self.activation = nn.PReLU(2 * channels)
        self.border, self.rounded = border, rounded
        for parameter in self.predict.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, padding: int = 0) -> Tensor:
        """As :meth:`StaticShifter.forward`."""
        wide = torch.promote_types(x.dtype, torch.float32)
        mean = x.mean(dim=(2, 3), keepdim=True, dtype=wide).to(x.dtype)
        shift = self.activation(self.predict(mean)).flatten(1).unflatten(1, (-1, 2))
        shift = rounded_through(shift) if self.rounded else shift
        return shift2d(x, shift, self.border, padding)


def build_shifter(spec: ShiftSpec, channels: int) -> nn.Module:
    """The module that carries out ``spec`` for ``channels`` input channels.

    Raises:
        ValueError: ``spec`` is none of the three; an element-wise shift is a
            :class:`.PaLaDeformConv2d`'s.
    """
    match spec:
        case StaticShift(bound, border, rounded):
            return StaticShifter(channels, bound, border, rounded)
        case PredictedShift(border, rounded):
            return PredictedShifter(channels, border, rounded)
        case NoShift():
            return nn.Identity()
    raise ValueError(f"shift {spec!r}: expected NoShift, StaticShift or PredictedShift")
