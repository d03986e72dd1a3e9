"""How many bits a file stores per sample: Pillow reduces many deep pictures to 8 bits unasked."""

from __future__ import annotations

from PIL import Image, ImageFile

__all__ = ["stored_depth"]

# Enough to hold the boxes before a JPEG 2000 codestream or an AVIF configuration.
_HEAD_BYTES = 1 << 16

# JPEG 2000 (ITU-T T.800, A.5.1): SOC and SIZ markers; component depths start 40 bytes after SIZ,
# 3 bytes each, their count in the 2 bytes before.
_JPEG2000_SIZ = b"\xff\x4f\xff\x51"
_SIZ_COUNT = 2 + 38
_SIZ_DEPTHS = 2 + 40

# AVIF (AV1-ISOBMFF 2.3.3): third byte of the configuration record, flags high_bitdepth and
# twelve_bit.
_AV1_CONFIG = b"av1C"
_HIGH_BITDEPTH = 0x40
_TWELVE_BIT = 0x20


def stored_depth(image: Image.Image) -> int:
    """The greatest number of bits per sample in the file behind a picture that is not loaded yet.

    Answers 8 when Pillow gives no sign of more: an 8-bit file or less, an image without a file,
    one whose samples have been read already.
    """
    if not isinstance(image, ImageFile.ImageFile):
        return 8
    if image.format == "JPEG2000":
        return _jpeg2000_depth(_head(image))
    if image.format == "AVIF":
        return _avif_depth(_head(image))
    return max((_tile_depth(tile) for tile in image.tile), default=8)


def _tile_depth(tile: ImageFile._Tile) -> int:
    """Bits per sample as Pillow's decoder for one tile has been told them.

    The arguments are a raw mode ("RGB;16B"), or a tuple with it and, for PPM, the largest value.
    """
    arguments = tile.args if isinstance(tile.args, tuple) else (tile.args,)
    if tile.codec_name.startswith("ppm"):
        return max(8, *(value.bit_length() for value in arguments if isinstance(value, int)))
    sixteen = any(isinstance(value, str) and ";16" in value for value in arguments)
    return 16 if sixteen or tile.codec_name == "SGI16" else 8


def _head(image: ImageFile.ImageFile) -> bytes:
    if image.fp is None:
        return b""
    here = image.fp.tell()
    image.fp.seek(0)
    head = image.fp.read(_HEAD_BYTES)
    image.fp.seek(here)
    return head


def _jpeg2000_depth(head: bytes) -> int:
    start = head.find(_JPEG2000_SIZ)
    if start < 0:
        return 8
    count = int.from_bytes(head[start + _SIZ_COUNT :][:2], "big")
    depths = head[start + _SIZ_DEPTHS :][: 3 * count : 3]
    return max((1 + (depth & 0x7F) for depth in depths), default=8)


def _avif_depth(head: bytes) -> int:
    start = head.find(_AV1_CONFIG)
    flags = head[start + len(_AV1_CONFIG) + 2 :][:1] if start >= 0 else b""
    if not flags or not flags[0] & _HIGH_BITDEPTH:
        return 8
    return 12 if flags[0] & _TWELVE_BIT else 10
