"""Pictures out: rounding to 8 bit, Pillow images, files."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image

from paoncodec.errors import ImageError, UsageError

__all__ = ["image_bytes", "to_pil", "to_uint8", "write_image"]

# Lossless ones only: a decoded picture must not change again when it is saved.
_SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    "png": {"format": "PNG"},
    "ppm": {"format": "PPM"},
    "pgm": {"format": "PPM"},
    "pnm": {"format": "PPM"},
    "bmp": {"format": "BMP"},
    "tif": {"format": "TIFF", "compression": "tiff_adobe_deflate"},
    "tiff": {"format": "TIFF", "compression": "tiff_adobe_deflate"},
    # `exact` changes nothing without transparency; method 4 is Pillow's balance of time and size.
    "webp": {"format": "WEBP", "lossless": True, "method": 4},
}


def to_uint8(x: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.uint8]:
    """Clip to [0, 1], scale by 255 and round half to even: the one place where 8 bits are made.

    Args:
        x: floats of any shape; values beyond [0, 1], infinite ones too, are clipped.

    Returns:
        uint8 of the same shape.

    Raises:
        TypeError: x is no array of floats.
        ValueError: x holds a NaN.
    """
    if not np.issubdtype(x.dtype, np.floating):
        raise TypeError(f"array of {x.dtype}: must be floats in [0, 1]")
    if np.isnan(x).any():
        raise ValueError("values hold a NaN: there is no 8-bit sample for it")
    # Half precision cannot tell 254.5 from its neighbours.
    precise = x.astype(np.float32) if x.dtype.itemsize < 4 else x
    return np.rint(np.clip(precise, 0, 1) * 255).astype(np.uint8)


def to_pil(array: npt.NDArray[np.uint8]) -> Image.Image:
    """A Pillow image of mode L or RGB from uint8 (H, W), (H, W, 1) or (H, W, 3).

    Raises:
        ImageError: another dtype or shape.
    """
    legal = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3))
    if array.dtype != np.uint8 or not legal:
        raise ImageError(
            f"array of {array.dtype} {array.shape}: must be uint8 (H, W), (H, W, 1) or (H, W, 3)"
        )
    grey = array.ndim == 3 and array.shape[2] == 1
    return Image.fromarray(np.ascontiguousarray(array[:, :, 0] if grey else array))


def image_bytes(array: npt.NDArray[np.uint8], format: str = "png") -> bytes:
    """The bytes of an image file.

    Args:
        array: as for `to_pil`.
        format: a lossless one, by its usual suffix without the dot: png, ppm, pgm, pnm, bmp, tif,
            tiff or webp; case does not matter.

    Raises:
        UsageError: another format.
        ImageError: another dtype or shape, or the format cannot hold a picture of this size.
    """
    options = _SAVE_OPTIONS.get(format.lower())
    if options is None:
        raise UsageError(
            f"cannot write {format or 'a file without suffix'!r}: "
            f"must be lossless, one of {', '.join(_SAVE_OPTIONS)}"
        )
    image = to_pil(array)
    if format.lower() == "pgm" and image.mode != "L":
        raise UsageError("a .pgm file holds grey only: write a colour picture as ppm or png")
    buffer = io.BytesIO()
    try:
        image.save(buffer, **options)
    except (OSError, ValueError) as error:  # WebP ends at 16383 pixels a side
        size = f"{image.width}x{image.height}"
        raise ImageError(f"a picture of {size} cannot be saved as {format}: {error}") from error
    return buffer.getvalue()


def write_image(
    array: npt.NDArray[np.uint8],
    target: str | os.PathLike[str] | BinaryIO,
    format: str | None = None,
) -> None:
    """Save a picture without loss, to a path or a binary file object.

    The picture is complete in memory before the target is opened.

    Args:
        array: as for `to_pil`.
        target: where to; an existing file is replaced.
        format: as for `image_bytes`; None: the path's suffix, PNG for a file object.

    Raises:
        UsageError, ImageError: as `image_bytes`.
        OSError: the target cannot be written.
    """
    if isinstance(target, (str, os.PathLike)):
        path = Path(target)
        path.write_bytes(image_bytes(array, path.suffix[1:] if format is None else format))
        return
    target.write(image_bytes(array, format or "png"))
