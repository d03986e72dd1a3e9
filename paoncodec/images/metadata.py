"""Colour profile, EXIF and XMP: found in what Pillow opens, and made to say that it is upright."""

from __future__ import annotations

import re
import warnings
from typing import Literal

from PIL import Image

from paoncodec.errors import PictureWarning
from paoncodec.images.picture import Metadata

__all__ = [
    "DESCRIPTIVE_TAGS",
    "DIRECTORIES",
    "EXIF_PREFIX",
    "exif_orientation",
    "read_metadata",
    "upright_exif",
]

ORIENTATION = 0x0112
#: What Pillow, and JPEG, have before EXIF.
EXIF_PREFIX = b"Exif\0\0"
_SHORT_BYTES = 2

#: Tags of TIFF that describe the picture and not how it is stored, the Exif and the GPS directory
#: last: what EXIF of other files holds, and all that is kept of a TIFF's.
DESCRIPTIVE_TAGS = (
    270,  # ImageDescription
    271,  # Make
    272,  # Model
    282,  # XResolution
    283,  # YResolution
    296,  # ResolutionUnit
    305,  # Software
    306,  # DateTime
    315,  # Artist
    316,  # HostComputer
    33432,  # Copyright
    34665,
    34853,
)
DIRECTORIES = (34665, 34853)

# XMP says the orientation too, as an attribute or an element.
_XMP_ORIENTATION = re.compile(rb"""(tiff:Orientation(?:=["']|>))[1-8](?=["'<])""")


def exif_orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 (upright) when there is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow's: what is damaged is named elsewhere
            return int(image.getexif().get(ORIENTATION, 1))
    # Damaged metadata around sound pixels, of which Pillow complains in as many ways: viewers show
    # such a picture as it is stored.
    except Exception:  # noqa: BLE001
        return 1


def read_metadata(image: Image.Image, name: str) -> Metadata:
    """What stands beside the samples of a picture that has been loaded.

    Damaged EXIF is left out with a warning, in which the picture is called `name`.
    """
    return Metadata(image.info.get("icc_profile") or None, _exif(image, name), _xmp(image))


def upright_exif(exif: bytes) -> bytes | None:
    """The same EXIF with orientation 1, no other byte changed; None if it is damaged.

    Args:
        exif: a TIFF stream, as `Metadata` has it.
    """
    order: Literal["little", "big"] = "little" if exif[:4] == b"II*\0" else "big"
    if exif[:4] not in (b"II*\0", b"MM\0*"):
        return None
    start = int.from_bytes(exif[4:8], order)
    count = int.from_bytes(exif[start : start + 2], order)
    first = start + 2
    if len(exif) < first + 12 * count or start < 8 or count == 0:
        return None
    upright = bytearray(exif)
    for entry in range(first, first + 12 * count, 12):
        if int.from_bytes(exif[entry : entry + 2], order) == ORIENTATION:
            upright[entry + 8 : entry + 8 + _SHORT_BYTES] = (1).to_bytes(_SHORT_BYTES, order)
    return bytes(upright)


def _exif(image: Image.Image, name: str) -> bytes | None:
    try:
        exif = _tiff_exif(image) if image.format == "TIFF" else image.info.get("exif")
    # As with the orientation: whatever is the matter with it, the picture is not to blame.
    except Exception:  # noqa: BLE001
        exif = b"damaged"
    if not exif:
        return None
    upright = upright_exif(exif.removeprefix(EXIF_PREFIX))
    if upright is None:
        text = f"{name}: its EXIF is damaged and left out"
        warnings.warn(text, PictureWarning, stacklevel=2)
    return upright


def _tiff_exif(image: Image.Image) -> bytes | None:
    """The descriptive part of a TIFF's own directory."""
    source, kept = image.getexif(), Image.Exif()
    for tag in DESCRIPTIVE_TAGS:
        if tag in source:
            kept[tag] = dict(source.get_ifd(tag)) if tag in DIRECTORIES else source[tag]
    return kept.tobytes() if len(kept) else None


def _xmp(image: Image.Image) -> bytes | None:
    # Older releases of Pillow know that of PNG by its keyword only.
    xmp = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
    if not xmp:
        return None
    packet = xmp.encode() if isinstance(xmp, str) else bytes(xmp)
    return _XMP_ORIENTATION.sub(rb"\g<1>1", packet)
