"""PNG and TIFF files of 16-bit samples, of which Pillow writes grey ones only.

Only what Pillow cannot do is done here: rows become bytes. Directories, metadata and chunks are
Pillow's.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

__all__ = ["deep_png", "deep_tiff"]

Deep = npt.NDArray[np.uint16]

# PNG's colour types by number of channels.
_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
_SIGNATURE_BYTES = 8
# Rows are worked on in parts of about this many bytes, which bounds the memory beside them.
_PART_BYTES = 2**20


def deep_png(samples: Deep, options: dict[str, Any]) -> bytes:
    """A PNG (ISO/IEC 15948) of (H, W, 1 to 4): grey, grey and alpha, RGB, RGB and alpha.

    Args:
        samples: to write.
        options: of Pillow's `save`, for its metadata.
    """
    height, width, channels = samples.shape
    pixel = Image.new("RGB", (1, 1))
    buffer = io.BytesIO()
    pixel.save(buffer, "PNG", **options)
    chunks = dict(_chunks(buffer.getvalue()))
    head = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    chunks[b"IHDR"] = head + bytes([16, _COLOUR_TYPES[channels], 0, 0, 0])
    chunks[b"IDAT"] = _compressed(_filtered(rows) for rows in _parts(samples))
    return buffer.getvalue()[:_SIGNATURE_BYTES] + b"".join(
        _chunk(name, body) for name, body in chunks.items()
    )


def deep_tiff(samples: Deep, tags: dict[int, Any]) -> bytes:
    """A TIFF 6.0, deflated with horizontal differences, of (H, W, 1 to 4) as for `deep_png`.

    Args:
        samples: to write.
        tags: that describe the picture; a dictionary is a directory of its own.
    """
    height, width, channels = samples.shape
    rows = max(1, _PART_BYTES // (2 * width * channels))
    strips = [
        zlib.compress(_differences(samples[start : start + rows]))
        for start in range(0, height, rows)
    ]
    sizes = [len(strip) for strip in strips]
    directory = ImageFileDirectory_v2()
    for tag, value in tags.items():
        directory[tag] = value
    directory[256], directory[257] = width, height
    directory[258] = (16,) * channels
    directory[259] = 8  # deflate
    directory[262] = 1 if channels < 3 else 2  # black is zero, or RGB
    # From the end of the directory on, to which Pillow adds where that is.
    directory[273] = tuple(np.cumsum([0, *sizes[:-1]]).tolist())
    directory[277] = channels
    directory[278] = rows
    directory[279] = tuple(sizes)
    directory[317] = 2  # horizontal differences
    if channels % 2 == 0:
        directory[338] = 2  # alpha, colours not multiplied by it
    buffer = io.BytesIO()
    directory.save(buffer)
    return buffer.getvalue() + b"".join(strips)


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and body of each chunk; none of them comes twice in what Pillow writes of one pixel."""
    at = _SIGNATURE_BYTES
    while at < len(png):
        size = int.from_bytes(png[at : at + 4], "big")
        yield png[at + 4 : at + 8], png[at + 8 : at + 8 + size]
        at += 12 + size


def _chunk(name: bytes, body: bytes) -> bytes:
    checksum = zlib.crc32(name + body).to_bytes(4, "big")
    return len(body).to_bytes(4, "big") + name + body + checksum


def _compressed(parts: Iterator[bytes]) -> bytes:
    stream = zlib.compressobj()
    return b"".join([*map(stream.compress, parts), stream.flush()])


def _parts(samples: Deep) -> Iterator[tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], int]]:
    """Rows as bytes (n, bytes of a row), the row above each, and bytes of a pixel."""
    height, width, channels = samples.shape
    size = 2 * width * channels
    above = np.zeros((1, size), np.uint8)
    count = max(1, _PART_BYTES // size)
    for start in range(0, height, count):
        rows = samples[start : start + count].astype(">u2").reshape(-1, width * channels)
        part = rows.view(np.uint8)
        yield part, np.concatenate([above, part[:-1]]), 2 * channels
        above = part[-1:]


def _filtered(part: tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], int]) -> bytes:
    """Each row by that of the filters Sub, Up and Paeth which leaves the smallest sum of
    absolute values (ISO/IEC 15948, 12.7), after the filter's number."""
    rows, up, step = part
    left, corner = np.zeros_like(rows), np.zeros_like(rows)
    left[:, step:], corner[:, step:] = rows[:, :-step], up[:, :-step]
    filters = {1: rows - left, 2: rows - up, 4: rows - _paeth(left, up, corner)}
    costs = [
        np.abs(filtered.view(np.int8).astype(np.int16)).sum(axis=1) for filtered in filters.values()
    ]
    best = np.argmin(costs, axis=0)
    numbers = np.array(list(filters), np.uint8)[best]
    chosen = np.stack(list(filters.values()))[best, np.arange(len(rows))]
    return np.concatenate([numbers[:, np.newaxis], chosen], axis=1).tobytes()


def _paeth(
    left: npt.NDArray[np.uint8], up: npt.NDArray[np.uint8], corner: npt.NDArray[np.uint8]
) -> npt.NDArray[np.uint8]:
    """Of the three neighbours the one nearest to left + up - corner, in this order if they tie."""
    a, b, c = (neighbour.astype(np.int16) for neighbour in (left, up, corner))
    to_a, to_b, to_c = np.abs(b - c), np.abs(a - c), np.abs(a + b - 2 * c)
    nearest_b = np.where(to_b <= to_c, up, corner)
    return np.where((to_a <= to_b) & (to_a <= to_c), left, nearest_b)


def _differences(strip: Deep) -> bytes:
    """Each sample less that of its channel to the left, low byte first."""
    differences = strip.copy()
    differences[:, 1:] -= strip[:, :-1]
    return differences.astype("<u2").tobytes()
