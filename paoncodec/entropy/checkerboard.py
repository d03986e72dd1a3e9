"""The walk over latents in groups of channels, each in two passes of a checkerboard.

He et al., "ELIC: Efficient Learned Image Compression with Unevenly Grouped Space-Channel Contextual
Adaptive Coding" (2022). A group sees all groups before it; its *anchors*, the positions of even
row + column, see nothing else of it, the others see its anchors. Two steps a group, whatever the
size of the picture: a decoder does what an encoder does, and in the same steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from paoncodec.entropy.coder import Integers, Stop
from paoncodec.entropy.field import Field
from paoncodec.entropy.products import Array
from paoncodec.entropy.walk import Select, legal, symbols
from paoncodec.layers import CHECKERBOARD_TAPS

#: Positions whose parameters are computed at once; bounds memory.
_BLOCK = 4096


@dataclass(frozen=True)
class ChannelGroup:
    """The exact networks of one group of C channels.

    Args:
        channels: C.
        channel: channel context, (1, channels before, H, W) → (1, K, H, W); None for the first.
        spatial: spatial context of (P, 12·C) neighbours, ordered (tap, channel), → (P, S).
        anchors: parameters where there is no spatial context, (P, K + hyper) → (P, 2·C).
        others: parameters elsewhere, (P, S + K + hyper) → (P, 2·C).
    """

    channels: int
    channel: Callable[[Array], Array] | None
    spatial: Callable[[Array], Array]
    anchors: Callable[[Array], Array]
    others: Callable[[Array], Array]


def checkerboard(height: int, width: int) -> tuple[Integers, Integers]:
    """Positions ``h · width + w`` of the anchors and of the others, ascending."""
    rows, columns = np.divmod(np.arange(height * width), width)
    odd = (rows + columns) % 2
    return np.flatnonzero(odd == 0), np.flatnonzero(odd)


class CheckerboardWalk:
    """Visits the latents of one image, group by group, anchors first.

    Args:
        groups: M channels in all.
        select: the gate from deviations and means to tables.
    """

    def __init__(self, groups: Sequence[ChannelGroup], select: Select) -> None:
        self._groups, self._select = groups, select
        self._channels = sum(group.channels for group in groups)

    def __call__(self, hyper: Array, stop: Stop, latents: Array | None = None) -> Array:
        """As every :class:`.Walk`; ``stop`` gets one pass of a group at a time."""
        height, width = hyper.shape[1:]
        known = np.zeros((self._channels, height, width))
        first = 0
        for group in self._groups:
            features = hyper
            if group.channel is not None:
                context = group.channel(known[None, :first])[0]
                features = np.concatenate((context, hyper))
            here = slice(first, first := first + group.channels)
            field = Field(height, width, group.channels, CHECKERBOARD_TAPS)
            given = None if latents is None else _by_position(latents[here])
            self._visit(group, field, _by_position(features), stop, given)
            known[here] = field.latents()
        return known

    def order(self, height: int, width: int) -> Integers:
        """As every :class:`.Walk`."""
        passes = checkerboard(height, width)
        places, first = [], 0
        for group in self._groups:
            channels = np.arange(first, first := first + group.channels) * (height * width)
            places += [(positions[:, None] + channels).ravel() for positions in passes]
        return np.concatenate(places)

    def _visit(
        self, group: ChannelGroup, field: Field, features: Array, stop: Stop, given: Array | None
    ) -> None:
        """Both passes of a group; ``features`` (H·W, K + hyper), ``given`` (H·W, C) or None."""
        height, width = field.size
        anchors, others = checkerboard(height, width)

        def seeing(positions: Integers) -> Array:
            context = group.spatial(field.seen_from(positions))
            return group.others(np.concatenate((context, features[positions]), axis=1))

        def blind(positions: Integers) -> Array:
            return group.anchors(features[positions])

        for positions, parameters in ((anchors, blind), (others, seeing)):
            if not len(positions):  # a single position has no others
                continue
            table, centre = self._tables(positions, parameters)
            values = None if given is None else symbols(given[positions], centre)
            steps = stop(table.ravel(), values).reshape(centre.shape)
            field.write(positions, legal(steps + centre))

    def _tables(
        self, positions: Integers, parameters: Callable[[Integers], Array]
    ) -> tuple[Integers, Array]:
        """(table, centre), each (P, C)."""
        parts = []
        for first in range(0, len(positions), _BLOCK):
            outputs = parameters(positions[first : first + _BLOCK])
            deviations, means = np.split(outputs, 2, axis=1)
            parts.append(self._select(deviations, means))
        tables, centres = zip(*parts, strict=True)
        return np.concatenate(tables), np.concatenate(centres)


def _by_position(maps: Array) -> Array:
    """(C, H, W) → (H·W, C)."""
    return np.ascontiguousarray(maps.reshape(len(maps), -1).T)
