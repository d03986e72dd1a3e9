"""Pictures out: rounding to samples, Pillow images, files."""

from __future__ import annotations

import io
import os
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from paoncodec.errors import ImageError, PictureWarning, UsageError
from paoncodec.images.deep_files import deep_png, deep_tiff
from paoncodec.images.metadata import DESCRIPTIVE_TAGS, DIRECTORIES, EXIF_PREFIX
from paoncodec.images.picture import Metadata, Picture, Samples

__all__ = [
    "FORMATS",
    "check_format",
    "image_bytes",
    "picture_bytes",
    "to_pil",
    "to_samples",
    "to_uint8",
    "write_image",
]

_TIFF = {"format": "TIFF", "compression": "tiff_adobe_deflate"}
# Nearly without loss, since a decoded picture should not change much again when it is saved.
_JPEG = {"format": "JPEG", "quality": 95, "subsampling": "4:4:4", "optimize": True}
_SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    "png": {"format": "PNG"},
    "ppm": {"format": "PPM"},
    "pgm": {"format": "PPM"},
    "pnm": {"format": "PPM"},
    "bmp": {"format": "BMP"},
    "tif": _TIFF,
    "tiff": _TIFF,
    # `exact` keeps hidden colours; method 4 is Pillow's balance of time and size.
    "webp": {"format": "WEBP", "lossless": True, "exact": True, "method": 4},
    "jpg": _JPEG,
    "jpeg": _JPEG,
}
_WITH_ALPHA = ("PNG", "TIFF", "WEBP")
_WITH_16_BITS = ("PNG", "TIFF")
_WITH_METADATA = ("PNG", "TIFF", "WEBP", "JPEG")
# A segment of a JPEG has 65533 bytes, with what it begins with.
_JPEG_LIMITS = {"exif": 65533 - 6, "xmp": 65533 - 29}
_XMP_TAG, _ICC_TAG = 700, 34675
_LARGEST_SIDE = {"JPEG": 65500, "WEBP": 16383}  # of libjpeg and of the format
#: Where an ICC profile names the colour space of the samples (ICC.1, 7.2).
_ICC_SPACE = slice(16, 20)

#: Suffixes of the formats that are written, without the dot; all but JPEG keep every sample.
FORMATS = tuple(_SAVE_OPTIONS)


def to_uint8(x: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.uint8]:
    """`to_samples` of 8 bits."""
    return to_samples(x, 8).astype(np.uint8, copy=False)


def to_samples(x: npt.NDArray[np.floating[Any]], depth: int) -> Samples:
    """Clip to [0, 1], scale by 2^depth - 1 and round half to even: the one place where samples
    are made.

    Args:
        x: floats of any shape; values beyond [0, 1], infinite ones too, are clipped.
        depth: bits per sample, 8 or 16.

    Returns:
        uint8 or uint16 of the same shape.

    Raises:
        TypeError: x is no array of floats.
        ValueError: x holds a NaN.
    """
    if not np.issubdtype(x.dtype, np.floating):
        raise TypeError(f"array of {x.dtype}: must be floats in [0, 1]")
    if np.isnan(x).any():
        raise ValueError(f"values hold a NaN: there is no {depth}-bit sample for it")
    # Half precision cannot tell 254.5 from its neighbours.
    precise = x.astype(np.float32) if x.dtype.itemsize < 4 else x
    scaled = np.rint(np.clip(precise, 0, 1) * (2**depth - 1))
    return scaled.astype(np.uint8 if depth == 8 else np.uint16)


def to_pil(picture: npt.NDArray[np.uint8] | Picture) -> Image.Image:
    """A Pillow image of mode L, LA, RGB or RGBA, or of mode I;16 for grey of 16 bits.

    Its `info` holds the metadata, under the names that Pillow gives them.

    Args:
        picture: uint8 (H, W), (H, W, 1) or (H, W, 3), or a `Picture`.

    Warns:
        PictureWarning: the picture has 16 bits per sample and is not plain grey; each sample is
            rounded to 8, since Pillow has no more.

    Raises:
        ImageError: another dtype or shape.
    """
    if not isinstance(picture, Picture):
        return to_pil(_plain(picture))
    if picture.depth == 16 and picture.with_alpha().shape[2] > 1:
        text = "16 bits per sample are rounded to 8: Pillow has no more for colours and alpha"
        warnings.warn(text, PictureWarning, stacklevel=2)
        picture = picture.eight_bit()
    array = np.ascontiguousarray(picture.with_alpha())
    image = Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)
    image.info.update(pillow_info(picture.metadata))
    return image


def pillow_info(metadata: Metadata) -> dict[str, bytes]:
    """Metadata under the names, and in the form, that `Image.info` has them."""
    if metadata.exif:
        metadata = replace(metadata, exif=EXIF_PREFIX + metadata.exif)
    names = {"icc": "icc_profile", "exif": "exif", "xmp": "xmp"}
    return {names[kind]: data for kind, data in metadata.items().items()}


def check_format(
    format: str,
    *,
    channels: int = 1,
    depth: int = 8,
    alpha: bool = False,
    sides: tuple[int, int] = (1, 1),
) -> None:
    """Make sure that a format can be written, and that it holds a picture.

    Args:
        format: by its usual suffix without the dot, one of `FORMATS`; case does not matter.
        channels, depth, alpha: 1 (grey) or 3, bits per sample, and whether there is transparency.
        sides: of the picture, pixels.

    Raises:
        UsageError: it cannot; the message says which formats can.
        ImageError: the picture is too large for it.
    """
    options = _SAVE_OPTIONS.get(format.lower())
    if options is None:
        raise UsageError(
            f"cannot write {format or 'a file without suffix'!r}: "
            f"must be one of {', '.join(FORMATS)}"
        )
    name = options["format"]
    if alpha and name not in _WITH_ALPHA:
        raise UsageError(f"{name} holds no transparency: write the picture as png, tiff or webp")
    if depth == 16 and name not in _WITH_16_BITS:
        raise UsageError(
            f"{name} holds 8 bits per sample: write this 16-bit picture as png or tiff"
        )
    most = _LARGEST_SIDE.get(name)
    if most is not None and max(sides) > most:
        height, width = sides
        raise ImageError(
            f"a picture of {width}x{height} cannot be saved as {format}: {name} ends at {most} "
            "pixels a side"
        )
    if format.lower() == "pgm" and channels > 1:
        raise UsageError("a .pgm file holds grey only: write a colour picture as ppm or png")


def picture_bytes(picture: Picture, format: str = "png") -> bytes:
    """The bytes of an image file.

    Args:
        picture: to write, its metadata too where the format holds them.
        format: as for `check_format`.

    Warns:
        PictureWarning: the format does not hold the metadata.

    Raises:
        UsageError: another format, or one that holds no such picture.
        ImageError: the format cannot hold a picture of this size.
    """
    height, width, channels = picture.samples.shape
    check_format(
        format,
        channels=channels,
        depth=picture.depth,
        alpha=picture.alpha is not None,
        sides=(height, width),
    )
    options = _SAVE_OPTIONS[format.lower()]
    name = options["format"]
    metadata = _held(picture.metadata, name)
    try:
        if picture.depth == 16 and name == "PNG":
            return deep_png(picture.with_alpha().astype(np.uint16), _pillow_options(metadata, name))
        if picture.depth == 16:
            return deep_tiff(picture.with_alpha().astype(np.uint16), _tags(metadata))
        image = to_pil(Picture(picture.samples, picture.alpha))
        buffer = io.BytesIO()
        image.save(buffer, **options, **_pillow_options(metadata, name))
    except (OSError, ValueError) as error:
        size = f"{width}x{height}"
        raise ImageError(f"a picture of {size} cannot be saved as {format}: {error}") from error
    return buffer.getvalue()


def image_bytes(array: npt.NDArray[np.uint8], format: str = "png") -> bytes:
    """The bytes of an image file that holds exactly these samples.

    Args:
        array: uint8 (H, W), (H, W, 1) or (H, W, 3).
        format: as for `check_format`, but not JPEG.

    Raises:
        UsageError: another format.
        ImageError: another dtype or shape, or the format cannot hold a picture of this size.
    """
    if _SAVE_OPTIONS.get(format.lower()) in (None, _JPEG):
        lossless = [suffix for suffix, options in _SAVE_OPTIONS.items() if options is not _JPEG]
        raise UsageError(
            f"cannot write {format or 'a file without suffix'!r}: "
            f"must be lossless, one of {', '.join(lossless)}"
        )
    return picture_bytes(_plain(array), format)


def write_image(
    array: npt.NDArray[np.uint8],
    target: str | os.PathLike[str] | BinaryIO,
    format: str | None = None,
) -> None:
    """Save a picture without loss, to a path or a binary file object.

    The picture is complete in memory before the target is opened.

    Args:
        array: as for `image_bytes`.
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


def _plain(array: npt.NDArray[np.uint8]) -> Picture:
    legal = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3))
    if array.dtype != np.uint8 or not legal:
        raise ImageError(
            f"array of {array.dtype} {array.shape}: must be uint8 (H, W), (H, W, 1) or (H, W, 3)"
        )
    return Picture(array[:, :, np.newaxis] if array.ndim == 2 else array)


def _held(metadata: Metadata, format: str) -> Metadata:
    """What of the metadata a format holds; a warning names the rest."""
    found = metadata.items()
    limits = _JPEG_LIMITS if format == "JPEG" else {}
    kept = {
        kind: data
        for kind, data in found.items()
        if format in _WITH_METADATA and len(data) <= limits.get(kind, len(data))
    }
    if format == "WEBP" and (metadata.icc or b"")[_ICC_SPACE] == b"GRAY":
        del kept["icc"]  # its samples are RGB, which such a profile says nothing of
    if lost := [kind.upper() for kind in found if kind not in kept]:
        text = f"{format} does not hold the picture's {', '.join(lost)}: left out"
        warnings.warn(text, PictureWarning, stacklevel=2)
    return Metadata(**kept)


def _pillow_options(metadata: Metadata, format: str) -> dict[str, Any]:
    """Metadata as options of Pillow's `save`."""
    options: dict[str, Any] = {}
    if metadata.icc:
        options["icc_profile"] = metadata.icc
    if format == "TIFF":
        return options | {"tiffinfo": {k: v for k, v in _tags(metadata).items() if k != _ICC_TAG}}
    if metadata.exif:
        options["exif"] = EXIF_PREFIX + metadata.exif
    if metadata.xmp and format == "PNG":
        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", metadata.xmp.decode(errors="replace"))
    elif metadata.xmp:
        options["xmp"] = metadata.xmp
    return options


def _tags(metadata: Metadata) -> dict[int, Any]:
    """Metadata as tags of a TIFF."""
    tags: dict[int, Any] = {}
    if metadata.exif:
        exif = Image.Exif()
        exif.load(metadata.exif)
        for tag in DESCRIPTIVE_TAGS:
            if tag in exif:
                tags[tag] = dict(exif.get_ifd(tag)) if tag in DIRECTORIES else exif[tag]
    if metadata.xmp:
        tags[_XMP_TAG] = metadata.xmp
    if metadata.icc:
        tags[_ICC_TAG] = metadata.icc
    return tags
