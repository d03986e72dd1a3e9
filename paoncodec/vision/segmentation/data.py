"""Cases of a data set in the layout of AMOS, and slices of them to train on."""

from __future__ import annotations

import json
import os
import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage  # type: ignore[import-untyped]
from torch import Tensor
from torch.utils.data import Dataset

from paoncodec.errors import UsageError
from paoncodec.images.crops import EpochOrder
from paoncodec.vision.segmentation.inference import AXES, WINDOW, normalised
from paoncodec.vision.segmentation.volumes import (
    Volume,
    check_pair,
    read_labels,
    read_shape,
    read_volume,
)

__all__ = [
    "Case",
    "Cases",
    "SliceSpec",
    "Slices",
    "read_cases",
    "read_pair",
    "split_cases",
    "validation_cases",
]

#: A case of AMOS, and the first number that is not of CT, by the readme of its files.
_AMOS, _FIRST_MR = re.compile(r"amos_(\d+)"), 500
#: Told apart from the seeds of an epoch's order, which are (seed, epoch).
_STREAM = 2


@dataclass(frozen=True)
class Case:
    """Files of a volume and of its labels."""

    image: Path
    labels: Path

    @property
    def name(self) -> str:
        """Of the volume's file, without suffix."""
        return self.image.name.removesuffix(".gz").removesuffix(".nii")


@dataclass(frozen=True)
class Cases:
    """What a ``dataset.json`` names.

    Args:
        classes: their names by label; the first is the background.
        training: to train on, a part of them held out.
        validation: the final test set, as the paper uses AMOS's validation cases.
        of_mr: names of cases of both that are left out: AMOS has CT and MR in one folder, the
            latter numbered from 500 on (``amos_0507``). The networks are of CT, in Hounsfield
            units.
    """

    classes: tuple[str, ...]
    training: tuple[Case, ...]
    validation: tuple[Case, ...]
    of_mr: tuple[str, ...] = ()


def read_cases(folder: str | os.PathLike[str]) -> Cases:
    """The cases of a folder with a ``dataset.json`` as AMOS has it.

    Raises:
        UsageError: no such file, one that says something else, or cases whose files are missing.
    """
    place = Path(folder)
    path = place / "dataset.json"
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        labels = {int(label): str(name) for label, name in about["labels"].items()}
        if sorted(labels) != list(range(len(labels))) or len(labels) < 2:
            raise ValueError(f"labels {sorted(labels)} are not 0, 1, ... without a gap")
        parts = [
            tuple(
                Case(place / entry["image"], place / entry["label"]) for entry in about.get(p, [])
            )
            for p in ("training", "validation")
        ]
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; give a folder as AMOS has it") from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{path}: not a description of a data set ({error})") from error
    files = [file for part in parts for case in part for file in (case.image, case.labels)]
    missing = [file for file in files if not file.is_file()]
    if missing:
        raise UsageError(f"{missing[0]}: is named in {path.name}, and missing")
    classes = tuple(labels[n] for n in range(len(labels)))
    of_mr = tuple(case.name for part in parts for case in part if _is_mr(case))
    training, validation = (tuple(c for c in part if not _is_mr(c)) for part in parts)
    return Cases(classes, training, validation, of_mr)


def _is_mr(case: Case) -> bool:
    number = _AMOS.fullmatch(case.name)
    return number is not None and int(number[1]) >= _FIRST_MR


def validation_cases(folder: str | os.PathLike[str], classes: Sequence[str]) -> tuple[Case, ...]:
    """What a network of these classes is measured on: as :func:`read_cases`, the final test set.

    Raises:
        UsageError: as there; or the data set has none, or other classes.
    """
    found = read_cases(folder)
    if found.classes != tuple(classes):
        raise UsageError(
            f"{os.fspath(folder)}: has the classes {', '.join(found.classes)}, and the network "
            f"{', '.join(classes)}"
        )
    if not found.validation:
        raise UsageError(f"{os.fspath(folder)}: its dataset.json names no validation cases of CT")
    return found.validation


def read_pair(case: Case, classes: int) -> tuple[Volume, Volume]:
    """A case's volume and labels.

    Raises:
        ImageError: one of them is unsound, a label is no class, or they do not belong together.
    """
    image = read_volume(case.image)
    labels = read_labels(case.labels, classes)
    check_pair(image, labels, f"{case.image} and {case.labels}")
    return image, labels


@dataclass(frozen=True)
class SliceSpec:
    """How slices are cut and changed; the paper names the kinds and not the strengths.

    Args:
        size: side of the square crop; what a slice lacks is filled with air and background.
        window: see :func:`.normalised`.
        rotation: most degrees in the plane of the slice, either way.
        noise: largest standard deviation of Gaussian noise, in [-1, 1] as the range of values.
        scale, shift: most that intensities are multiplied by beside 1, and moved by.
        seed: of all that is by chance.
        cache_bytes: of volumes that are kept, the last used ones.
    """

    size: int
    window: tuple[float, float] = WINDOW
    rotation: float = 15.0
    noise: float = 0.05
    scale: float = 0.1
    shift: float = 0.1
    seed: int = 0
    cache_bytes: int = 2**30


class Slices(Dataset[tuple[Tensor, Tensor]]):
    """The slices of a run by their number in it: all of all cases and directions, mixed each epoch.

    Args:
        cases: at least one.
        classes: number of them, with the background.
        spec: how slices are made.

    Raises:
        UsageError: there are no cases.
    """

    def __init__(self, cases: Sequence[Case], classes: int, spec: SliceSpec) -> None:
        if not cases:
            raise UsageError("no cases to train on")
        self.cases, self.classes, self.spec = tuple(cases), classes, spec
        self._kept: OrderedDict[int, tuple[npt.NDArray[Any], npt.NDArray[Any]]] = OrderedDict()

    @cached_property
    def places(self) -> list[tuple[int, int, int]]:
        """Case, axis and index of every slice, by the files' headers."""
        found = []
        for number, case in enumerate(self.cases):
            shape = read_shape(case.image)
            found += [(number, axis, index) for axis in AXES for index in range(shape[axis])]
        return found

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        """Sample ``number`` ≥ 0 of the run: (1, size, size) float32, (size, size) int64.

        Raises:
            ImageError: the case cannot be read.
        """
        draw = self._order[number]
        case, axis, index = self.places[draw % len(self.places)]
        rng = np.random.default_rng((self.spec.seed, number, _STREAM))
        values, labels = (np.take(part, index, axis) for part in self._pair(case))
        values, labels = self._varied(values, labels, rng)
        return torch.from_numpy(values)[None], torch.from_numpy(labels.astype(np.int64))

    @cached_property
    def _order(self) -> EpochOrder:
        return EpochOrder([1.0] * len(self.places), self.spec.seed)

    def _pair(self, number: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Values as networks take them, and labels; kept while there is room."""
        if number not in self._kept:
            image, labels = read_pair(self.cases[number], self.classes)
            made = normalised(image.values, self.spec.window).astype(np.float16), labels.values
            self._kept[number] = made
            while len(self._kept) > 1 and self._kept_bytes() > self.spec.cache_bytes:
                self._kept.popitem(last=False)
        self._kept.move_to_end(number)
        return self._kept[number]

    def _kept_bytes(self) -> int:
        return sum(part.nbytes for pair in self._kept.values() for part in pair)

    def _varied(
        self, values: npt.NDArray[Any], labels: npt.NDArray[Any], rng: np.random.Generator
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[Any]]:
        """Turned, mirrored, cut, and of other intensities."""
        spec = self.spec
        values = values.astype(np.float32)
        angle = rng.uniform(-spec.rotation, spec.rotation)
        if angle:
            values = ndimage.rotate(values, angle, reshape=False, order=1, cval=-1.0)
            labels = ndimage.rotate(labels, angle, reshape=False, order=0)
        for axis in (0, 1):
            if rng.integers(2):
                values, labels = np.flip(values, axis), np.flip(labels, axis)
        values, labels = _cut(values, labels, spec.size, rng)
        factor = 1 + rng.uniform(-spec.scale, spec.scale)
        moved = values * factor + rng.uniform(-spec.shift, spec.shift)
        noise = rng.uniform(0, spec.noise) * rng.standard_normal(values.shape)
        return (moved + noise).astype(np.float32), np.ascontiguousarray(labels)


def _cut(
    values: npt.NDArray[np.float32],
    labels: npt.NDArray[Any],
    size: int,
    rng: np.random.Generator,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[Any]]:
    """A square at a random place; slices that are smaller lie at a random place in it."""
    parts: list[slice] = []
    borders: list[tuple[int, int]] = []
    for side in values.shape:
        start = int(rng.integers(max(side - size, 0) + 1))
        parts.append(slice(start, start + size))
        before = int(rng.integers(max(size - side, 0) + 1))
        borders.append((before, max(size - side, 0) - before))
    place = tuple(parts)
    return np.pad(values[place], borders, constant_values=-1.0), np.pad(labels[place], borders)


def split_cases(
    cases: Sequence[Case], fraction: float
) -> tuple[tuple[Case, ...], tuple[Case, ...]]:
    """Cases to train on and cases held out, drawn at random once and for all seeds.

    Args:
        cases: two at least, or none is held out; what is drawn does not depend on their order.
        fraction: share to hold out, in (0, 1), rounded to whole cases; one at least is on each
            side.
    """
    order = sorted(range(len(cases)), key=lambda number: cases[number].image.name)
    count = min(max(1, round(fraction * len(cases))), len(cases) - 1)
    drawn = np.random.default_rng(0).permutation(len(cases))[:count]
    held_out = {order[place] for place in drawn}
    training = tuple(case for number, case in enumerate(cases) if number not in held_out)
    return training, tuple(cases[number] for number in sorted(held_out))
