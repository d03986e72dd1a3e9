"""The walk over latents whose context is the raster-scan past, many positions at a stop.

Under a 5×5 mask a position sees two rows above it (two columns to each side) and two positions to
its left. Positions (h, w) of equal ``w + 3h`` do not see each other, and all they see has a smaller
``w + 3h``: a decoder needs W + 3 (H - 1) steps in place of H · W. Where the latents are known
already, all positions are one step; exact arithmetic makes both ways give the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from paoncodec.entropy.coder import Integers, Stop
from paoncodec.entropy.field import Field
from paoncodec.entropy.products import Array, one_thread
from paoncodec.entropy.walk import Select, legal, symbols
from paoncodec.layers.causal import CAUSAL_TAPS

#: (parameters of the hyper decoder (P, C), context features (P, K)) → (deviations, means), (P, M).
Head = Callable[[Array, Array], tuple[Array, Array]]

#: Positions whose parameters are computed at once where the latents are known; bounds memory.
_BLOCK = 4096


def wavefronts(height: int, width: int) -> list[Integers]:
    """Positions ``h · width + w`` of each step, rows ascending within a step."""
    rows = np.arange(height)
    steps = []
    for step in range(width + 3 * (height - 1)):
        columns = step - 3 * rows
        inside = (columns >= 0) & (columns < width)
        if inside.any():  # a picture one or two positions wide has steps without any
            steps.append((rows * width + columns)[inside])
    return steps


def _blocks(steps: list[Integers]) -> Iterator[list[Integers]]:
    """The steps in order, so many at a time as have _BLOCK positions, or one that has more."""
    block: list[Integers] = []
    count = 0
    for step in steps:
        if block and count + len(step) > _BLOCK:
            yield block
            block, count = [], 0
        block.append(step)
        count += len(step)
    yield block


class CausalWalk:
    """Visits the latents of one image in the order of the wavefronts.

    Args:
        context: exact product of (P, 12·M) causal neighbours, ordered (tap, channel).
        head: exact networks from features to deviations and means.
        select: the gate from those to tables.
        channels: M.
    """

    def __init__(
        self, context: Callable[[Array], Array], head: Head, select: Select, channels: int
    ) -> None:
        self._context, self._head, self._select = context, head, select
        self._channels = channels

    def __call__(self, hyper: Array, stop: Stop, latents: Array | None = None) -> Array:
        """As every :class:`.Walk`; ``stop`` gets a wavefront at a time."""
        channels, height, width = hyper.shape
        hyper = np.ascontiguousarray(hyper.reshape(channels, -1).T)
        field = Field(height, width, self._channels, CAUSAL_TAPS)
        steps = wavefronts(height, width)
        if latents is None:
            with one_thread:
                self._read(field, hyper, steps, stop)
            return field.latents()
        field.write(np.arange(height * width), latents.reshape(self._channels, -1).T)
        for block in _blocks(steps):
            positions = np.concatenate(block)
            table, centre = self._at(field, hyper, positions)
            values = symbols(field.read(positions), centre).reshape(table.shape)
            ends = np.cumsum([len(step) for step in block])[:-1]
            for tables, here in zip(np.split(table, ends), np.split(values, ends), strict=True):
                stop(tables.ravel(), here.ravel())
        return latents

    def order(self, height: int, width: int) -> Integers:
        """As every :class:`.Walk`."""
        channels = np.arange(self._channels) * (height * width)
        positions = np.concatenate(wavefronts(height, width))
        return (positions[:, None] + channels).ravel()

    def _read(self, field: Field, hyper: Array, steps: list[Integers], stop: Stop) -> None:
        for positions in steps:
            table, centre = self._at(field, hyper, positions)
            values = stop(table.ravel(), None).reshape(centre.shape) + centre
            field.write(positions, legal(values))

    def _at(self, field: Field, hyper: Array, positions: Integers) -> tuple[Integers, Array]:
        """(table, centre), each (P, M), of positions from their causal neighbours."""
        features = self._context(field.seen_from(positions))
        return self._select(*self._head(hyper[positions], features))
