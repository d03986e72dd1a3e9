"""CIFAR-10's Python batches, as its authors published them and torchvision keeps them.

They are pickles, which can hold any program; here they are read without running one.
"""

from __future__ import annotations

import io
import pickle
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from paoncodec.errors import ImageError, UsageError
from paoncodec.vision.classification.networks import CIFAR10

__all__ = ["is_batch", "read_batches"]

_SIDE = 32
_BATCH = re.compile(r"data_batch_\d+|test_batch")
_META = "batches.meta"

#: All that an array in a pickle is made of, whatever the releases of Python and numpy.
_ARRAY_PARTS = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.numeric", "_frombuffer"),
    ("numpy._core.numeric", "_frombuffer"),
    ("_codecs", "encode"),
}

Found = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], tuple[str, ...], tuple[str, ...]]


def is_batch(name: str) -> bool:
    """Whether a file of this name belongs to CIFAR-10's Python batches."""
    return bool(_BATCH.fullmatch(name)) or name == _META


def read_batches(files: Mapping[str, Callable[[], bytes]], part: str, place: str) -> Found:
    """The pictures of the training or the test batches.

    Args:
        files: name → content of each batch, and of ``batches.meta`` where it is there.
        part: ``"train"`` or ``"test"``.
        place: of the files, for messages.

    Returns:
        uint8 (N, 32, 32, 3), labels (N,), the classes' names, and the pictures' own.

    Raises:
        UsageError: no batch of this part.
        ImageError: a batch is damaged, or a label is out of range.
    """
    by_name = {PurePosixPath(path).name: read for path, read in sorted(files.items())}
    begins = "test" if part == "test" else "data"
    wanted = [name for name in by_name if name.startswith(begins)]
    if not wanted:
        raise UsageError(f"{place}: no {begins}_batch file; give all of CIFAR-10's Python batches")
    classes: tuple[str, ...] = CIFAR10
    if _META in by_name:
        names = _entries(by_name[_META](), f"{place}, {_META}", "label_names")["label_names"]
        classes = tuple(str(name) for name in names)
    pixels, labels = [], []
    names_found: list[str] = []
    for name in wanted:
        where = f"{place}, {name}"
        rows, numbers, own = _batch(by_name[name](), where, len(classes))
        pixels.append(rows)
        labels.append(numbers)
        names_found += own or [f"{name}/{k}" for k in range(len(numbers))]
    return np.concatenate(pixels), np.concatenate(labels), classes, tuple(names_found)


def _batch(
    content: bytes, where: str, classes: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], Sequence[str]]:
    entries = _entries(content, where, "data", "labels")
    data, labels = entries["data"], entries["labels"]
    shape = getattr(data, "shape", None)
    right = isinstance(data, np.ndarray) and data.dtype == np.uint8 and data.ndim == 2
    if not right or data.shape[1] != 3 * _SIDE**2:
        raise ImageError(
            f"{where}: data of shape {shape}, must be uint8 (N, {3 * _SIDE**2}): three planes of "
            f"{_SIDE}x{_SIDE}"
        )
    numbers = np.array(labels)
    if numbers.shape != (len(data),) or numbers.dtype.kind not in "iu":
        raise ImageError(f"{where}: labels must be whole numbers, one for each of {len(data)}")
    wrong = numbers[(numbers < 0) | (numbers >= classes)]
    if len(wrong):
        raise ImageError(f"{where}: label {wrong[0]}, must be 0 to {classes - 1}; fetch it again")
    planes = data.reshape(-1, 3, _SIDE, _SIDE)
    own = [str(name) for name in entries.get("filenames", ())]
    kept = own if len(own) == len(data) else []
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), numbers.astype(np.int64), kept


def _entries(content: bytes, where: str, *needed: str) -> dict[str, Any]:
    """The dictionary of a pickle, which must have these keys."""
    try:
        found = _ArraysOnly(io.BytesIO(content), encoding="latin1").load()
        entries = {_text(key): value for key, value in found.items()}
        missing = [name for name in needed if name not in entries]
        if missing:
            raise ValueError(f"it has no {', '.join(missing)}")
    # A damaged pickle can raise nearly anything.
    except Exception as error:
        raise ImageError(f"{where}: not a batch of CIFAR-10 ({error}); fetch it again") from error
    return entries


def _text(key: object) -> str:
    return key.decode("latin1") if isinstance(key, bytes) else str(key)


class _ArraysOnly(pickle.Unpickler):
    """Builds arrays and plain containers, and refuses whatever else a pickle asks for."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ARRAY_PARTS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no batch needs")
        return super().find_class(module, name)
