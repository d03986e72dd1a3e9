"""g_a and g_s piece by piece: pictures of any size in bounded memory.

A piece sees so much around it that what is kept of it depends on nothing that it does not see, so
the pieces together are what the whole picture gives, to the rounding of single precision. How much
that is, is measured on the network itself. Latents come back as one array: they are coded as one
picture.

Positions and sides here are those of the latents y unless they are said to be pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil
from typing import Literal

import torch
from torch import Tensor, nn

from paoncodec.coding.exact_codec import ExactCodec, in_range
from paoncodec.layers.base import PaLa

__all__ = [
    "Area",
    "Plan",
    "Transform",
    "analyse",
    "bytes_per_latent",
    "plan",
    "reach",
    "stride",
    "synthesise",
]

Transform = Literal["analysis", "synthesis"]

#: A network that is seen to reach further, in latents, is taken to see the whole picture.
_FARTHEST = 64
#: Latents on each side of the edge from which a reach is measured first; doubled where too few.
_NEAR = 8
#: Sides, in latents, of what the need for memory is measured on.
_PROBE = 4
#: Copies of the largest layer's maps that there are at a time.
_LAID_OUT_ANEW = 2


@dataclass(frozen=True)
class Area:
    """Rows ``top`` … ``bottom`` - 1 and columns ``left`` … ``right`` - 1."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def positions(self) -> int:
        """How many there are."""
        return (self.bottom - self.top) * (self.right - self.left)

    @property
    def rows(self) -> slice:
        """Of an array (H, W, ...)."""
        return slice(self.top, self.bottom)

    @property
    def columns(self) -> slice:
        """Of an array (H, W, ...)."""
        return slice(self.left, self.right)

    def of(self, maps: Tensor) -> Tensor:
        """The view of ``maps`` (..., H, W) on it."""
        return maps[..., self.rows, self.columns]

    def scaled(self, scale: int) -> Area:
        """It in pixels, of which a position is ``scale`` high and wide."""
        return Area(*(scale * side for side in (self.top, self.bottom, self.left, self.right)))

    def common(self, other: Area) -> Area:
        """What lies in both."""
        return Area(
            max(self.top, other.top),
            min(self.bottom, other.bottom),
            max(self.left, other.left),
            min(self.right, other.right),
        )

    def around(self, halo: int) -> Area:
        """It and ``halo`` more on each side."""
        return Area(self.top - halo, self.bottom + halo, self.left - halo, self.right + halo)

    def seen_from(self, outer: Area) -> Area:
        """The same, counted from the first position of ``outer``."""
        top, left = outer.top, outer.left
        return Area(self.top - top, self.bottom - top, self.left - left, self.right - left)


@dataclass(frozen=True)
class Plan:
    """How a picture is cut.

    Attributes:
        whole: all latents of the picture.
        kept: what is wanted of them.
        height, width: sides of a piece of it.
        halo: what is seen around each piece.
    """

    whole: Area
    kept: Area
    height: int
    width: int
    halo: int

    @classmethod
    def at_once(cls, whole: Area) -> Plan:
        """Not cut at all."""
        return cls(whole, whole, whole.bottom, whole.right, 0)

    def pieces(self) -> Iterator[Area]:
        """Those that together are ``kept``, row by row."""
        for top in range(self.kept.top, self.kept.bottom, self.height):
            bottom = min(self.kept.bottom, top + self.height)
            for left in range(self.kept.left, self.kept.right, self.width):
                yield Area(top, bottom, left, min(self.kept.right, left + self.width))

    def seen(self, piece: Area) -> Area:
        """What is computed to keep a piece."""
        return piece.around(self.halo).common(self.whole)

    def largest(self) -> int:
        """Positions that are seen at a time."""
        return max(self.seen(piece).positions for piece in self.pieces())


def stride(codec: ExactCodec) -> int:
    """Pixels that a latent is high and wide."""
    return codec.downsampling_factor // 4


def plan(whole: Area, kept: Area, halo: int, most: float) -> Plan:
    """The cut into pieces that see at most ``most`` positions each, with the least work in all.

    Where not even the smallest pieces see so few, it is the cut into those: of the sides of the
    halo, so that a piece computes up to nine times what is kept of it.
    """
    height, width = kept.bottom - kept.top, kept.right - kept.left
    least = max(1, halo)
    best: tuple[float, int, int] | None = None
    for columns in range(1, max(1, width // least) + 1):
        side = ceil(width / columns)
        seen = min(side + 2 * halo, whole.right - whole.left)
        rows = min(height, int(most // seen) - 2 * halo)
        if height + 2 * halo <= most // seen:
            rows = height
        if rows < min(least, height):
            continue
        work = columns * seen * ceil(height / rows) * (rows + 2 * halo)
        if best is None or work < best[0]:
            best = (work, ceil(height / ceil(height / rows)), side)
    _, tall, wide = best or (0, min(least, height), min(least, width))
    return Plan(whole, kept, tall, wide, halo)


def analyse(
    codec: ExactCodec, plan: Plan, read: Callable[[Area], Tensor], quality: float | None = None
) -> Tensor:
    """y of a picture (1, M, H/16, W/16), as :meth:`.ExactCodec.analysis` of all of it.

    Args:
        codec: in evaluation mode.
        plan: for all of the picture.
        read: gives the pixels (1, 3, h, w) of an area.
        quality: as for :meth:`.ExactCodec.compress`.
    """
    weight = next(codec.parameters())
    y = weight.new_empty(1, int(codec.M), plan.whole.bottom, plan.whole.right)
    for piece in plan.pieces():
        seen = plan.seen(piece)
        part = codec.analysis(read(seen), quality)
        piece.of(y).copy_(piece.seen_from(seen).of(part))
    return y


def synthesise(
    codec: ExactCodec, plan: Plan, y_hat: Tensor, quality: float | None = None
) -> Iterator[tuple[Area, Tensor]]:
    """Pieces of what :meth:`.ExactCodec.synthesis` makes of ``y_hat`` (1, M, H/16, W/16).

    Yields:
        Where in the latents, and the pixels (1, 3, h, w) in [0, 1].

    Raises:
        WeightsError: as :func:`.in_range`.
    """
    scale = stride(codec)
    for piece in plan.pieces():
        seen = plan.seen(piece)
        x_hat = codec.synthesis(seen.of(y_hat), quality)
        yield piece, in_range(piece.seen_from(seen).scaled(scale).of(x_hat))


@torch.inference_mode()
def reach(codec: ExactCodec, transform: Transform) -> int | None:
    """How many latents around a piece of a picture have to be seen.

    Half of an input is made NaN, and it is seen how far into the other half that spreads. Pieces
    begin where a latent does, and so does that half. None: it spreads everywhere, as where shifts
    are predicted from averages over the picture.
    """
    scale = stride(codec)
    weight = next(codec.parameters())
    run, channels, unit_in, unit_out = (
        (codec.analysis, 3, scale, 1)
        if transform == "analysis"
        else (codec.synthesis, int(codec.M), 1, scale)
    )
    near = _NEAR
    while near <= _FARTHEST:
        maps = weight.new_zeros(1, channels, 2 * near * unit_in, unit_in)
        maps[:, :, : near * unit_in] = torch.nan
        halves = (maps, maps.flip(2), maps.mT, maps.mT.flip(3))
        spread = max(_lost(run(half)) for half in halves) - near * unit_out
        if spread < near * unit_out:
            return ceil(spread / unit_out)
        near *= 2
    return None


def _lost(maps: Tensor) -> int:
    """Lines across the longer side of (1, C, H, W) that hold a NaN."""
    lost = maps[0].isnan().any(dim=0)
    return int(lost.any(dim=1 if lost.shape[0] > lost.shape[1] else 0).sum())


@torch.inference_mode()
def bytes_per_latent(codec: ExactCodec, transform: Transform) -> float:
    """About how much memory a transform takes for each latent that it sees, at its peak.

    Input, output and what lies between of the layer that has most of them, twice: the library lays
    maps out anew for its kernels, and blocks keep what they add at their ends.
    """
    sizes: list[float] = []

    def note(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        terms = layer.spec.num + layer.spec.den if isinstance(layer, PaLa) else 1
        sizes.append(inputs[0].numel() + (1 + terms) * output.numel())

    network = codec.g_a if transform == "analysis" else codec.g_s
    layers = [layer for layer in network.modules() if any(True for _ in layer.parameters(False))]
    hooks = [layer.register_forward_hook(note) for layer in layers]
    weight = next(codec.parameters())
    try:
        if transform == "analysis":
            side = _PROBE * stride(codec)
            codec.analysis(weight.new_zeros(1, 3, side, side))
        else:
            codec.synthesis(weight.new_zeros(1, int(codec.M), _PROBE, _PROBE))
    finally:
        for hook in hooks:
            hook.remove()
    return _LAID_OUT_ANEW * weight.element_size() * max(sizes) / _PROBE**2
