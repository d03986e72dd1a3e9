"""Training crops: uint8 patches of a folder of pictures, each a pure function of its index.

The only module of this package that imports torch.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch.utils.data import Dataset

from paoncodec.errors import ImageError, PictureLeftOut, UsageError
from paoncodec.images.reading import read_image

__all__ = [
    "CropDataset",
    "CropSequence",
    "CropSpec",
    "EpochOrder",
    "find_images",
    "find_unreadable",
    "hold_out",
    "split",
    "weigh_images",
]

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})

# Reach of Pillow's Lanczos filter to either side, in pixels of the reduced picture.
_LANCZOS_SUPPORT = 3

PathLike: TypeAlias = "str | os.PathLike[str]"


@dataclass(frozen=True)
class CropSpec:
    """How crops are cut.

    Attributes:
        size: side of a crop in pixels, ≥ 1.
        flips: mirror at random, left-right and top-bottom.
        shrink: range of the random factor by which pictures are reduced before the crop, e.g.
            (0.5, 0.8), within (0, 1]; JPEG's artefacts are shrunk away with it. A picture that
            is too small for its factor is reduced as far as its shorter side allows. None: never
            reduce.
        stretch: reduce height and width by factors of their own, each as far as it allows.
        transpose: exchange rows and columns at random.
        seed: the source of all randomness, ≥ 0.
        cache_bytes: decoded pictures are kept until they fill this many bytes, per process.
        least: pictures with a side below this are left out, as those that cannot be read.
    """

    size: int = 256
    flips: bool = True
    shrink: tuple[float, float] | None = None
    seed: int = 0
    cache_bytes: int = 0
    least: int = 1
    stretch: bool = False
    transpose: bool = False

    def __post_init__(self) -> None:
        if self.size < 1:
            raise UsageError(f"crop size {self.size}: must be 1 or more pixels")
        if self.shrink is not None and not 0 < self.shrink[0] <= self.shrink[1] <= 1:
            raise UsageError(f"shrink {self.shrink}: must be (low, high), 0 < low <= high <= 1")
        if self.stretch and self.shrink is None:
            raise UsageError("stretch without shrink: give a range of factors")
        if self.seed < 0:
            raise UsageError(f"crop seed {self.seed}: must be 0 or more")
        if self.cache_bytes < 0:
            raise UsageError(f"cache of {self.cache_bytes} bytes: must be 0 or more")


class CropDataset(Dataset[torch.Tensor]):
    """One random crop per picture and epoch.

    Index k is picture k % len in epoch k // len, and its crop depends on (seed, epoch, picture)
    only: the same on any number of workers and after a resume. So an index may count on beyond
    len(dataset); those of `EpochOrder` do. A plain DataLoader stays in epoch 0, with the same crops
    each time: what validation wants.

    A picture smaller than the crop is padded by reflection. One that cannot be used is reported
    by name in a warning (`PictureLeftOut`) and the next that can takes its place.

    Args:
        source: a folder, a picture, or several of either; folders are searched recursively.
        spec: how crops are cut.

    Raises:
        UsageError: there are no pictures.
    """

    def __init__(self, source: PathLike | Iterable[PathLike], spec: CropSpec | None = None) -> None:
        self.paths = find_images(source)
        self.spec = spec or CropSpec()
        self._cache: dict[int, npt.NDArray[np.uint8]] = {}
        self._cached_bytes = 0
        self._unusable: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        """Crop number `index` ≥ 0: uint8 tensor (3, size, size).

        Raises:
            ImageError: no picture of the dataset can be used.
        """
        if index < 0:
            raise IndexError(f"crop index {index}: must be 0 or more")
        epoch, picture = divmod(index, len(self))
        rng = np.random.default_rng((self.spec.seed, epoch, picture))
        crop = _cut(self._picture(picture), self.spec, rng)
        return torch.from_numpy(np.ascontiguousarray(crop.transpose(2, 0, 1)))

    def __iter__(self) -> Iterator[torch.Tensor]:
        """The crops of epoch 0, in order (indexing has no end, so this must say where to stop)."""
        return (self[index] for index in range(len(self)))

    def _picture(self, wanted: int) -> npt.NDArray[np.uint8]:
        """Picture number `wanted`, or the next that can be used: (H, W, C), uint8."""
        for step in range(len(self)):
            picture = (wanted + step) % len(self)
            if picture in self._cache:
                return self._cache[picture]
            if picture in self._unusable:
                continue
            try:
                pixels = self._read(self.paths[picture])
            except ImageError as error:
                self._unusable[picture] = str(error)
                warnings.warn(f"picture left out: {error}", PictureLeftOut, stacklevel=2)
                continue
            self._keep(picture, pixels)
            return pixels
        first = self._unusable[wanted]
        raise ImageError(f"none of the {len(self)} pictures can be used; one of them: {first}")

    def _read(self, path: Path) -> npt.NDArray[np.uint8]:
        pixels = read_image(path)
        height, width = pixels.shape[:2]
        if min(height, width) < self.spec.least:
            raise ImageError(f"{path}: {width}x{height} pixels, needs {self.spec.least} a side")
        return pixels

    def _keep(self, picture: int, pixels: npt.NDArray[np.uint8]) -> None:
        # First come, first kept: every picture is wanted once an epoch, so throwing one out for
        # another would gain nothing.
        if self._cached_bytes + pixels.nbytes > self.spec.cache_bytes:
            return
        self._cache[picture] = pixels
        self._cached_bytes += pixels.nbytes


class EpochOrder:
    """Which crop of a :class:`CropDataset` a run takes as its k-th: ``order[k]``.

    An epoch draws each picture as often as its weight says and mixes them. A weight of 1.5 is one
    draw of each, and a second of half of the pictures of that weight, other ones each epoch. Every
    draw is a crop of its own. The k-th depends on (weights, seed, k) only, so a run may be taken up
    anywhere.

    Args:
        weights: of each picture, > 0.
        seed: the source of the order, ≥ 0.
    """

    def __init__(self, weights: Sequence[float], seed: int = 0) -> None:
        if not len(weights) or min(weights) <= 0:
            raise UsageError("weights of pictures: there must be one at least, each above 0")
        self.count, self.seed = len(weights), seed
        weight = np.asarray(weights, float)
        # Of each weight: its pictures, and how many draws they get among them.
        self._groups = [
            (pictures, max(1, round(float(value) * len(pictures))))
            for value in np.unique(weight)
            for pictures in [np.flatnonzero(weight == value)]
        ]
        self._rounds = max(-(-draws // len(pictures)) for pictures, draws in self._groups)
        self._last: tuple[int, npt.NDArray[np.int64]] | None = None

    def __len__(self) -> int:
        """Draws of an epoch."""
        return sum(draws for _, draws in self._groups)

    def __getitem__(self, number: int) -> int:
        """The index of draw `number` ≥ 0 of the run; there is no last one."""
        if number < 0:
            raise IndexError(f"draw {number}: must be 0 or more")
        epoch, place = divmod(number, len(self))
        if self._last is None or self._last[0] != epoch:
            self._last = epoch, self._epoch(epoch)
        return int(self._last[1][place])

    def _epoch(self, epoch: int) -> npt.NDArray[np.int64]:
        """The indexes of one epoch, in order."""
        rng = np.random.default_rng((self.seed, epoch))
        drawn = []
        for pictures, draws in self._groups:
            whole, rest = divmod(draws, len(pictures))
            more = rng.permutation(pictures)[:rest] if rest else pictures[:0]
            # The n-th draw of a picture is of a round of its own: another crop.
            rounds = [epoch * self._rounds + n for n in range(whole + 1)]
            parts = [*[pictures] * whole, more]
            drawn += [n * self.count + part for n, part in zip(rounds, parts, strict=True)]
        indexes = np.concatenate(drawn)
        return indexes[rng.permutation(len(indexes))]


class CropSequence(Dataset[torch.Tensor]):
    """The crops of a run by their number in it: number k is ``crops[order[k]]``."""

    def __init__(self, crops: CropDataset, order: EpochOrder) -> None:
        self._crops, self._order = crops, order

    def __getitem__(self, number: int) -> torch.Tensor:
        """uint8 tensor (3, size, size).

        Raises:
            ImageError: no picture can be used.
        """
        return self._crops[self._order[number]]


def find_images(source: PathLike | Iterable[PathLike]) -> list[Path]:
    """The pictures of a folder (recursively, by name), of a file, or of several of either.

    Files whose suffix is no picture's and hidden files are passed over inside folders; a file
    that is named itself is taken as it is. Each path appears once.

    Raises:
        UsageError: something does not exist, or there are no pictures at all.
    """
    places = [source] if isinstance(source, (str, os.PathLike)) else list(source)
    found = [path for place in places for path in _images_at(Path(place))]
    if not found:
        names = ", ".join(str(place) for place in places) or "an empty list"
        raise UsageError(f"no pictures ({', '.join(sorted(SUFFIXES))}) in {names}")
    return list(dict.fromkeys(found))


def weigh_images(places: Sequence[PathLike], weights: Sequence[float] = ()) -> dict[Path, float]:
    """The pictures of several places, each with the weight of the first that has it.

    Args:
        places: folders or pictures, as for `find_images`.
        weights: one for each place; () for 1.

    Raises:
        UsageError: as `find_images`.
    """
    found: dict[Path, float] = {}
    for place, weight in zip(places, weights or (1.0,) * len(places), strict=True):
        for path in find_images(place):
            found.setdefault(path, weight)
    return found


def find_unreadable(paths: Sequence[Path], seconds: float) -> tuple[int, list[str]]:
    """Reads pictures, in a random order, until all are read or the time is over.

    Returns:
        How many were read, and what is wrong with those that cannot be used, by name.
    """
    end = monotonic() + seconds
    faults: list[str] = []
    for read, number in enumerate(np.random.default_rng(0).permutation(len(paths))):
        if read and monotonic() > end:
            return read, faults
        try:
            read_image(paths[number])
        except ImageError as error:
            faults.append(str(error))
    return len(paths), faults


def split(
    paths: Sequence[Path], validation_fraction: float, seed: int = 0
) -> tuple[list[Path], list[Path]]:
    """Part pictures into training and validation by a hash of their file names.

    A picture's side depends on (its name, the fraction, seed) only, so adding others moves none;
    pictures of the same name in several folders stay together. The one exception: when two or
    more names are there and all fall on one side, the nearest one changes over.

    Args:
        paths: the pictures; their order is kept.
        validation_fraction: the expected share of validation, in [0, 1).
        seed: another number gives another split.

    Returns:
        (training, validation); validation is empty when the fraction is 0 or there is one name.
    """
    if not 0 <= validation_fraction < 1:
        raise UsageError(f"validation fraction {validation_fraction}: must be in [0, 1)")
    rank = {path.name: _unit_hash(path.name, seed) for path in paths}
    chosen = {name for name, value in rank.items() if value < validation_fraction}
    if validation_fraction > 0 and len(rank) > 1:
        chosen = chosen or {min(rank, key=rank.__getitem__)}
        if len(chosen) == len(rank):
            chosen.discard(max(rank, key=rank.__getitem__))
    training = [path for path in paths if path.name not in chosen]
    return training, [path for path in paths if path.name in chosen]


def hold_out(paths: Sequence[Path], validation_fraction: float) -> tuple[list[Path], list[Path]]:
    """:func:`split`, with pictures on both sides.

    Raises:
        UsageError: there is one name alone.
    """
    training, validation = split(paths, validation_fraction)
    if not validation:
        raise UsageError(
            f"{paths[0]}: the only picture, and validation needs pictures of its own; give at "
            "least two, of different names"
        )
    return training, validation


def _images_at(place: Path) -> list[Path]:
    if place.is_file():
        return [place]
    if not place.is_dir():
        raise UsageError(f"{place}: no such file or folder")
    return sorted(
        path
        for path in place.rglob("*")
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    )


def _unit_hash(name: str, seed: int) -> float:
    """A number in [0, 1) that depends on nothing but its arguments."""
    digest = hashlib.blake2b(f"{seed}:{name}".encode("utf-8", "surrogateescape"), digest_size=6)
    return int.from_bytes(digest.digest(), "big") / 2**48


def _cut(
    pixels: npt.NDArray[np.uint8], spec: CropSpec, rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """A random crop: (H, W, C) → (size, size, 3), any strides."""
    pixels = _at_least(pixels, spec.size)
    height, width = _region(pixels.shape[:2], spec, rng)
    top = int(rng.integers(pixels.shape[0] - height + 1))
    left = int(rng.integers(pixels.shape[1] - width + 1))
    crop = _shrunk(pixels, (left, top, left + width, top + height), spec.size)
    if spec.transpose and rng.integers(2):
        crop = crop.swapaxes(0, 1)
    if spec.flips:
        vertical, horizontal = rng.integers(2, size=2)
        crop = crop[:: -1 if vertical else 1, :: -1 if horizontal else 1]
    return np.broadcast_to(crop, (spec.size, spec.size, 3))


def _at_least(pixels: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.uint8]:
    """The picture, padded by reflection to `size` where it is smaller."""
    low, wide = (max(0, size - side) for side in pixels.shape[:2])
    if not low and not wide:
        return pixels
    around = ((low // 2, low - low // 2), (wide // 2, wide - wide // 2), (0, 0))
    return np.pad(pixels, around, mode="reflect")


def _region(shape: tuple[int, ...], spec: CropSpec, rng: np.random.Generator) -> tuple[int, int]:
    """Height and width of what becomes the crop, in pixels of the picture."""
    if spec.shrink is None:
        return spec.size, spec.size
    factors = rng.uniform(*spec.shrink, size=2 if spec.stretch else 1)
    height, width = (
        min(round(spec.size / factor), side)
        for factor, side in zip(np.broadcast_to(factors, 2), shape, strict=True)
    )
    return (height, width) if spec.stretch else (min(height, width),) * 2


def _shrunk(
    pixels: npt.NDArray[np.uint8], box: tuple[int, int, int, int], size: int
) -> npt.NDArray[np.uint8]:
    """A part of the picture (left, top, right, bottom) reduced to `size`: (size, size, C).

    Only the part and the filter's reach around it are touched: the result is that of reducing the
    whole picture and cropping.
    """
    left, top, right, bottom = box
    if (right - left, bottom - top) == (size, size):
        return pixels[top:bottom, left:right]
    reach = int(np.ceil(_LANCZOS_SUPPORT * max(right - left, bottom - top) / size))
    y, x = max(0, top - reach), max(0, left - reach)
    patch = pixels[y : bottom + reach, x : right + reach]
    grey = patch.shape[2] == 1
    image = Image.fromarray(np.ascontiguousarray(patch[:, :, 0] if grey else patch))
    box = (left - x, top - y, right - x, bottom - y)
    small = np.asarray(image.resize((size, size), Image.Resampling.LANCZOS, box=box))
    return small[:, :, np.newaxis] if grey else small
