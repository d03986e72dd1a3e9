"""Padé layers of context models: convolutions that see only what a decoder has already.

"Padé Neurons for Efficient Neural Models", IV-B, uses them for ELIC's spatial context (He et al.,
"ELIC: Efficient Learned Image Compression with Unevenly Grouped Space-Channel Contextual Adaptive
Coding", 2022); the raster-scan mask is that of :mod:`paoncodec.layers.causal`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from paoncodec.layers.base import PaLa, by_images, require_at_least
from paoncodec.layers.causal import CAUSAL_TAPS, REACH
from paoncodec.layers.pade import require_maps, stack_convolution
from paoncodec.layers.rational import Kind
from paoncodec.layers.shift import NoShift, ShiftSpec

#: Side of the kernels.
_SIDE = 2 * REACH + 1
#: Offsets (dh, dw) a position sees under a checkerboard 5×5 mask, in raster order: those of the
#: other colour. Positions of one colour thus see only positions of the other.
CHECKERBOARD_TAPS = tuple(
    (dh, dw) for dh in range(-REACH, REACH + 1) for dw in range(-REACH, REACH + 1) if (dh + dw) % 2
)


class MaskedPaLaConv2d(PaLa):
    """Padé layer over some taps of a 5×5 kernel: (B, C_in, H, W) → (B, C_out, H, W).

    Zeros stand outside the picture, not its replicated border: a border pixel repeated outside
    would show a position itself, or what comes after it. The numerator and denominator weights are
    (K·C_out, C_in, taps) and (L·C_out, C_in, taps): hidden taps have none.

    Args:
        in_channels, out_channels: numbers of channels.
        taps: offsets (dh, dw) that a position sees, each within ±2, none twice; at least one.
        degrees, kind: as for :class:`.PaLaConv2d`.
        shift: only :class:`.NoShift`. A shift moves features past the mask: half a pixel to the
            left already mixes a position's right neighbour, not yet decoded, into what it sees.

    Raises:
        ValueError: impossible sizes, taps, degrees or kind, or a shift.
    """

    _index: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        taps: Sequence[tuple[int, int]],
        degrees: tuple[int, int] = (1, 1),
        kind: Kind = "smooth",
        shift: ShiftSpec = NoShift(),
    ) -> None:
        require_at_least(1, in_channels=in_channels, out_channels=out_channels, taps=len(taps))
        for tap in taps:
            if max(map(abs, tap)) > REACH:
                raise ValueError(f"tap {tap}: a {_SIDE}x{_SIDE} kernel reaches {REACH} pixels")
        if len(set(taps)) < len(taps):
            raise ValueError(f"taps {list(taps)}: one of them stands there twice")
        if shift != NoShift():
            raise ValueError(
                f"shift {shift!r}: a masked layer takes none, for a shift would let it see what "
                "the mask hides"
            )
        shape = (out_channels, in_channels, len(taps))
        fan_in = in_channels * len(taps)
        super().__init__(in_channels, out_channels, shape, fan_in, degrees, kind)
        places = [(dh + REACH) * _SIDE + dw + REACH for dh, dw in taps]
        self.register_buffer("_index", torch.tensor(places), persistent=False)

    def kernel(self, name: Literal["numerator", "denominator"]) -> Tensor:
        """The weights of a polynomial by degree, hidden taps as zeros: (D, C_out, C_in, 5, 5).

        Raises:
            ValueError: the polynomial has no terms (degree 0).
        """
        return self._spread(self.terms(name))

    def by_tap(self, name: Literal["numerator", "denominator"]) -> Tensor:
        """The weights of a polynomial by degree, (D, C_out, taps·C_in), columns (tap, channel).

        Raises:
            ValueError: the polynomial has no terms (degree 0).
        """
        return self.terms(name).transpose(2, 3).flatten(2)

    def _spread(self, weight: Tensor) -> Tensor:
        whole = weight.new_zeros(*weight.shape[:-1], _SIDE**2)
        return whole.index_copy(-1, self._index, weight).unflatten(-1, (_SIDE, _SIDE))

    def _stack(self, weights: Sequence[Tensor]) -> Tensor:
        return stack_convolution([self._spread(w) for w in weights], 1)

    def _product(self, x: Tensor, weight: Tensor, groups: int, *places: Tensor) -> Tensor:
        return F.conv2d(x, weight, padding=REACH, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) → (B, C_out, H, W)."""
        require_maps(x, self.in_channels)
        return by_images(self._pade, x, self._terms_of(x))


class CausalPaLaConv2d(MaskedPaLaConv2d):
    """Padé layer that sees the raster-scan past (5×5, type A): (B, C_in, H, W) → (B, C_out, H, W).

    With degrees (1, 0) it is :class:`.CausalConv2d`. Taps are :data:`.CAUSAL_TAPS`; arguments,
    parameters and errors are those of :class:`MaskedPaLaConv2d`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        degrees: tuple[int, int] = (1, 1),
        kind: Kind = "smooth",
        shift: ShiftSpec = NoShift(),
    ) -> None:
        super().__init__(in_channels, out_channels, CAUSAL_TAPS, degrees, kind, shift)


class CheckerboardPaLaConv2d(MaskedPaLaConv2d):
    """Padé layer that sees the other colour of a checkerboard: (B, C_in, H, W) → (B, C_out, H, W).

    With degrees (1, 0) it is CompressAI's ``CheckerboardMaskedConv2d(C_in, C_out, 5, padding=2)``.
    Taps are :data:`CHECKERBOARD_TAPS`; arguments, parameters and errors are those of
    :class:`MaskedPaLaConv2d`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        degrees: tuple[int, int] = (1, 1),
        kind: Kind = "smooth",
        shift: ShiftSpec = NoShift(),
    ) -> None:
        super().__init__(in_channels, out_channels, CHECKERBOARD_TAPS, degrees, kind, shift)
