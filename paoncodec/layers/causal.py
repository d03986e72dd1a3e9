"""Convolutions that see only what a raster scan has passed: the context of a serial decoder."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

#: How far a 5×5 kernel sees.
REACH = 2
#: Offsets (dh, dw) a position sees under a causal 5×5 mask, in raster order: two rows above it, two
#: columns to each side, and two positions to its left.
CAUSAL_TAPS = tuple(
    (dh, dw) for dh in range(-REACH, 1) for dw in range(-REACH, REACH + 1) if (dh, dw) < (0, 0)
)


class CausalConv2d(nn.Module):
    """Masked 5×5 convolution (type A): (B, C_in, H, W) → (B, C_out, H, W), zeros outside.

    What CompressAI's ``MaskedConv2d(C_in, C_out, 5, padding=2)`` computes, without weights for the
    13 taps that its mask hides. Source: van den Oord et al., "Conditional Image Generation with
    PixelCNN Decoders" (2016), as used by Minnen, Ballé and Toderici (2018).

    Parameters: ``weight`` (C_out, C_in, 12), taps in the order of :data:`CAUSAL_TAPS`; ``bias``
    (C_out,).
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, len(CAUSAL_TAPS)))
        self.bias = nn.Parameter(torch.empty(out_channels))
        bound = 1 / math.sqrt(in_channels * len(CAUSAL_TAPS))
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        # The taps are the first 12 of the 3×5 that end in the position's own row.
        rows, columns = REACH + 1, 2 * REACH + 1
        hidden = rows * columns - len(CAUSAL_TAPS)
        kernel = F.pad(self.weight, (0, hidden)).unflatten(2, (rows, columns))
        return F.conv2d(F.pad(x, (REACH, REACH, REACH, 0)), kernel, self.bias)

    def by_tap(self) -> Tensor:
        """The weight as (C_out, 12·C_in), columns ordered (tap, channel)."""
        return self.weight.transpose(1, 2).flatten(1)

    def extra_repr(self) -> str:
        return f"{self.weight.shape[1]}, {self.weight.shape[0]}"
