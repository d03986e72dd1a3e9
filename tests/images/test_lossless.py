"""Samples without loss, and read without trust."""

from __future__ import annotations

import io
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from paoncodec.images import likely_lossless_bytes, lossless_bytes, read_image, read_lossless
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


def test_without_memory_it_is_a_png() -> None:
    disc = (np.hypot(*np.indices((200, 200)))[:, :, None] * 2).clip(0, 255).astype(np.uint8)
    data = lossless_bytes(disc, memory=40 * 200 * 200)
    assert data[1:4] == b"PNG"
    np.testing.assert_array_equal(read_lossless(data, disc.shape, 8), disc)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 17, 3), (700, 3, 3), (3, 9000, 1), (300, 400, 3)])
def test_a_quick_look_says_about_what_it_takes(shape: tuple[int, int, int], dtype: type) -> None:
    rows, columns = np.indices(shape[:2])[:, :, :, None]
    noise = RNG.integers(0, np.iinfo(dtype).max, shape, dtype=dtype)
    tile = np.resize(noise[:7], shape)
    flat = np.full_like(noise, 77)
    dots = ((rows % 3 == 0) & (columns % 3 == 0)).astype(dtype).repeat(shape[2], axis=2)
    for samples in (noise, tile, flat, dots):
        likely, taken = likely_lossless_bytes(samples), len(lossless_bytes(samples))
        assert likely < 1.1 * samples.nbytes + 20 * 8 * shape[0]
        assert taken < 1.3 * likely + 100
    assert likely_lossless_bytes(noise) >= 0.9 * noise.nbytes
    if noise.nbytes > 2**16:
        assert likely_lossless_bytes(flat) < 0.02 * flat.nbytes
        assert likely_lossless_bytes(dots) < 0.05 * dots.nbytes


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
        with pytest.raises(ValueError, match=r"is neither|legal: |three equal|another kind"):
            read_lossless(data, shape, bits)


def chunk(name: bytes, body: bytes) -> bytes:
    crc = zlib.crc32(name + body).to_bytes(4, "big")
    return len(body).to_bytes(4, "big") + name + body + crc


def png(rows: bytes, *, depth: int = 8, colour: int = 0, sides: tuple[int, int] = (30, 20)) -> list:
    """Chunks of a PNG, to be put together otherwise."""
    head = b"".join(side.to_bytes(4, "big") for side in sides) + bytes([depth, colour, 0, 0, 0])
    return [chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]


def joined(*chunks: bytes) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


ROWS = b"".join(b"\0" + row.tobytes() for row in GREY)
HEAD, DATA, END = png(ROWS)
DEFLATED = zlib.compress(ROWS)
WRONG = {
    "nothing": b"",
    "text": b"alpha",
    "tiff": saved(GREY_IMAGE, "TIFF"),
    "four bytes": b"RIFF",
    "seven bytes": b"RIFF\0\0\0",
    "lossy webp": saved(GREY_IMAGE, "WEBP"),
    "webp with alpha": saved(
        Image.fromarray(np.zeros((20, 30, 4), np.uint8)), "WEBP", lossless=True, exact=True
    ),
    "webp with more": FILES["grey webp"][0] + b"ab",
    "webp and a chunk": (
        lambda webp: webp[:4] + (len(webp) + 2).to_bytes(4, "little") + webp[8:] + b"EXIF\2\0\0\0ab"
    )(FILES["grey webp"][0]),
    "png with alpha": saved(Image.fromarray(np.zeros((20, 30, 4), np.uint8)), "PNG"),
    "a row too few": joined(HEAD, png(ROWS[:-31])[1], END),
    "half a row too few": joined(HEAD, png(ROWS[:-15])[1], END),
    "one row of twenty": joined(HEAD, png(ROWS[:31])[1], END),
    "a row too many": joined(HEAD, png(ROWS + ROWS[:31])[1], END),
    "no rows": joined(HEAD, chunk(b"IDAT", b""), END),
    "no data": joined(HEAD, END),
    "no end": joined(HEAD, DATA),
    "more after the end": joined(HEAD, DATA, END, b"x"),
    "more after the rows": joined(HEAD, chunk(b"IDAT", DEFLATED + b"x"), END),
    "many chunks after the rows": joined(HEAD, DATA, *[chunk(b"IDAT", b"x" * 8)] * 200_000, END),
    "no checksum of the rows": joined(HEAD, chunk(b"IDAT", DEFLATED[:-4]), END),
    "wrong checksum of the rows": joined(HEAD, chunk(b"IDAT", DEFLATED[:-4] + b"abcd"), END),
    "wrong checksum of a chunk": joined(HEAD, DATA[:-1] + bytes([DATA[-1] ^ 1]), END),
    "another kind behind": joined(HEAD, png(b"", colour=2)[0], DATA, END),
    "another depth behind": joined(HEAD, png(b"", depth=16)[0], DATA, END),
    "a palette": joined(HEAD, chunk(b"PLTE", bytes(768)), DATA, END),
    "transparency": joined(HEAD, chunk(b"tRNS", b"\0\7"), DATA, END),
    "an animation": joined(HEAD, chunk(b"acTL", b"\0\0\0\1\0\0\0\0"), DATA, END),
    "text in it": joined(HEAD, chunk(b"tEXt", b"a\0b"), DATA, END),
    "an unknown filter": joined(HEAD, png(b"\7" + ROWS[1:])[1], END),
    **{f"{name} cut": data[:-100] for name, (data, _) in FILES.items()},
    **{f"{name} cut by one": data[:-1] for name, (data, _) in FILES.items()},
}


def test_the_png_made_by_hand_is_right() -> None:
    data = joined(HEAD, DATA, END)
    np.testing.assert_array_equal(read_lossless(data, (20, 30, 1), 8), GREY)
    parts = [chunk(b"IDAT", DEFLATED[at : at + 7]) for at in range(0, len(DEFLATED), 7)]
    np.testing.assert_array_equal(read_lossless(joined(HEAD, *parts, END), (20, 30, 1), 8), GREY)


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("depth", [8, 16])
def test_what_is_no_such_file_is_refused(name: str, channels: int, depth: int) -> None:
    with pytest.raises(ValueError, match=r"^(is|has) "):
        read_lossless(WRONG[name], (20, 30, channels), depth)


@pytest.mark.parametrize("rows", [1, 2**14 - 1])
def test_rows_that_are_not_there_take_no_memory(rows: int) -> None:
    side = 2**14
    claimed = png(bytes(rows * (2 * side + 1)), depth=16, sides=(side, side))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="rows are not the"):
            read_lossless(joined(*claimed), (side, side, 1), 16)
        assert tracemalloc.get_traced_memory()[1] < 2**23
    finally:
        tracemalloc.stop()


def test_a_webp_whose_bits_are_cut_short_is_refused() -> None:
    """Its sizes right: libwebp makes a picture of most of these, though not the right one."""
    made = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        tile = rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)
        samples = np.tile(tile, (int(rng.integers(3, 12)), int(rng.integers(3, 12)), 1))
        data = saved(Image.fromarray(samples), "WEBP", lossless=True, method=4, quality=100)
        body = data[20 : 20 + int.from_bytes(data[16:20], "little")]
        for count in range(1, 6):
            chunk = body[:-count]
            size, pad = len(chunk).to_bytes(4, "little"), bytes(len(chunk) % 2)
            riff = (12 + len(chunk) + len(pad)).to_bytes(4, "little")
            cut = b"RIFF" + riff + b"WEBPVP8L" + size + chunk + pad
            try:
                found = read_lossless(cut, samples.shape, 8)
            except ValueError:
                continue
            made += 1
            np.testing.assert_array_equal(found, samples)
    assert made < 200


def test_a_lack_of_memory_is_not_taken_for_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    def scarce(*given: object) -> None:
        raise MemoryError

    monkeypatch.setattr("paoncodec.images.lossless._png_samples", scarce)
    with pytest.raises(MemoryError):
        read_lossless(*(FILES["rgb png"][0], COLOUR.shape, 8))


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
