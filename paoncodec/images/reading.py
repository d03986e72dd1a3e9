"""Pictures in: whatever Pillow opens becomes a `Picture`, or is refused by name."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, UnidentifiedImageError, features

from paoncodec.errors import ImageError, PictureWarning
from paoncodec.images.deep import deep_problem, deep_samples
from paoncodec.images.depth import stored_depth
from paoncodec.images.metadata import exif_orientation, read_metadata
from paoncodec.images.picture import Metadata, Picture, Samples

__all__ = ["ImageSource", "read_image", "read_picture"]

ImageSource: TypeAlias = (
    "str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO"
    " | Image.Image | Samples | Picture"
)

T = TypeVar("T")

# What undoes each EXIF orientation (TIFF 6.0 tag 274), on arrays (H, W, C). 1 is upright; any other
# number is treated as 1, as viewers do.
_UPRIGHT: dict[int, Callable[[Samples], Samples]] = {
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].swapaxes(0, 1),
    8: lambda stored: np.rot90(stored),
}

# Pillow's mode → the mode we keep, without and with transparency. All but the last three of these
# conversions are lossless.
_KEPT = {
    "1": ("L", "LA"),
    "L": ("L", "LA"),
    "LA": ("LA", "LA"),
    "P": ("RGB", "RGBA"),
    "PA": ("RGBA", "RGBA"),
    "RGB": ("RGB", "RGBA"),
    "RGBX": ("RGB", "RGBA"),
    "RGBA": ("RGBA", "RGBA"),
    "La": ("LA", "LA"),
    "RGBa": ("RGBA", "RGBA"),
    "YCbCr": ("RGB", "RGB"),
    "CMYK": ("RGB", "RGB"),
}
_PLAIN = ("1", "L", "P", "RGB")

# Pillow's mode → what a person calls it.
_NAMES = {
    "CMYK": "CMYK colour",
    "YCbCr": "YCbCr colour",
    "LAB": "LAB colour",
    "HSV": "HSV colour",
    "F": "floating-point samples",
    "I": "integer samples of more than 8 bits",
    "I;16": "16 bits per sample",
    "I;16B": "16 bits per sample",
    "I;16L": "16 bits per sample",
    "I;16N": "16 bits per sample",
}
_DEEP_MODES = ("I;16", "I;16B", "I;16L", "I;16N")

_LEGAL = "grey and RGB of 8 or 16 bits, with or without transparency, are carried: convert it first"
_LEGAL_PLAIN = "8-bit grey or RGB, one frame, no transparency, is wanted here: convert it first"


def read_picture(source: ImageSource) -> Picture:
    """Read a picture with its transparency, at its depth, turned upright by its EXIF orientation.

    Palettes become RGB and bilevel pictures grey (0 and 255); a colour that stands for transparency
    becomes alpha. All of this is lossless. CMYK becomes sRGB, by the picture's colour profile if it
    has one. Of several frames or pages the first is taken. The first picture of a multi-picture
    JPEG (MPO: phones keep previews and gain maps in the others) is its picture.

    Args:
        source: a path, the bytes of an image file, a binary file object (read from where it
            stands to its end), a Pillow image, a `Picture`, or a uint8 or uint16 array (H, W) or
            (H, W, 1 to 4): grey, grey and alpha, RGB, RGB and alpha.

    Warns:
        PictureWarning: frames, colour or metadata were not kept as they are.

    Raises:
        ImageError: the source cannot be decoded or is cut short, has more than 8 bits per sample
            other than 16 in PNG or TIFF, or LAB, HSV or floating-point samples.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Picture):
        return source
    return _opened(source, _picture)


def read_image(source: ImageSource) -> npt.NDArray[np.uint8]:
    """Read a plain picture as 8-bit samples: what training and measuring work on.

    As `read_picture`, but whatever is not plain is refused.

    Returns:
        uint8 array (H, W, C), contiguous, values 0..255, C = 1 (grey) or 3 (RGB), H and W ≥ 1.
        It may share memory with an array that was passed in.

    Raises:
        ImageError: the source cannot be decoded or is cut short, or it has transparency, more
            than 8 bits per sample, CMYK, YCbCr, LAB or HSV colour, or more than one frame.
    """
    if isinstance(source, np.ndarray):
        return _plain_array(source)
    return _opened(source, _plain)


def _opened(source: ImageSource, read: Callable[[Image.Image, str], T]) -> T:
    """What `read` makes of a source that is no array, and of what to call it."""
    if isinstance(source, Image.Image):
        with _blaming("image"):
            return read(source, "image")
    name, file = _open(source)
    with file, _blaming(name), Image.open(file) as image:
        return read(image, name)


def _open(source: ImageSource) -> tuple[str, BinaryIO]:
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


def _plain(image: Image.Image, name: str) -> npt.NDArray[np.uint8]:
    reason = _no_pixels(image) or _not_plain(image)
    if reason:
        raise ImageError(f"{name}: has {reason}; {_LEGAL_PLAIN}")
    return np.ascontiguousarray(_upright(_converted(image, name), image))


def _picture(image: Image.Image, name: str) -> Picture:
    reason = _no_pixels(image) or _not_carried(image)
    if reason:
        raise ImageError(f"{name}: has {reason}; {_LEGAL}")
    frames = _frames(image)
    deep = stored_depth(image) == 16 or image.mode in _DEEP_MODES
    stored = _deep(image) if deep else _converted(image, name)
    metadata = read_metadata(image, name)
    if image.mode == "CMYK":  # its profile has done its work
        metadata = Metadata(None, metadata.exif, metadata.xmp)
    if frames > 1:
        warnings.warn(
            f"{name}: the first of {frames} frames is taken", PictureWarning, stacklevel=2
        )
    return _split(_upright(stored, image), metadata)


def _upright(stored: Samples, image: Image.Image) -> Samples:
    turn = _UPRIGHT.get(exif_orientation(image))
    return stored if turn is None else turn(stored)


def _split(array: Samples, metadata: Metadata) -> Picture:
    """(H, W, 1 to 4) taken apart: an even number of channels has alpha as its last."""
    channels = array.shape[2]
    if channels % 2:
        return Picture(np.ascontiguousarray(array), None, metadata)
    samples, alpha = array[:, :, : channels - 1], array[:, :, channels - 1]
    return Picture(np.ascontiguousarray(samples), np.ascontiguousarray(alpha), metadata)


def _deep(image: Image.Image) -> Samples:
    """uint16 (H, W, 1 to 4) as it is stored, a colour that stands for transparency made alpha."""
    if not isinstance(image, ImageFile.ImageFile):
        return np.asarray(image).astype(np.uint16)[:, :, np.newaxis]
    samples = deep_samples(image)
    key = image.info.get("transparency")
    if key is None or samples.shape[2] % 2 == 0:
        return samples
    seen = (samples != np.asarray(key, np.uint16)).any(axis=2, keepdims=True)
    return np.concatenate([samples, seen * np.uint16(65535)], axis=2)


def _converted(image: Image.Image, name: str) -> Samples:
    """uint8 (H, W, 1 to 4) as it is stored."""
    image.load()
    if image.mode == "CMYK":
        return np.array(_from_cmyk(image, name))
    mode = _KEPT[image.mode][image.has_transparency_data]
    return _with_channels(np.array(image if image.mode == mode else image.convert(mode)))


def _from_cmyk(image: Image.Image, name: str) -> Image.Image:
    profile, way = image.info.get("icc_profile"), "a plain formula, for it has no colour profile"
    if profile and features.check("littlecms2"):
        from PIL import ImageCms

        try:
            converted = ImageCms.profileToProfile(
                image,
                ImageCms.ImageCmsProfile(io.BytesIO(profile)),
                ImageCms.createProfile("sRGB"),
                outputMode="RGB",
            )
            if converted is not None:
                _warn_of_cmyk(name, "its colour profile")
                return converted
        except (ImageCms.PyCMSError, OSError):
            way = "a plain formula, for its colour profile is damaged"
    _warn_of_cmyk(name, way)
    return image.convert("RGB")


def _warn_of_cmyk(name: str, way: str) -> None:
    warnings.warn(f"{name}: CMYK is made sRGB by {way}", PictureWarning, stacklevel=2)


def _no_pixels(image: Image.Image) -> str | None:
    empty = image.width < 1 or image.height < 1
    return f"no pixels ({image.width}x{image.height})" if empty else None


def _frames(image: Image.Image) -> int:
    """How many frames or pages there are; the others of a multi-picture JPEG do not count."""
    return 1 if image.format == "MPO" else getattr(image, "n_frames", 1)


def _not_plain(image: Image.Image) -> str | None:
    """What `read_image` refuses and `read_picture` may take, in words."""
    frames = _frames(image)
    if frames > 1:
        return f"{frames} frames"
    depth = stored_depth(image)
    if depth > 8:
        return f"{depth} bits per sample"
    if image.mode in _NAMES:
        return _NAMES[image.mode]
    if image.has_transparency_data:
        return "transparency"
    return None if image.mode in _PLAIN else f"samples of Pillow's mode {image.mode}"


def _not_carried(image: Image.Image) -> str | None:
    """What the picture has that we do not carry, in words; None when we carry all of it."""
    depth = stored_depth(image)
    if depth == 16:
        return deep_problem(image)
    if depth > 8:
        return f"{depth} bits per sample"
    if image.mode in _DEEP_MODES:
        in_memory = not isinstance(image, ImageFile.ImageFile) or image.format in ("PNG", "TIFF")
        return None if in_memory else _NAMES[image.mode]
    if image.mode in _KEPT:
        return None
    return _NAMES.get(image.mode, f"samples of Pillow's mode {image.mode}")


def _plain_array(array: Samples) -> npt.NDArray[np.uint8]:
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
    return np.ascontiguousarray(_with_channels(array), dtype=np.uint8)


def _from_array(array: Samples) -> Picture:
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.dtype not in (np.uint8, np.uint16):
        raise ImageError(
            f"array of {array.dtype}: samples must be uint8, 0..255, or uint16, 0..65535 "
            "(paoncodec.images.to_uint8 rounds floats in [0, 1])"
        )
    legal = array.ndim == 2 or (array.ndim == 3 and 1 <= array.shape[2] <= 4)
    if not legal or array.size == 0:
        raise ImageError(
            f"array of shape {array.shape}: must be (H, W) or (H, W, 1 to 4), not empty"
        )
    return _split(_with_channels(array), Metadata())


def _with_channels(array: Samples) -> Samples:
    return array[:, :, np.newaxis] if array.ndim == 2 else array
