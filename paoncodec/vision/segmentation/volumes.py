"""Volumes in and out: NIfTI files, with their place in space."""

from __future__ import annotations

import gzip
import logging
import math
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from paoncodec.errors import ImageError, UsageError

if TYPE_CHECKING:
    from types import ModuleType

__all__ = [
    "Volume",
    "canonical",
    "check_pair",
    "read_labels",
    "read_shape",
    "read_volume",
    "write_labels",
    "write_volume",
]

#: Affines of a volume and its labels may differ by this much, in mm.
_AFFINE_TOLERANCE = 1e-2


@dataclass(frozen=True)
class Volume:
    """Values on a grid in space.

    Args:
        values: (X, Y, Z); of CT float32 in Hounsfield units, or labels as uint8.
        affine: (4, 4) float64, from indices to millimetres (NIfTI: right, anterior, superior).
        space: NIfTI's code of the space that the affine leads to: 1 the scanner's, 2 that of
            another volume, ...
    """

    values: npt.NDArray[Any]
    affine: npt.NDArray[np.float64]
    space: int = 1


def read_volume(path: str | os.PathLike[str]) -> Volume:
    """The volume in a NIfTI file, scaled as its header says, float32.

    Raises:
        ImageError: not a sound NIfTI file, not three-dimensional, without voxels, without an
            affine, or with values that are not finite; names file and reason.
        UsageError: nibabel is not installed.
    """
    volume = _read(path)
    if not np.isfinite(volume.values).all():
        raise ImageError(f"{os.fspath(path)}: has values that are not finite; mend or leave it out")
    return volume


def read_labels(path: str | os.PathLike[str], classes: int) -> Volume:
    """The labels in a NIfTI file, uint8 below ``classes`` (at most 256).

    Raises:
        ImageError: as for :func:`read_volume`, or a value is no class.
        UsageError: nibabel is not installed.
    """
    volume = _read(path)
    values = volume.values
    wrong = ~((values >= 0) & (values < classes) & (values == np.rint(values)))
    if wrong.any():
        raise ImageError(
            f"{os.fspath(path)}: has the label {values[wrong][0]:g}: labels are whole numbers "
            f"from 0 to {classes - 1}"
        )
    return replace(volume, values=values.astype(np.uint8))


def read_shape(path: str | os.PathLike[str]) -> tuple[int, int, int]:
    """(X, Y, Z) of the volume in a NIfTI file, from its header alone.

    Raises:
        ImageError: not a NIfTI file, not three-dimensional, without voxels or without an affine.
        UsageError: nibabel is not installed.
    """
    with _sound(os.fspath(path)):
        x, y, z = _open(os.fspath(path)).shape
    return int(x), int(y), int(z)


def check_pair(image: Volume, labels: Volume, name: str) -> None:
    """Makes sure that labels are those of a volume; ``name`` is for messages.

    Raises:
        ImageError: sizes or affines differ.
    """
    if image.values.shape != labels.values.shape:
        raise ImageError(
            f"{name}: a volume of {_by(image)} voxels with labels of {_by(labels)}: "
            "must be of one size"
        )
    if not np.allclose(image.affine, labels.affine, atol=_AFFINE_TOLERANCE):
        raise ImageError(f"{name}: volume and labels have different affines: not of one place")


def canonical(volume: Volume) -> Volume:
    """The same volume, its axes mirrored and exchanged so that the first goes most to the patient's
    right, the second to the front and the third to the head.

    Raises:
        UsageError: nibabel is not installed.
    """
    turning = _nibabel().orientations
    turn = turning.io_orientation(volume.affine)
    affine = volume.affine @ turning.inv_ornt_aff(turn, volume.values.shape)
    values = turning.apply_orientation(volume.values, turn)
    return replace(volume, values=values, affine=affine)


def write_labels(path: str | os.PathLike[str], labels: Volume) -> None:
    """Writes labels as uint8, with their affine; ``.nii.gz`` is compressed.

    Raises:
        UsageError: another suffix, the file cannot be written, or nibabel is not installed.
    """
    _write(path, replace(labels, values=labels.values.astype(np.uint8)))


def write_volume(path: str | os.PathLike[str], volume: Volume) -> None:
    """Writes CT values as int16, rounded, with their affine; ``.nii.gz`` is compressed.

    Raises:
        UsageError: as for :func:`write_labels`.
    """
    limits = np.iinfo(np.int16)
    values = np.rint(volume.values).clip(limits.min, limits.max).astype(np.int16)
    _write(path, replace(volume, values=values))


def _read(path: str | os.PathLike[str]) -> Volume:
    name = os.fspath(path)
    with _sound(name), np.errstate(over="ignore"):  # what overflows is refused as not finite
        length = _length(name)
        image = _open(name)
        _check_length(image, length, name)
        values = np.asarray(image.dataobj, dtype=np.float32)
    header = image.header
    space = int(header["sform_code"]) or int(header["qform_code"])
    return Volume(values, np.asarray(image.affine, np.float64), space)


def _open(name: str) -> Any:
    """nibabel's image, whose header is sound."""
    nibabel = _nibabel()
    image = nibabel.load(name)
    if not isinstance(image, nibabel.Nifti1Image):
        raise ImageError(f"{name}: not a NIfTI file but {type(image).__name__}")
    _check_header(image, name)
    return image


@contextmanager
def _sound(name: str) -> Iterator[None]:
    """What reading a file may raise, as the error that says so."""
    nibabel = _nibabel()
    wrong = (nibabel.filebasedimages.ImageFileError, nibabel.spatialimages.HeaderDataError)
    try:
        with _silenced(nibabel.imageglobals.logger):  # it would say all of it first
            yield
    except (OSError, EOFError, ValueError, OverflowError, zlib.error, *wrong) as error:
        reason = " ".join(str(error).split())[:200]
        raise ImageError(f"{name}: not a sound NIfTI file ({reason}); fetch it again") from error
    except MemoryError as error:
        raise ImageError(f"{name}: there is no memory for so many voxels") from error


@contextmanager
def _silenced(logger: logging.Logger) -> Iterator[None]:
    """nibabel's own way takes the logger's handlers away: Python then writes to stderr itself."""
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def _length(name: str) -> int:
    """Bytes of a file, unpacked.

    A compressed one is read to its end, where its checksum is: nibabel stops before it.
    """
    if not name.endswith(".gz"):
        return Path(name).stat().st_size
    with gzip.open(name) as file:
        while file.read(2**20):
            continue
        return file.tell()


def _check_length(image: Any, length: int, name: str) -> None:
    """Whether the voxels of the header are there: before memory is taken for them."""
    shape, each = image.shape, image.get_data_dtype().itemsize
    wanted = image.dataobj.offset + math.prod(map(int, shape)) * each
    if length < wanted:
        raise ImageError(
            f"{name}: cut short: {length} bytes, and its {_times(shape)} voxels take {wanted}; "
            "fetch it again"
        )


def _check_header(image: Any, name: str) -> None:
    """What the header alone tells."""
    shape = tuple(image.shape)
    if len(shape) != 3:
        raise ImageError(f"{name}: {len(shape)} dimensions, {shape}: must be a volume of three")
    if min(shape) < 1:
        raise ImageError(f"{name}: a volume of {_times(shape)} voxels has no slices")
    kind = image.get_data_dtype()
    if kind.kind not in "iuf":
        raise ImageError(f"{name}: its voxels are {kind}: must be plain numbers")
    if not (image.header["sform_code"] or image.header["qform_code"]):
        raise ImageError(f"{name}: has no affine (sform and qform are unset): its place is unknown")
    if not np.isfinite(image.affine).all() or abs(np.linalg.det(image.affine[:3, :3])) < 1e-12:
        raise ImageError(f"{name}: its affine is none: {image.affine[:3].tolist()}")


def _write(path: str | os.PathLike[str], volume: Volume) -> None:
    nibabel = _nibabel()
    target = Path(path)
    suffix = ".nii.gz" if target.name.endswith(".nii.gz") else target.suffix
    if suffix not in (".nii", ".nii.gz"):
        raise UsageError(f"{target}: volumes are written as .nii or .nii.gz")
    # Beside it and renamed, so that there is never half a file under its name.
    beside = target.with_name(f".{target.name.removesuffix(suffix)}.part{suffix}")
    image = nibabel.Nifti1Image(volume.values, volume.affine)
    image.set_sform(volume.affine, volume.space)
    image.header.set_xyzt_units("mm")
    try:
        nibabel.save(image, beside)
        beside.replace(target)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise UsageError(f"{target} cannot be written: {error.strerror or error}") from error


def _nibabel() -> ModuleType:
    try:
        import nibabel
    except ImportError as error:
        raise UsageError("NIfTI files take nibabel: pip install 'paoncodec[vision]'") from error
    return nibabel


def _times(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _by(volume: Volume) -> str:
    return "x".join(map(str, volume.values.shape))
