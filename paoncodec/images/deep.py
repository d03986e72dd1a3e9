"""16-bit samples of PNG and TIFF, which Pillow gives for grey pictures only.

For the others Pillow unpacks one byte of each sample: of "RGB;16B" (high byte first) the first, of
"RGB;16L" the second. The two ways to unpack the same file give both.
"""

from __future__ import annotations

import io
import sys

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile

__all__ = ["deep_problem", "deep_samples"]

_OTHER_BYTE = {
    "16B": "16L",
    "16L": "16B",
    "16N": "16B" if sys.byteorder == "little" else "16L",
}
_COLOURS = {"RGB": 3, "RGBX": 3, "RGBA": 4}
_GREYS = ("I;16", "I;16B", "I;16L", "I;16N", "I;16R")
# Pillow has no grey with alpha of 16 bits, but its pixels are four bytes, as those of RGBA are.
_GREY_ALPHA = "LA;16B"

# TIFF 6.0, tags 262 and 284.
_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0
_PLANAR, _PLANE_BY_PLANE = 284, 2


def deep_problem(image: Image.Image) -> str | None:
    """Why a picture whose file has 16 bits per sample cannot be read; None if it can."""
    if not isinstance(image, ImageFile.ImageFile) or image.format not in ("PNG", "TIFF"):
        return "16 bits per sample (carried from PNG and TIFF only)"
    raw = _raw_mode(image)
    known = raw in (*_GREYS, _GREY_ALPHA) or raw.split(";")[0] in _COLOURS
    if not known:
        return f"16-bit samples that are stored as {raw}"
    tags = getattr(image, "tag_v2", {})
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        return "inverted 16-bit samples"
    # libtiff unpacks planes in a way of its own.
    planes = raw not in _GREYS and tags.get(_PLANAR) == _PLANE_BY_PLANE
    return "16-bit samples that are stored plane by plane" if planes else None


def deep_samples(image: ImageFile.ImageFile) -> npt.NDArray[np.uint16]:
    """The samples of a picture that `deep_problem` finds no fault with, as they are stored.

    Args:
        image: not loaded yet; it is when this returns.

    Returns:
        uint16 (H, W, C): grey (1), grey and alpha (2), RGB (3) or RGBA (4).
    """
    raw, kind = _raw_mode(image), type(image)
    content = _content(image) if raw not in _GREYS else b""
    image.load()
    if raw in _GREYS:
        return np.asarray(image).astype(np.uint16)[:, :, np.newaxis]
    if raw == _GREY_ALPHA:
        return np.ascontiguousarray(_unpacked(content, kind, "RGBA")).view(">u2").astype(np.uint16)
    base, order = raw.split(";")
    high = np.asarray(image).astype(np.uint16) << np.uint16(8)
    low = _unpacked(content, kind, f"{base};{_OTHER_BYTE[order]}")
    return (high | low)[:, :, : _COLOURS[base]]


def _raw_mode(image: ImageFile.ImageFile) -> str:
    return _raw_of(image.tile[0]) if image.tile else image.mode


def _raw_of(tile: ImageFile._Tile) -> str:
    return str(tile.args[0] if isinstance(tile.args, tuple) else tile.args)


def _content(image: ImageFile.ImageFile) -> bytes:
    file = image.fp
    if file is None:
        raise ValueError("its file is closed")
    here = file.tell()
    file.seek(0)
    content = file.read()
    file.seek(here)
    return content


def _unpacked(content: bytes, kind: type[ImageFile.ImageFile], raw: str) -> npt.NDArray[np.uint8]:
    with kind(io.BytesIO(content)) as again:
        again.tile = [
            tile._replace(args=(raw, *tile.args[1:]) if isinstance(tile.args, tuple) else raw)
            for tile in again.tile
        ]
        return np.asarray(again)
