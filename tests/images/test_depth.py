"""The depth of files that Pillow would reduce to 8 bits without a word."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, features

from paoncodec.errors import ImageError
from paoncodec.images import read_image
from paoncodec.images.depth import stored_depth

# Pillow writes 8 bits only in these two formats: the depth in the header is changed by hand,
# which is as far as a reader of headers looks.


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def saved(format: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(buffer, format)
    return buffer.getvalue()


@pytest.mark.skipif(not features.check("jpg_2000"), reason="Pillow without OpenJPEG")
def test_jpeg2000_depth_is_that_of_its_deepest_component() -> None:
    data = bytearray(saved("JPEG2000"))
    assert stored_depth(opened(bytes(data))) == 8
    second = data.index(b"\xff\x4f\xff\x51") + 42 + 3
    assert data[second] == 8 - 1
    data[second] = 12 - 1
    assert stored_depth(opened(bytes(data))) == 12
    with pytest.raises(ImageError, match="12 bits per sample"):
        read_image(bytes(data))


@pytest.mark.skipif(not features.check("avif"), reason="Pillow without libavif")
@pytest.mark.parametrize(("flags", "depth"), [(0x00, 8), (0x40, 10), (0x60, 12)])
def test_avif_depth_is_that_of_its_configuration(flags: int, depth: int) -> None:
    data = saved("AVIF")
    image = opened(data)
    at = data.index(b"av1C") + 6
    assert image.fp is not None
    image.fp = io.BytesIO(data[:at] + bytes([data[at] & 0x9F | flags]) + data[at + 1 :])
    assert stored_depth(image) == depth


def test_reading_the_depth_leaves_the_file_where_it_was() -> None:
    image = opened(saved("JPEG2000"))
    here = image.fp.tell()
    stored_depth(image)
    assert image.fp.tell() == here


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "PPM", "BMP", "SGI"])
def test_ordinary_files_have_8_bits(format: str) -> None:
    assert stored_depth(opened(saved(format))) == 8


def test_an_image_made_in_memory_has_8_bits() -> None:
    assert stored_depth(Image.new("RGB", (4, 4))) == 8
