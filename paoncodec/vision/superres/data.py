"""Pairs of patches: a crop of a picture, and the same reduced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from paoncodec.images.crops import CropDataset, CropSpec, EpochOrder
from paoncodec.vision.augment import noisy, shuffled, turned
from paoncodec.vision.parts import to_range
from paoncodec.vision.superres.resize import KERNEL_REACH, reduce

__all__ = ["PatchPairs", "PatchSequence", "PatchSpec"]

#: Told apart from the seeds of crops, which are (seed, epoch, picture).
_STREAM = 1


@dataclass(frozen=True)
class PatchSpec:
    """How pairs are made.

    Attributes:
        scale: how many times larger the high-resolution patch is.
        size: side of the low-resolution patch in pixels.
        augment: mirror, turn by quarters of a circle and shuffle the channels at random.
        noise: signal-to-noise ratio of what is added to the low-resolution patch in [-1, 1], dB;
            None: nothing.
        small: whether pictures smaller than a patch are continued by reflection, and not left out.
        shrink, seed, cache_bytes: as for :class:`.CropSpec`.
    """

    scale: int
    size: int
    augment: bool = True
    noise: float | None = None
    small: bool = False
    shrink: tuple[float, float] | None = None
    seed: int = 0
    cache_bytes: int = 0

    def crops(self) -> CropSpec:
        """How the high-resolution crop is cut, with what the kernel of the reduction sees around
        the patch."""
        side = self.scale * (self.size + 2 * KERNEL_REACH)
        least = 1 if self.small else self.scale * self.size
        return CropSpec(side, self.augment, self.shrink, self.seed, self.cache_bytes, least)


class PatchPairs(Dataset[tuple[Tensor, Tensor]]):
    """A pair for each picture and epoch, as the crops of :class:`.CropDataset`.

    Args:
        source: a folder, a picture, or several of either.
        spec: how pairs are made.

    Raises:
        UsageError: there are no pictures.
    """

    def __init__(self, source: Sequence[Path] | Path, spec: PatchSpec) -> None:
        self.spec = spec
        self._crops = CropDataset(source, spec.crops())

    def __len__(self) -> int:
        return len(self._crops)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Pair number ``index`` ≥ 0: (3, size, size) float32 in [-1, 1] but for noise, and uint8
        (3, scale·size, scale·size).

        Raises:
            ImageError: no picture can be used.
        """
        spec = self.spec
        high = self._crops[index].permute(1, 2, 0).numpy()
        rng = np.random.default_rng((spec.seed, *divmod(index, len(self)), _STREAM))
        if spec.augment:
            high = shuffled(turned(high, int(rng.integers(4))), rng)
        low = reduce(high, spec.scale)[KERNEL_REACH:-KERNEL_REACH, KERNEL_REACH:-KERNEL_REACH]
        border = spec.scale * KERNEL_REACH
        values = to_range(_channels_first(low)).numpy()
        if spec.noise is not None:
            values = noisy(values, spec.noise, rng)
        return torch.from_numpy(values), _channels_first(high[border:-border, border:-border])


class PatchSequence(Dataset[tuple[Tensor, Tensor]]):
    """The pairs of a run by their number in it: number k is ``pairs[order[k]]``."""

    def __init__(self, pairs: PatchPairs, order: EpochOrder) -> None:
        self._pairs, self._order = pairs, order

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        """As :class:`PatchPairs` has them."""
        return self._pairs[self._order[number]]


def _channels_first(pixels: npt.NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
