"""Training samples: augmented pictures with their labels, each a function of its number."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from paoncodec.images.crops import EpochOrder
from paoncodec.vision.augment import noisy, shuffled, turned
from paoncodec.vision.classification.data import LabelledImages
from paoncodec.vision.parts import to_range

__all__ = ["AugmentedImages", "split"]

#: Told apart from the numbers of :class:`.EpochOrder`, which are of (seed, epoch).
_STREAM = 2


class AugmentedImages(Dataset[tuple[Tensor, int]]):
    """The samples of a run by their number in it, an epoch after the other.

    "Padé Neurons for Efficient Neural Models", IV-C2: a crop of the picture with a black border,
    mirrored both ways, turned by quarters and its channels shuffled, all at random, and noise. For
    the ResNets of small pictures (He et al., 2016) only a crop and left to right.

    Args:
        images: to draw from, each once an epoch.
        border: its width in pixels.
        noise: signal-to-noise ratio of what is added to the values in [-1, 1], dB; None: nothing.
        seed: the source of all randomness.
        upright: whether pictures are mirrored from left to right alone, and keep their channels.
    """

    def __init__(
        self,
        images: LabelledImages,
        border: int,
        noise: float | None,
        seed: int,
        upright: bool = False,
    ) -> None:
        self._images, self._border, self._noise, self._seed = images, border, noise, seed
        self._upright = upright
        self._order = EpochOrder([1.0] * len(images), seed)

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        """(3, S, S) float32 in [-1, 1] but for noise, and the label."""
        drawn = self._order[number]
        picture = drawn % len(self._images)
        rng = np.random.default_rng((self._seed, drawn, _STREAM))
        pixels = self._placed(self._images.pixels[picture], rng)
        if not self._upright:
            pixels = shuffled(pixels, rng)
        values = to_range(torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))))
        if self._noise is not None:
            values = torch.from_numpy(noisy(values.numpy(), self._noise, rng))
        return values, int(self._images.labels[picture])

    def _placed(
        self, pixels: npt.NDArray[np.uint8], rng: np.random.Generator
    ) -> npt.NDArray[np.uint8]:
        border, size = self._border, len(pixels)
        wide = np.pad(pixels, ((border, border), (border, border), (0, 0)))
        top, left = rng.integers(2 * border + 1, size=2)
        crop = wide[top : top + size, left : left + size]
        if self._upright:
            return crop[:, :: -1 if rng.integers(2) else 1]
        vertical, horizontal = rng.integers(2, size=2)
        crop = crop[:: -1 if vertical else 1, :: -1 if horizontal else 1]
        return turned(crop, int(rng.integers(4)))


def split(images: LabelledImages, fraction: float) -> tuple[LabelledImages, LabelledImages]:
    """Training and validation, drawn at random once and for all seeds.

    Args:
        images: two at least.
        fraction: share of validation, in (0, 1); one picture at least is on each side.
    """
    count = min(max(1, round(fraction * len(images))), len(images) - 1)
    order = np.random.default_rng(0).permutation(len(images))
    return _chosen(images, np.sort(order[count:])), _chosen(images, np.sort(order[:count]))


def _chosen(images: LabelledImages, places: npt.NDArray[np.intp]) -> LabelledImages:
    names = tuple(images.names[k] for k in places)
    return LabelledImages(images.pixels[places], images.labels[places], images.classes, names)
