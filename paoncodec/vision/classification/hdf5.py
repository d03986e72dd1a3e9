"""Galaxy10 DECaLS: one HDF5 file with ``images`` and ``ans``, as its authors publish it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from paoncodec.errors import ImageError, UsageError

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["GALAXY10", "TEST_SHARE", "is_hdf5", "read_galaxies", "strata"]

#: The classes of Galaxy10 DECaLS, in its order.
GALAXY10 = (
    "disturbed",
    "merging",
    "round smooth",
    "in-between round smooth",
    "cigar shaped smooth",
    "barred spiral",
    "unbarred tight spiral",
    "unbarred loose spiral",
    "edge-on without bulge",
    "edge-on with bulge",
)
#: Share of each class that is the test part: "PURe", 4.1.1. As much again is for validation.
TEST_SHARE = 0.05

_SUFFIXES = (".h5", ".hdf5")
_MAGIC = b"\x89HDF\r\n\x1a\n"
#: Pictures that are read at a time, at least.
_ROWS = 256

Found = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], tuple[str, ...], tuple[str, ...]]


def is_hdf5(place: Path) -> bool:
    """Whether a file is, or by its name should be, HDF5."""
    if not place.is_file():
        return False
    if place.suffix.lower() in _SUFFIXES:
        return True
    with place.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def read_galaxies(place: Path, part: str) -> Found:
    """The pictures of the training or the test part, drawn once and for all by :func:`strata`.

    Args:
        place: an HDF5 file with ``images``, uint8 (N, S, S, 3), and ``ans``, N whole numbers from 0
            to 9.
        part: ``"train"`` (which validation is held out of) or ``"test"``.

    Returns:
        uint8 (N, S, S, 3), labels (N,), the classes' names, and those of the pictures, their
        numbers in the file.

    Raises:
        ImageError: not a sound file, or one of another layout; names file and reason.
        UsageError: h5py is not installed.
    """
    with _sound(place):
        h5py = _h5py()
        with h5py.File(place, "r") as file:
            images, labels = _checked(file, place)
            testing = strata(labels, TEST_SHARE)
            chosen = testing if part == "test" else ~testing
            pixels = _rows(images, chosen)
    names = tuple(f"{place.stem}/{number}" for number in np.flatnonzero(chosen))
    return pixels, labels[chosen], GALAXY10, names


def strata(labels: npt.NDArray[np.int64], share: float) -> npt.NDArray[np.bool_]:
    """(N,) → (N,), whether each is among the share of its class that is drawn.

    Of each class at least one is drawn and at least one left, where it has two or more; of equal
    labels always the same.
    """
    drawn = np.zeros(len(labels), np.bool_)
    for label in np.unique(labels):
        places = np.flatnonzero(labels == label)
        count = min(max(1, round(share * len(places))), len(places) - 1)
        order = np.random.default_rng((0, int(label))).permutation(len(places))
        drawn[places[order[:count]]] = True
    return drawn


def _checked(file: Any, place: Path) -> tuple[Any, npt.NDArray[np.int64]]:
    """The data set of images, and all labels."""
    missing = [name for name in ("images", "ans") if name not in file]
    if missing:
        found = ", ".join(map(str, file)) or "nothing"
        raise ImageError(f"{place}: has no {' and no '.join(missing)}, but {found}")
    images, answers = file["images"], file["ans"]
    shape: tuple[int, ...] = getattr(images, "shape", None) or ()
    square = len(shape) == 4 and shape[1] == shape[2] and shape[3] == 3 and 0 not in shape
    if not square or images.dtype != np.uint8:
        raise ImageError(
            f"{place}: images of shape {tuple(shape)}, {getattr(images, 'dtype', 'no numbers')}; "
            "must be uint8 (N, S, S, 3)"
        )
    labels = np.asarray(answers)
    if labels.shape != shape[:1] or labels.dtype.kind not in "iu":
        raise ImageError(
            f"{place}: ans of shape {labels.shape}, {labels.dtype}; must be a whole number for "
            f"each of {shape[0]} images"
        )
    wrong = labels[(labels < 0) | (labels >= len(GALAXY10))]
    if len(wrong):
        raise ImageError(f"{place}: ans has {wrong[0]}, must be 0 to {len(GALAXY10) - 1}")
    if min(np.bincount(labels.astype(np.int64))[np.unique(labels)]) < 2:
        raise ImageError(f"{place}: a class has one picture alone, and cannot be parted")
    return images, labels.astype(np.int64)


def _rows(images: Any, chosen: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """The chosen pictures; read in whole chunks, each once, and not all at a time."""
    made = np.empty((int(chosen.sum()), *images.shape[1:]), np.uint8)
    chunk = images.chunks[0] if images.chunks else _ROWS
    step = chunk * -(-_ROWS // chunk)
    filled = 0
    for first in range(0, len(images), step):
        mask = chosen[first : first + step]
        kept = int(mask.sum())
        made[filled : filled + kept] = images[first : first + step][mask]
        filled += kept
    return made


@contextmanager
def _sound(place: Path) -> Iterator[None]:
    """What reading a file may raise, as the error that says so."""
    try:
        yield
    # h5py raises several for the same damage, by how far it reads: RuntimeError, KeyError, ...
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ImageError(f"{place}: not a sound HDF5 file ({reason}); fetch it again") from error
    except MemoryError as error:
        raise ImageError(f"{place}: there is no memory for so many pictures") from error


def _h5py() -> ModuleType:
    try:
        import h5py
    except ImportError as error:
        raise UsageError("HDF5 files take h5py: pip install 'paoncodec[vision]'") from error
    return h5py
