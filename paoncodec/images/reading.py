"""Pictures in: whatever Pillow opens becomes an 8-bit grey or RGB array, or is refused by name."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from paoncodec.errors import ImageError
from paoncodec.images.depth import stored_depth

__all__ = ["ImageSource", "read_image"]

ImageSource: TypeAlias = (
    "str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO"
    " | Image.Image | npt.NDArray[np.uint8]"
)

_EXIF_ORIENTATION = 0x0112

# What undoes each EXIF orientation (TIFF 6.0 tag 274). 1 is upright; any other number is treated
# as 1, as viewers do.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Pillow's mode → the mode we keep. Each of these conversions is lossless.
_KEPT = {"1": "L", "L": "L", "P": "RGB", "RGB": "RGB"}

# Pillow's mode → what a person calls it.
_REFUSED = {
    "CMYK": "CMYK colour",
    "YCbCr": "YCbCr colour",
    "LAB": "LAB colour",
    "HSV": "HSV colour",
    "F": "floating-point samples",
    "I": "more than 8 bits per sample",
    "I;16": "16 bits per sample",
    "I;16B": "16 bits per sample",
    "I;16L": "16 bits per sample",
    "I;16N": "16 bits per sample",
}

_LEGAL = "this release carries 8-bit grey or RGB, one frame, no transparency: convert it first"


def read_image(source: ImageSource) -> npt.NDArray[np.uint8]:
    """Read a picture as 8-bit samples, turned upright by its EXIF orientation.

    Palettes without transparency become RGB and bilevel pictures grey (0 and 255); both are
    lossless. The first picture of a multi-picture JPEG (MPO: phones keep previews and gain maps
    in the others) is its picture.

    Args:
        source: a path, the bytes of an image file, a binary file object (read from where it
            stands to its end), a Pillow image, or a uint8 array (H, W), (H, W, 1) or (H, W, 3).

    Returns:
        uint8 array (H, W, C), contiguous, values 0..255, C = 1 (grey) or 3 (RGB), H and W ≥ 1.
        It may share memory with an array that was passed in.

    Raises:
        ImageError: the source cannot be decoded or is cut short, or it has transparency, more
            than 8 bits per sample, CMYK, YCbCr, LAB or HSV colour, or more than one frame.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        with _blaming("image"):
            return _from_pillow(source, "image")
    name, file = _open(source)
    with file, _blaming(name), Image.open(file) as image:
        return _from_pillow(image, name)


def _open(
    source: str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO,
) -> tuple[str, BinaryIO]:
    """The name to use in messages, and a seekable file."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return "image", io.BytesIO(source)
    if isinstance(source, (str, os.PathLike)):
        try:
            return str(source), Path(source).open("rb")
        except OSError as error:
            raise ImageError(f"{source}: cannot be opened: {error.strerror}") from error
    if hasattr(source, "read"):
        # A pipe cannot seek, which Pillow needs.
        return str(getattr(source, "name", "image")), io.BytesIO(source.read())
    raise ImageError(
        f"{type(source).__name__} is not a picture: pass a path, bytes, a binary file, "
        "a Pillow image or a uint8 array (H, W, C)"
    )


@contextmanager
def _blaming(name: str) -> Iterator[None]:
    """Whatever goes wrong while Pillow reads a file is the file's fault."""
    try:
        yield
    except (ImageError, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise ImageError(f"{name}: not a picture that Pillow knows, or damaged") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name}: too large for Pillow: {error}") from error
    # Pillow's parsers meet hostile bytes with whatever their code happens to raise
    # (struct.error, SyntaxError, KeyError, ...).
    except Exception as error:
        raise ImageError(f"{name}: damaged or cut short: {error}") from error


def _from_pillow(image: Image.Image, name: str) -> npt.NDArray[np.uint8]:
    reason = _unsupported(image)
    if reason:
        raise ImageError(f"{name}: has {reason}; {_LEGAL}")
    image.load()
    mode = _KEPT[image.mode]
    kept = image if image.mode == mode else image.convert(mode)
    turn = _UPRIGHT.get(_orientation(image))
    return _with_channels(np.array(kept if turn is None else kept.transpose(turn)))


def _unsupported(image: Image.Image) -> str | None:
    """What the picture has that we do not carry, in words; None when we carry all of it."""
    if image.width < 1 or image.height < 1:
        return f"no pixels ({image.width}x{image.height})"
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":
        return f"{frames} frames"
    depth = stored_depth(image)
    if depth > 8:
        return f"{depth} bits per sample"
    if image.mode in _REFUSED:
        return _REFUSED[image.mode]
    if image.has_transparency_data:
        return "transparency"
    if image.mode not in _KEPT:
        return f"samples of Pillow's mode {image.mode}"
    return None


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 (upright) when there is none."""
    try:
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))
    # Damaged metadata around sound pixels, of which Pillow complains in as many ways: viewers show
    # such a picture as it is stored.
    except Exception:  # noqa: BLE001
        return 1


def _from_array(array: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    if array.dtype != np.uint8:
        raise ImageError(
            f"array of {array.dtype}: samples must be uint8, 0..255 "
            "(paoncodec.images.to_uint8 rounds floats in [0, 1])"
        )
    legal = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3))
    if not legal or array.size == 0:
        raise ImageError(
            f"array of shape {array.shape}: must be (H, W), (H, W, 1) or (H, W, 3), not empty, "
            "without transparency"
        )
    return np.ascontiguousarray(_with_channels(array))


def _with_channels(array: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return array[:, :, np.newaxis] if array.ndim == 2 else array
