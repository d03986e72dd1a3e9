"""Samples as they are: an image file that holds them without loss, and back without trust."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image, ImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from paoncodec.images.deep import deep_samples
from paoncodec.images.deep_files import deep_png
from paoncodec.images.picture import Samples

__all__ = ["lossless_bytes", "mostly_flat", "read_lossless"]

# VP8L, the chunk of lossless WebP, holds sides of 14 bits.
_WEBP_SIDE = 2**14 - 1
# PNG's colour types by number of channels.
_COLOUR_TYPES = {1: 0, 3: 2}
_COLOURS = {1: "grey", 3: "RGB"}


def lossless_bytes(samples: Samples) -> bytes:
    """An image file of samples (H, W, C): the smaller of a PNG and, where it can hold them, a
    lossless WebP.

    Args:
        samples: grey or RGB, uint8 or uint16.
    """
    deep, (height, width, channels) = samples.dtype == np.uint16, samples.shape
    if deep and channels == 3:  # which Pillow does not write
        return deep_png(samples, {})
    image = Image.fromarray(samples[:, :, 0] if channels == 1 else samples)
    files = [_saved(image, "PNG", optimize=True)]
    if not deep and max(height, width) <= _WEBP_SIDE:
        files.append(_saved(image, "WEBP", lossless=True, method=4, quality=100))
    return min(files, key=len)


def mostly_flat(samples: Samples) -> bool:
    """Whether most pixels of (H, W, C) are as the one to their left: drawings and screenshots,
    which take little without loss. Of photographs it is a tenth, or a fifth."""
    height, width, _ = samples.shape
    same = (samples[:, 1:] == samples[:, :-1]).all(axis=2)
    return 2 * np.count_nonzero(same) > height * (width - 1)


def read_lossless(data: bytes, shape: tuple[int, int, int], depth: int) -> Samples:
    """What `lossless_bytes` was given.

    Args:
        data: the image file.
        shape: height, width and channels, 1 or 3.
        depth: bits per sample, 8 or 16.

    Raises:
        ValueError: no such image file, or one of another size, kind or depth; sizes are compared
            before memory is taken for them.
    """
    height, width, channels = shape
    is_webp = depth == 8 and _is_lossless_webp(data)
    if not is_webp and not data.startswith(_png_head(shape, depth)):
        raise ValueError(
            f"is neither a PNG of {width} x {height} pixels, {_COLOURS[channels]}, of {depth} bits"
            + (" nor a lossless WebP" if depth == 8 else "")
        )
    try:
        # Not by Image.open: its limit of pixels is another one than that of our files.
        with (WebPImageFile if is_webp else PngImageFile)(io.BytesIO(data)) as image:
            if image.size != (width, height):
                raise ValueError(
                    f"{image.width} x {image.height} pixels, legal: {width} x {height}"
                )
            return _samples(image, channels, depth)
    # Pillow's parsers meet hostile bytes with whatever their code happens to raise.
    except Exception as error:
        raise ValueError(f"is a damaged image file ({error})") from error


def _samples(image: ImageFile.ImageFile, channels: int, depth: int) -> Samples:
    if depth == 16:
        return deep_samples(image)
    values = np.array(image)
    if values.ndim == 2:
        return values[:, :, np.newaxis]
    if values.shape[2] != 3:
        raise ValueError("it has transparency of its own")
    if channels == 3:
        return values
    # A WebP of a grey picture.
    if (values != values[:, :, 1:2]).any():
        raise ValueError("its channels must be three equal ones")
    return np.ascontiguousarray(values[:, :, 1:2])


def _saved(image: Image.Image, format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def _is_lossless_webp(data: bytes) -> bool:
    """A file of the simple form with one VP8L chunk: no animation, no other chunks."""
    return data[:4] == b"RIFF" and data[8:16] == b"WEBPVP8L"


def _png_head(shape: tuple[int, int, int], depth: int) -> bytes:
    """Signature and header chunk: length, name, sides, depth, colour type, and zeros for deflate,
    the usual filters and no interlacing."""
    height, width, channels = shape
    sides = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    kind = bytes([depth, _COLOUR_TYPES[channels], 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + sides + kind
