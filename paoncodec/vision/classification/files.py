"""Labelled picture files of any size, read when needed: those of ImageNet are too many to keep."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from paoncodec.errors import ImageError
from paoncodec.images import read_image, to_pil
from paoncodec.vision.classification.data import (
    Block,
    LabelledImages,
    class_files,
    read_images,
    relabelled,
)
from paoncodec.vision.classification.networks import Classifier, ResNet

__all__ = ["LabelledFiles", "centred", "read_files", "read_test"]

Pixels = npt.NDArray[np.uint8]

#: The shorter side that pictures are resized to, as a multiple of the crop's: 256 for crops of 224,
#: as is usual for ResNets.
_MARGIN = 256 / 224


@dataclass(frozen=True, eq=False)
class LabelledFiles:
    """Picture files, each of a class, with the parts of :class:`.LabelledImages` that are used.

    Attributes:
        paths: of the files.
        labels: int64 (N,), indexes of ``classes``.
        classes: names, in alphabetical order.
        names: of the pictures, which say nothing of the machine.
        size: side of the crops that are measured, pixels.
        faults: none are known before the files are read.
    """

    paths: tuple[Path, ...]
    labels: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    names: tuple[str, ...]
    size: int
    faults: tuple[tuple[str, ImageError], ...] = ()

    def __len__(self) -> int:
        return len(self.paths)

    def picture(self, place: int) -> Pixels:
        """(H, W, 3), as it is in the file.

        Raises:
            ImageError: it cannot be read.
        """
        try:
            pixels = read_image(self.paths[place])
        except ImageError as error:
            said = str(error).removeprefix(f"{self.paths[place]}: ").removeprefix("image: ")
            raise ImageError(f"{self.names[place]}: {said}") from error
        return np.broadcast_to(pixels, (*pixels.shape[:2], 3))

    def block(self, first: int, last: int) -> Block:
        """The middle of each picture from ``first`` to before ``last`` (:func:`centred`); several
        are read at a time."""

        def made(place: int) -> Pixels | ImageError:
            try:
                return centred(self.picture(place), self.size)
            except ImageError as error:
                return error

        places = range(first, min(last, len(self)))
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            found = list(pool.map(made, places))
        kept = [
            (k, one) for k, one in zip(places, found, strict=True) if isinstance(one, np.ndarray)
        ]
        return Block(
            np.array([one for _, one in kept], np.uint8).reshape(-1, self.size, self.size, 3),
            np.array([k for k, _ in kept], np.int64),
            tuple(
                (self.names[k], one)
                for k, one in zip(places, found, strict=True)
                if isinstance(one, ImageError)
            ),
        )

    def chosen(self, places: npt.NDArray[np.intp]) -> LabelledFiles:
        """The pictures at some places."""
        paths, names = (tuple(of[k] for k in places) for of in (self.paths, self.names))
        return LabelledFiles(paths, self.labels[places], self.classes, names, self.size)

    def of_classes(self, classes: Sequence[str]) -> LabelledFiles:
        """The same, labelled by their place in ``classes``.

        Raises:
            UsageError: a class is not among them.
        """
        labels = relabelled(self.labels, self.classes, classes)
        return LabelledFiles(self.paths, labels, tuple(classes), self.names, self.size)


def read_files(place: Path, part: str, size: int) -> LabelledFiles:
    """The files of one part of a folder: ``train`` or ``val`` / CLASS / PICTURE, as in ImageNet.

    Args:
        place: of the folders.
        part: ``"train"`` or ``"test"``, which may be called ``val``.
        size: side of the crops that are measured.

    Raises:
        UsageError: no folder, or nothing of this part or form.
    """
    found, classes = class_files(place, part)
    index = {name: k for k, name in enumerate(classes)}
    labels = np.array([index[path.parent.name] for path in found], np.int64)
    names = tuple(map(str, found))
    return LabelledFiles(tuple(place / path for path in found), labels, classes, names, size)


def read_test(place: Path, network: Classifier) -> LabelledImages | LabelledFiles:
    """What a network is measured on: the test part of a data set, by the network's classes.

    Networks of torchvision's form take folders of pictures of any size.

    Raises:
        UsageError, ImageError: as for :func:`read_files` and :func:`.read_images`; or a class that
            the network does not know.
    """
    if isinstance(network, ResNet) and network.any_size and place.is_dir():
        return read_files(place, "test", network.size).of_classes(network.classes)
    return read_images(place, "test", network.size).of_classes(network.classes)


def centred(pixels: Pixels, size: int) -> Pixels:
    """(size, size, 3), the middle of a picture that is resized so that its shorter side is 8/7 of
    it; one that has the size is left as it is."""
    height, width, _ = pixels.shape
    if (height, width) == (size, size):
        return pixels
    factor = round(size * _MARGIN) / min(height, width)
    wide, high = (max(size, round(factor * side)) for side in (width, height))
    image = to_pil(pixels).resize((wide, high), Image.Resampling.BILINEAR)
    left, top = (wide - size) // 2, (high - size) // 2
    return np.asarray(image.crop((left, top, left + size, top + size)))
