"""Samples as they are: an image file that holds them without loss, and back without trust.

Of PNG and WebP only the plainest form counts, and all of it is checked before Pillow decodes it:
readers of image files make up for what is missing, and would give a wrong picture in place of none.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from paoncodec.images.deep import deep_samples
from paoncodec.images.deep_files import deep_png
from paoncodec.images.picture import Samples

__all__ = ["likely_lossless_bytes", "lossless_bytes", "read_lossless"]

#: Memory for each pixel that a WebP takes to make (46 bytes measured).
_WEBP_MEMORY = 48
# VP8L, the chunk of lossless WebP, holds sides of 14 bits; Pillow warns of more pixels than these.
_WEBP_SIDE, _WEBP_PIXELS = 2**14 - 1, 2**26
_WEBP_HEAD = 25
# PNG's colour types by number of channels.
_COLOUR_TYPES = {1: 0, 3: 2}
_COLOURS = {1: "grey", 3: "RGB"}
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PART_BYTES = 2**16
#: Bytes that a bit reader of VP8L may look ahead.
_AHEAD = 64

# What `likely_lossless_bytes` looks at: up to so many groups of neighbouring rows, and bytes.
_GROUPS, _ROWS, _GROUP_BYTES = 8, 64, 2**15


def lossless_bytes(samples: Samples, memory: float = float("inf")) -> bytes:
    """An image file of samples (H, W, C): the smaller of a PNG and, where it can hold them, a
    lossless WebP.

    Args:
        samples: grey or RGB, uint8 or uint16.
        memory: bytes that this may take. A WebP needs 48 a pixel; a PNG little more than its size.
    """
    height, width, channels = samples.shape
    pixels = height * width
    if samples.dtype == np.uint16 and channels == 3:  # which Pillow does not write
        return deep_png(samples, {})
    image = Image.fromarray(samples[:, :, 0] if channels == 1 else samples)
    files = [_saved(image, "PNG", optimize=True)]
    holds = max(height, width) <= _WEBP_SIDE and pixels <= _WEBP_PIXELS
    if samples.dtype == np.uint8 and holds and _WEBP_MEMORY * pixels <= memory:
        files.append(_saved(image, "WEBP", lossless=True, method=4, quality=100))
    return min(files, key=len)


def likely_lossless_bytes(samples: Samples) -> float:
    """About what `lossless_bytes` would take, or more, at a hundredth of the time: some of the rows
    deflated, which finds flat colours and patterns that repeat."""
    height = samples.shape[0]
    count = min(height, _ROWS)
    firsts = np.unique(np.linspace(0, height - count, _GROUPS).astype(int))
    groups = [samples[first : first + count].tobytes()[:_GROUP_BYTES] for first in firsts]
    taken = sum(len(zlib.compress(group, 1)) for group in groups)
    return samples.nbytes * taken / sum(map(len, groups))


def read_lossless(data: bytes, shape: tuple[int, int, int], depth: int) -> Samples:
    """What `lossless_bytes` was given.

    Args:
        data: the image file.
        shape: height, width and channels, 1 or 3.
        depth: bits per sample, 8 or 16.

    Raises:
        ValueError: no such image file, or one of another size, kind or depth, or with anything
            else in it. No memory is taken for samples that are not there.
    """
    is_webp = depth == 8 and data.startswith(b"RIFF")
    if is_webp:
        _check_webp(data, shape)
    else:
        _check_png(data, shape, depth)
    try:
        samples = _webp_samples(data, shape[2]) if is_webp else _png_samples(data, depth)
    except MemoryError:
        raise
    # Pillow's parsers meet hostile bytes with whatever their code happens to raise.
    except Exception as error:
        raise ValueError(f"is a damaged image file ({error})") from error
    if samples.shape != shape or samples.itemsize * 8 != depth:
        raise ValueError(f"is an image file of another kind, {samples.shape} of {samples.dtype}")
    return samples


def _saved(image: Image.Image, format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


# Not by Image.open: its limit of pixels is another one than that of our files.
def _png_samples(data: bytes, depth: int) -> Samples:
    with PngImageFile(io.BytesIO(data)) as image:
        if depth == 16:
            return deep_samples(image)
        values = np.array(image)
    return values if values.ndim == 3 else values[:, :, np.newaxis]


def _webp_samples(data: bytes, channels: int) -> Samples:
    """Decoded twice, with zeros and with ones behind the chunk: libwebp goes on past the end of one
    that is cut short, and then makes different pictures of the two."""
    values, other = (
        np.array(WebPImageFile(io.BytesIO(_longer(data, fill)))) for fill in (b"\0", b"\xff")
    )
    if (values != other).any():
        raise ValueError("it is cut short")
    return values if channels == 3 else _grey(values)


def _longer(webp: bytes, fill: bytes) -> bytes:
    """The file with more bytes in its chunk."""
    chunk = webp[20 : 20 + int.from_bytes(webp[16:20], "little")] + _AHEAD * fill
    chunk += chunk[-1:] * (len(chunk) % 2)
    head = (len(chunk) + 12).to_bytes(4, "little") + b"WEBPVP8L"
    return b"RIFF" + head + len(chunk).to_bytes(4, "little") + chunk


def _grey(values: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """A WebP of a grey picture has three channels."""
    if (values != values[:, :, 1:2]).any():
        raise ValueError("its channels must be three equal ones")
    return np.ascontiguousarray(values[:, :, 1:2])


def _check_webp(data: bytes, shape: tuple[int, int, int]) -> None:
    """RFC 9649, 2.5 (the simple lossless form) and 3.4 (its header).

    Raises:
        ValueError: it is another file.
    """
    if len(data) < _WEBP_HEAD:
        raise ValueError("is a lossless WebP cut short")
    size = int.from_bytes(data[16:20], "little")
    # RIFF and its size, WEBP, VP8L and its size; a chunk of odd size has a byte more.
    head = b"RIFF" + (len(data) - 8).to_bytes(4, "little") + b"WEBPVP8L"
    if data[:16] != head or size + size % 2 != len(data) - 20:
        raise ValueError("is not a lossless WebP of one chunk")
    if data[20] != 0x2F or (size % 2 and data[-1]):
        raise ValueError("is a damaged lossless WebP")
    bits = int.from_bytes(data[21:_WEBP_HEAD], "little")
    width, height = (bits & _WEBP_SIDE) + 1, (bits >> 14 & _WEBP_SIDE) + 1
    if (height, width) != shape[:2]:
        raise ValueError(f"is {width} x {height} pixels, legal: {shape[1]} x {shape[0]}")
    if bits >> 28:
        raise ValueError("has transparency of its own, or is of a later version of WebP")


def _check_png(data: bytes, shape: tuple[int, int, int], depth: int) -> None:
    """ISO/IEC 15948: IHDR, IDAT and IEND and nothing else, and exactly the rows that there are.

    Raises:
        ValueError: it is another file.
    """
    height, width, channels = shape
    sides = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    # Zeros for deflate, the usual filters and no interlacing.
    header = sides + bytes([depth, _COLOUR_TYPES[channels], 0, 0, 0])
    if not data.startswith(_PNG_SIGNATURE + b"\0\0\0\rIHDR" + header):
        raise ValueError(
            f"is neither a PNG of {width} x {height} pixels, {_COLOURS[channels]}, of {depth} bits"
            + (" nor a lossless WebP" if depth == 8 else "")
        )
    chunks = list(_png_chunks(data))
    names = [name for name, _ in chunks]
    if names != [b"IHDR", *[b"IDAT"] * (len(chunks) - 2), b"IEND"] or chunks[-1][1]:
        raise ValueError("is a PNG with other chunks than IHDR, IDAT and IEND")
    row = 1 + width * channels * depth // 8
    _check_inflated([body for name, body in chunks if name == b"IDAT"], height * row)


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and body of each chunk of a whole PNG.

    Raises:
        ValueError: a chunk is cut short, or its CRC another.
    """
    at = len(_PNG_SIGNATURE)
    while at < len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        crc = data[end : end + 4]
        if len(crc) < 4 or zlib.crc32(data[at + 4 : end]) != int.from_bytes(crc, "big"):
            raise ValueError("is a damaged PNG: a chunk is cut short, or its CRC wrong")
        yield data[at + 4 : at + 8], data[at + 8 : end]
        at = end + 4


def _pieces(parts: list[bytes]) -> Iterator[bytes]:
    """So small that what a step of a stream leaves is soon copied."""
    for part in parts:
        for at in range(0, len(part), _PART_BYTES):
            yield part[at : at + _PART_BYTES]


def _check_inflated(parts: list[bytes], expected: int) -> None:
    """That the parts are one zlib stream of so many bytes; they are counted, and not kept.

    Raises:
        ValueError: they are not.
    """
    stream, found = zlib.decompressobj(), 0
    try:
        for piece in _pieces(parts):
            if stream.eof or found > expected:
                raise ValueError("is a PNG with more than its rows")
            inflated = stream.decompress(piece, _PART_BYTES)
            while inflated and found <= expected:
                found += len(inflated)
                inflated = stream.decompress(stream.unconsumed_tail, _PART_BYTES)
    except zlib.error as error:
        raise ValueError(f"is a damaged PNG ({error})") from error
    if found != expected or not stream.eof or stream.unused_data:
        raise ValueError(f"is a PNG whose rows are not the {expected} bytes of its header")
