"""Alpha without loss or trust; hidden colours cheap, seen ones untouched."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from paoncodec.images import alpha_bytes, fill_hidden, read_alpha

RNG = np.random.default_rng(3)


def saved(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(1, 1), (1, 17), (64, 64), (65, 127), (2, 20000)])
def test_alpha_comes_back_as_it_was(shape: tuple[int, int], dtype: type) -> None:
    peak = np.iinfo(dtype).max
    noise = RNG.integers(0, peak, shape, dtype=dtype, endpoint=True)
    disc = (np.hypot(*np.indices(shape)) < 40).astype(dtype) * peak
    for alpha in (noise, disc, np.zeros_like(noise), np.full_like(noise, peak)):
        again = read_alpha(alpha_bytes(alpha), *shape, depth=8 * alpha.itemsize)
        assert again.dtype == dtype
        np.testing.assert_array_equal(again, alpha)


def test_both_kinds_of_files_are_used() -> None:
    disc = (np.hypot(*np.indices((200, 200))) * 2).clip(0, 255).astype(np.uint8)
    assert alpha_bytes(disc)[8:12] == b"WEBP"
    assert alpha_bytes(disc.astype(np.uint16))[1:4] == b"PNG"


ALPHA = RNG.integers(0, 256, (20, 30), dtype=np.uint8)
PNG = saved(Image.fromarray(ALPHA), "PNG")
WEBP = saved(Image.fromarray(ALPHA), "WEBP", lossless=True)


@pytest.mark.parametrize("data", [PNG, WEBP], ids=["png", "webp"])
def test_another_size_or_depth_is_refused(data: bytes) -> None:
    np.testing.assert_array_equal(read_alpha(data, 20, 30, 8), ALPHA)
    for height, width, depth in ((30, 20, 8), (20, 31, 8), (20, 30, 16)):
        with pytest.raises(ValueError, match=r"is neither|legal: "):
            read_alpha(data, height, width, depth)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"alpha",
        saved(Image.fromarray(ALPHA), "TIFF"),
        saved(Image.fromarray(ALPHA).convert("RGB"), "PNG"),
        saved(Image.fromarray(ALPHA), "WEBP"),  # with loss
        saved(Image.fromarray(RNG.integers(0, 256, (20, 30, 3), np.uint8)), "WEBP", lossless=True),
        saved(Image.fromarray(np.zeros((20, 30, 4), np.uint8)), "WEBP", lossless=True, exact=True),
        PNG[:-100],
        WEBP[:-100],
    ],
)
def test_what_is_no_such_file_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"^is "):
        read_alpha(data, 20, 30, 8)


@pytest.mark.parametrize("data", [PNG, WEBP], ids=["png", "webp"])
def test_damage_gives_an_alpha_of_its_size_or_an_error(data: bytes) -> None:
    for _ in range(200):
        damaged = bytearray(data)
        for at in RNG.integers(len(data), size=2):
            damaged[at] ^= 1 << RNG.integers(8)
        try:
            alpha = read_alpha(bytes(damaged), 20, 30, 8)
        except ValueError:
            continue
        assert (alpha.shape, alpha.dtype) == ((20, 30), np.uint8)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(1, 1), (1, 17), (37, 53)])
def test_seen_colours_are_untouched_and_hidden_ones_lie_among_them(
    shape: tuple[int, int], dtype: type
) -> None:
    samples = RNG.integers(100, 200, (*shape, 3), dtype=dtype)
    alpha = RNG.integers(0, 3, shape).astype(dtype)
    filled = fill_hidden(samples, alpha)
    assert filled.dtype == dtype
    np.testing.assert_array_equal(filled[alpha > 0], samples[alpha > 0])
    if (alpha > 0).any():
        seen = samples[alpha > 0]
        assert (filled >= seen.min(axis=0)).all()
        assert (filled <= seen.max(axis=0)).all()


def test_what_is_hidden_does_not_matter() -> None:
    alpha = np.zeros((40, 50), np.uint8)
    alpha[10:20, 15:30] = 9
    one, two = (RNG.integers(0, 256, (40, 50, 3), dtype=np.uint8) for _ in range(2))
    two[alpha > 0] = one[alpha > 0]
    np.testing.assert_array_equal(fill_hidden(one, alpha), fill_hidden(two, alpha))


def test_a_flat_colour_goes_on_to_the_border_and_nothing_seen_is_black() -> None:
    samples, alpha = np.zeros((33, 70, 3), np.uint8), np.zeros((33, 70), np.uint8)
    samples[5, 60], alpha[5, 60] = (200, 30, 7), 1
    assert (fill_hidden(samples, alpha) == (200, 30, 7)).all()
    assert not fill_hidden(samples, np.zeros_like(alpha)).any()
    assert fill_hidden(samples, None) is samples
    assert fill_hidden(samples, np.ones_like(alpha)) is samples


def test_the_fill_is_smooth() -> None:
    """Between two colours it goes over from one to the other."""
    samples, alpha = np.zeros((64, 64, 1), np.uint8), np.zeros((64, 64), np.uint8)
    samples[:, :8], samples[:, 56:] = 40, 200
    alpha[:, :8] = alpha[:, 56:] = 255
    row = fill_hidden(samples, alpha)[30, :, 0].astype(int)
    steps = np.diff(row)
    assert steps.min() >= -1
    assert steps.max() <= 30
