"""Latents by position, for gathering what a mask shows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from paoncodec.entropy.coder import Integers
from paoncodec.entropy.products import Array
from paoncodec.layers.causal import REACH


class Field:
    """Latents of some channels, 0 until written, with a border of zeros as wide as a mask reaches.

    Positions are counted ``h · width + w``.

    Args:
        height, width: of the latents.
        channels: C.
        taps: offsets (dh, dw) that the mask shows, each within ±REACH.
    """

    def __init__(
        self, height: int, width: int, channels: int, taps: Sequence[tuple[int, int]]
    ) -> None:
        self.size = (height, width)
        self._stride = width + 2 * REACH
        self._values = np.zeros(((height + 2 * REACH) * self._stride, channels))
        self._taps = np.array([dh * self._stride + dw for dh, dw in taps])

    def _rows(self, positions: Integers) -> Integers:
        row, column = np.divmod(positions, self.size[1])
        return (row + REACH) * self._stride + column + REACH

    def seen_from(self, positions: Integers) -> Array:
        """(P, taps·C): what the mask shows each position."""
        rows = self._rows(positions)[:, None] + self._taps
        return self._values[rows].reshape(len(positions), -1)

    def read(self, positions: Integers) -> Array:
        """(P, C)."""
        return self._values[self._rows(positions)]

    def write(self, positions: Integers, values: Array) -> None:
        """Sets (P, C)."""
        self._values[self._rows(positions)] = values

    def latents(self) -> Array:
        """(C, H, W)."""
        height, width = self.size
        return self.read(np.arange(height * width)).T.reshape(-1, height, width)
