"""Volumes from slices: a network's probabilities in three directions, averaged.

"PURe: A Plug-and-Play Product-Unit Residual Module for Vision Networks", 4.2.
"""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from paoncodec.errors import UsageError
from paoncodec.vision.segmentation.networks import ResUNet

__all__ = ["AXES", "MEMORY", "WINDOW", "normalised", "probabilities", "segment"]

#: Directions across which slices are taken: sagittal, coronal and axial ones of a volume (X, Y, Z).
AXES = (0, 1, 2)
#: Bytes of probabilities that are held in memory; larger volumes are in a file.
MEMORY = 2**30
#: Hounsfield units that become -1 and 1: fat to contrasted vessels.
WINDOW = (-160.0, 300.0)

Values = npt.NDArray[np.float32]


def normalised(values: Values, window: tuple[float, float] = WINDOW) -> Values:
    """Hounsfield units as networks take them: the window as [-1, 1], and nothing beyond it."""
    low, high = window
    return (np.clip(values, low, high) - np.float32((low + high) / 2)) / np.float32(
        (high - low) / 2
    )


@contextmanager
def probabilities(
    model: ResUNet,
    values: Values,
    axes: Sequence[int] = AXES,
    batch: int = 8,
    memory: int = MEMORY,
) -> Iterator[Values]:
    """Yields (X, Y, Z, classes), the mean of the directions' probabilities, for the block's time.

    Slices are computed and added ``batch`` at a time. Volumes that take more than ``memory`` bytes
    are kept in a temporary file, of which the system holds in memory what it has room for.

    Args:
        model: in evaluation mode, on any device.
        values: (X, Y, Z), as :func:`normalised` gives them.
        axes: across which slices are taken, of 0 to 2.
        batch: slices at a time.
        memory: bytes.

    Raises:
        UsageError: no axes or other ones, no slices at a time, or the file cannot be written.
        ValueError: not a volume, or one without voxels.
    """
    if values.ndim != 3 or 0 in values.shape:
        raise ValueError(f"values of shape {values.shape}: must be a volume with voxels")
    if not axes or set(axes) - set(AXES) or len(set(axes)) < len(axes):
        raise UsageError(f"axes {tuple(axes)}: choose among 0, 1 and 2, each once")
    if batch < 1:
        raise UsageError(f"batch {batch}: must be >= 1")
    shape = (*values.shape, model.classes)
    with _storage(shape, memory) as total:
        for axis in axes:
            for places, found in _slices(model, values, axis, batch):
                np.moveaxis(total, axis, 0)[places] += found / np.float32(len(axes))
        yield total


def segment(
    model: ResUNet,
    values: Values,
    axes: Sequence[int] = AXES,
    batch: int = 8,
    memory: int = MEMORY,
) -> npt.NDArray[np.uint8]:
    """The most probable class of each voxel: (X, Y, Z) → the same, uint8.

    Arguments and errors are those of :func:`probabilities`.
    """
    labels = np.empty(values.shape, np.uint8)
    with probabilities(model, values, axes, batch, memory) as total:
        for place in range(0, len(labels), batch):
            labels[place : place + batch] = total[place : place + batch].argmax(-1)
    return labels


def _slices(
    model: ResUNet, values: Values, axis: int, batch: int
) -> Iterator[tuple[slice, Values]]:
    """Places along the axis, and the probabilities there: (slices, ., ., classes)."""
    device = next(model.parameters()).device
    across = np.moveaxis(values, axis, 0)
    for place in range(0, len(across), batch):
        places = slice(place, place + batch)
        inputs = torch.from_numpy(np.ascontiguousarray(across[places]))[:, None].to(device)
        yield places, _probable(model, inputs).cpu().numpy()


@torch.no_grad()
def _probable(model: ResUNet, inputs: Tensor) -> Tensor:
    """(B, 1, H, W) → (B, H, W, classes)."""
    return model(inputs).float().softmax(1).permute(0, 2, 3, 1)


@contextmanager
def _storage(shape: tuple[int, ...], memory: int) -> Iterator[Values]:
    """Zeros of a shape, in memory or in a file."""
    if 4 * math.prod(shape) <= memory:
        yield np.zeros(shape, np.float32)
        return
    with TemporaryDirectory(prefix="paoncodec-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "probabilities"
        try:
            held = _zeros_in(path, shape)
        except OSError as error:
            raise UsageError(
                f"{path} cannot be written: {error.strerror}; free some space, or raise the memory"
            ) from error
        yield held


def _zeros_in(path: Path, shape: tuple[int, ...]) -> Values:
    """A file of zeros, mapped into memory. All its room on the disk is taken first where the system
    can do that: a disk that is found full in the middle ends the process by a signal."""
    size = 4 * math.prod(shape)
    with path.open("w+b") as file:  # where file systems cannot, libc may read and write
        file.truncate(size)
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise
    return np.memmap(path, np.float32, "r+", shape=shape)
