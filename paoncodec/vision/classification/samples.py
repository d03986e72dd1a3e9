"""Training samples: augmented pictures with their labels, each a function of its number."""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from paoncodec.errors import ImageError, PictureLeftOut
from paoncodec.images.crops import EpochOrder
from paoncodec.vision.augment import noisy, resized_part, shuffled, tilted, turned
from paoncodec.vision.classification.data import LabelledImages
from paoncodec.vision.classification.files import LabelledFiles
from paoncodec.vision.classification.hdf5 import strata
from paoncodec.vision.parts import to_range

__all__ = ["AugmentedImages", "Pictures", "split"]

Pictures = LabelledImages | LabelledFiles

#: Told apart from the numbers of :class:`.EpochOrder`, which are of (seed, epoch).
_STREAM = 2


class AugmentedImages(Dataset[tuple[Tensor, int]]):
    """The samples of a run by their number in it, an epoch after the other.

    "Padé Neurons for Efficient Neural Models", IV-C2: a crop of the picture with a black border,
    mirrored both ways, turned by quarters and its channels shuffled, all at random, and noise. For
    the ResNets of small pictures (He et al., 2016) only a crop and left to right; for those of
    large ones a random part, resized (:func:`.resized_part`), in place of the crop with a border.

    A picture that cannot be read is warned of, and the next one takes its place.

    Args:
        images: to draw from, each once an epoch.
        border: its width in pixels; no matter with ``resized``.
        noise: signal-to-noise ratio of what is added to the values in [-1, 1], dB; None: nothing.
        seed: the source of all randomness.
        upright: whether pictures are mirrored from left to right alone, and keep their channels.
        resized: whether samples are random parts of the pictures, resized.
        rotation: most degrees that pictures are turned by before, either way; with ``resized``.
    """

    def __init__(
        self,
        images: Pictures,
        border: int,
        noise: float | None,
        seed: int,
        upright: bool = False,
        resized: bool = False,
        rotation: float = 0.0,
    ) -> None:
        self._images, self._border, self._noise, self._seed = images, border, noise, seed
        self._upright, self._resized, self._rotation = upright, resized, rotation
        self._order = EpochOrder([1.0] * len(images), seed)

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        """(3, S, S) float32 in [-1, 1] but for noise, and the label."""
        drawn = self._order[number]
        pixels, label = self._readable(drawn % len(self._images))
        rng = np.random.default_rng((self._seed, drawn, _STREAM))
        pixels = self._placed(pixels, rng)
        if not self._upright:
            pixels = shuffled(pixels, rng)
        values = to_range(torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))))
        if self._noise is not None:
            values = torch.from_numpy(noisy(values.numpy(), self._noise, rng))
        return values, label

    def _readable(self, place: int) -> tuple[npt.NDArray[np.uint8], int]:
        """The picture there, or the next one that can be read, and its label.

        Raises:
            ImageError: none can be read.
        """
        count = len(self._images)
        for after in range(count):
            k = (place + after) % count
            try:
                return self._images.picture(k), int(self._images.labels[k])
            except ImageError as error:
                warnings.warn(f"picture left out: {error}", PictureLeftOut, stacklevel=2)
        raise ImageError("no picture can be read: each is named above")

    def _placed(
        self, pixels: npt.NDArray[np.uint8], rng: np.random.Generator
    ) -> npt.NDArray[np.uint8]:
        if self._resized:
            pixels = tilted(pixels, rng.uniform(-self._rotation, self._rotation))
            return self._mirrored(resized_part(pixels, self._images.size, rng), rng)
        border, size = self._border, len(pixels)
        wide = np.pad(pixels, ((border, border), (border, border), (0, 0)))
        top, left = rng.integers(2 * border + 1, size=2)
        return self._mirrored(wide[top : top + size, left : left + size], rng)

    def _mirrored(
        self, crop: npt.NDArray[np.uint8], rng: np.random.Generator
    ) -> npt.NDArray[np.uint8]:
        if self._upright:
            return crop[:, :: -1 if rng.integers(2) else 1]
        vertical, horizontal = rng.integers(2, size=2)
        crop = crop[:: -1 if vertical else 1, :: -1 if horizontal else 1]
        return turned(crop, int(rng.integers(4)))


def split(images: Pictures, fraction: float, stratified: bool = False) -> tuple[Pictures, Pictures]:
    """Training and validation, drawn at random once and for all seeds.

    Args:
        images: two at least.
        fraction: share of validation, in (0, 1); one picture at least is on each side.
        stratified: whether it is the share of each class (:func:`.strata`).
    """
    if stratified:
        held_out = strata(images.labels, fraction)
        return images.chosen(np.flatnonzero(~held_out)), images.chosen(np.flatnonzero(held_out))
    count = min(max(1, round(fraction * len(images))), len(images) - 1)
    order = np.random.default_rng(0).permutation(len(images))
    return images.chosen(np.sort(order[count:])), images.chosen(np.sort(order[:count]))
