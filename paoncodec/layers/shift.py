"""The shifter: features moved by learned fractions of a pixel before a Padé layer's product.

"Padé Neurons for Efficient Neural Models", III-C, first method (one pair of numbers per channel).
A shift (dx, dy) makes ``out[i, j] = in[i + dy, j + dx]``, bilinear between pixels, the border
replicated, so no shift ever brings in zeros.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


@dataclass(frozen=True)
class NoShift:
    """Features stay where they are."""


@dataclass(frozen=True)
class StaticShift:
    """Two learned numbers per input channel, kept within [-bound, bound] pixels.

    The paper's b > 0, as the super neuron has it.

    Raises:
        ValueError: ``bound`` is not positive.
    """

    bound: float = 1.0

    def __post_init__(self) -> None:
        if not self.bound > 0:
            raise ValueError(f"bound {self.bound}: must be > 0 pixels")


@dataclass(frozen=True)
class PredictedShift:
    """Two numbers per input channel and image, predicted from the channel averages; unbounded.

    The paper's b = 0.
    """


ShiftSpec = NoShift | StaticShift | PredictedShift


def shift2d(x: Tensor, shift: Tensor) -> Tensor:
    """Moves each channel by its own fraction of a pixel.

    Args:
        x: (B, C, H, W).
        shift: (B, C, 2) or (1, C, 2): dx, dy in pixels, any finite numbers. Differentiable.

    Returns:
        (B, C, H, W) in the dtype of x. A zero shift returns x's values exactly; an integer shift
        copies them.
    """
    shift = shift.expand(x.shape[0], -1, -1)
    return _shift_rows(_shift_rows(x, shift[..., 1]).mT, shift[..., 0]).mT


def _shift_rows(x: Tensor, shift: Tensor) -> Tensor:
    """Shift along dimension 2 by (B, C) pixels."""
    height = x.shape[2]
    # Beyond the picture's height every row is the border row already.
    shift = shift.to(torch.promote_types(shift.dtype, torch.float32)).clamp(-height, height)
    whole = shift.detach().floor()
    fraction = (shift - whole).to(x.dtype)[..., None, None]
    rows = torch.arange(height, device=x.device) + whole.long()[..., None]
    near = _take_rows(x, rows)
    far = _take_rows(x, rows + 1)
    return near + fraction * (far - near)


def _take_rows(x: Tensor, rows: Tensor) -> Tensor:
    rows = rows.clamp(0, x.shape[2] - 1)
    return x.gather(2, rows[..., None].expand(-1, -1, -1, x.shape[3]))


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

    def __init__(self, channels: int, bound: float) -> None:
        super().__init__()
        # A buffer, so that a state dict alone says how far its shifts may reach.
        self.register_buffer("bound", torch.tensor(float(bound)))
        self.shift = nn.Parameter(torch.zeros(channels, 2))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C, H, W)."""
        return shift2d(x, _Bounded.apply(self.shift, self.bound)[None])

    def extra_repr(self) -> str:
        """What ``repr`` shows."""
        return f"{self.shift.shape[0]}, bound={self.bound.item():g}"


class PredictedShifter(nn.Module):
    """Shifts of :class:`PredictedShift`; (B, C, H, W) → (B, C, H, W). Starts at zero.

    The average is taken over each image alone, so an image's result never depends on its
    neighbours in the batch.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.predict = nn.Conv2d(channels, 2 * channels, 1)
        self.activation = nn.PReLU(2 * channels)
        for parameter in self.predict.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C, H, W)."""
        wide = torch.promote_types(x.dtype, torch.float32)
        mean = x.mean(dim=(2, 3), keepdim=True, dtype=wide).to(x.dtype)
        shift = self.activation(self.predict(mean))
        return shift2d(x, shift.flatten(1).unflatten(1, (-1, 2)))


def build_shifter(spec: ShiftSpec, channels: int) -> nn.Module:
    """The module that carries out ``spec`` for ``channels`` input channels.

    Raises:
        ValueError: ``spec`` is none of the three.
    """
    match spec:
        case StaticShift(bound):
            return StaticShifter(channels, bound)
        case PredictedShift():
            return PredictedShifter(channels)
        case NoShift():
            return nn.Identity()
    raise ValueError(f"shift {spec!r}: expected NoShift, StaticShift or PredictedShift")
