"""Samples without loss, and read without trust."""

from __future__ import annotations

import io
import zlib

import numpy as np
import pytest
from PIL import Image

from paoncodec.images import lossless_bytes, mostly_flat, read_image, read_lossless
from paoncodec.images.deep_files import deep_png

RNG = np.random.default_rng(3)

SHAPES = [(1, 1), (1, 17), (64, 64), (65, 127), (2, 20000), (20000, 1)]


def saved(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", SHAPES)
def test_samples_come_back_as_they_were(shape: tuple[int, int], dtype: type, channels: int) -> None:
    peak, full = np.iinfo(dtype).max, (*shape, channels)
    noise = RNG.integers(0, peak, full, dtype=dtype, endpoint=True)
    disc = np.where(np.hypot(*np.indices(shape))[:, :, None] < 40, noise[0, 0], dtype(peak))
    for samples in (noise, disc, np.zeros_like(noise), np.full_like(noise, peak)):
        data = lossless_bytes(samples)
        again = read_lossless(data, full, 8 * samples.itemsize)
        assert again.dtype == dtype
        np.testing.assert_array_equal(again, samples)
        # Filters, markers and headers: noise takes hardly more than its own bytes.
        assert len(data) < 1.01 * samples.nbytes + shape[0] + 200


def test_both_kinds_of_files_are_used() -> None:
    disc = (np.hypot(*np.indices((200, 200)))[:, :, None] * 2).clip(0, 255).astype(np.uint8)
    assert lossless_bytes(disc)[8:12] == b"WEBP"
    assert lossless_bytes(disc.astype(np.uint16))[1:4] == b"PNG"
    assert lossless_bytes(np.repeat(disc, 3, axis=2).astype(np.uint16))[1:4] == b"PNG"


@pytest.mark.parametrize(("channels", "dtype"), [(1, np.uint8), (3, np.uint8), (3, np.uint16)])
def test_others_read_the_same(channels: int, dtype: type) -> None:
    samples = RNG.integers(0, 4, (20, 30, channels)).astype(dtype) * dtype(50)
    if dtype == np.uint8:
        found = read_image(lossless_bytes(samples))  # a WebP of a grey picture is RGB
        np.testing.assert_array_equal(found, np.broadcast_to(samples, found.shape))
        return
    data = lossless_bytes(samples)
    assert data[24:26] == b"\x10\x02"  # 16 bits, RGB
    assert zlib.crc32(data[12:29]) == int.from_bytes(data[29:33], "big")


def test_drawings_are_flat_and_pictures_are_not() -> None:
    drawing = np.kron(RNG.integers(0, 200, (4, 5, 3)), np.ones((9, 9, 1))).astype(np.uint8)
    assert mostly_flat(drawing)
    assert not mostly_flat(RNG.integers(0, 256, (36, 45, 3), dtype=np.uint8))
    # Equal in one channel is not equal.
    drawing[:, :, 1] = RNG.integers(0, 256, drawing.shape[:2])
    assert not mostly_flat(drawing)
    assert not mostly_flat(drawing[:, :1])  # no neighbours


GREY = RNG.integers(0, 256, (20, 30, 1), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (20, 30, 3), dtype=np.uint16)
GREY_IMAGE, COLOUR_IMAGE = Image.fromarray(GREY[:, :, 0]), Image.fromarray(COLOUR)
FILES = {
    "grey png": (saved(GREY_IMAGE, "PNG"), GREY),
    "grey webp": (saved(GREY_IMAGE, "WEBP", lossless=True), GREY),
    "rgb png": (saved(COLOUR_IMAGE, "PNG"), COLOUR),
    "rgb webp": (saved(COLOUR_IMAGE, "WEBP", lossless=True), COLOUR),
    "deep png": (deep_png(DEEP, {}), DEEP),
}


@pytest.mark.parametrize("name", FILES)
def test_another_size_kind_or_depth_is_refused(name: str) -> None:
    data, samples = FILES[name]
    channels, depth = samples.shape[2], 8 * samples.itemsize
    np.testing.assert_array_equal(read_lossless(data, samples.shape, depth), samples)
    wrong = [((30, 20, channels), depth), ((20, 31, channels), depth)]
    wrong.append(((20, 30, channels), 24 - depth))
    # The three channels of a WebP may be those of a grey picture, or of a coloured one.
    if name != "grey webp":
        wrong.append(((20, 30, 4 - channels), depth))
    for shape, bits in wrong:
        with pytest.raises(ValueError, match=r"is neither|legal: |three equal"):
            read_lossless(data, shape, bits)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"alpha",
        saved(GREY_IMAGE, "TIFF"),
        saved(GREY_IMAGE, "WEBP"),  # with loss
        saved(Image.fromarray(np.zeros((20, 30, 4), np.uint8)), "WEBP", lossless=True, exact=True),
        saved(Image.fromarray(np.zeros((20, 30, 4), np.uint8)), "PNG"),
        *(data[:-100] for data, _ in FILES.values()),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("depth", [8, 16])
def test_what_is_no_such_file_is_refused(data: bytes, channels: int, depth: int) -> None:
    with pytest.raises(ValueError, match=r"^is "):
        read_lossless(data, (20, 30, channels), depth)


@pytest.mark.parametrize("name", FILES)
def test_damage_gives_samples_of_that_size_or_an_error(name: str) -> None:
    data, samples = FILES[name]
    for _ in range(200):
        damaged = bytearray(data)
        for at in RNG.integers(len(data), size=2):
            damaged[at] ^= 1 << RNG.integers(8)
        try:
            found = read_lossless(bytes(damaged), samples.shape, 8 * samples.itemsize)
        except ValueError:
            continue
        assert (found.shape, found.dtype) == (samples.shape, samples.dtype)
