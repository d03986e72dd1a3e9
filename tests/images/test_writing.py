"""Rounding to 8 bit, and files that hold exactly what was given."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paoncodec.errors import ImageError, UsageError
from paoncodec.images import image_bytes, read_image, to_pil, to_uint8, write_image

RGB = np.random.default_rng(2).integers(0, 256, (5, 7, 3), dtype=np.uint8)
GREY = RGB[:, :, :1]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_every_sample_survives_the_way_through_floats(dtype: type) -> None:
    samples = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(to_uint8((samples / 255).astype(dtype)), samples)


def test_halves_go_to_the_even_neighbour() -> None:
    # 0.5 · 255 = 127.5 and 0.1 · 255 = 25.5, both exact after the product is rounded to float64.
    np.testing.assert_array_equal(to_uint8(np.array([0.5, 0.1])), [128, 26])
    np.testing.assert_array_equal(to_uint8(np.array([0.5 / 255, 1.5 / 255, 2.5 / 255])), [0, 2, 2])


@given(st.floats(0, 1, width=32))
def test_the_nearest_sample_is_taken(value: float) -> None:
    exact = Fraction(value) * 255
    sample = int(to_uint8(np.array(value, np.float32)))
    # The product is rounded once, by 2⁻²⁴ of it at most.
    assert abs(sample - exact) <= Fraction(1, 2) + exact / 2**24


def test_values_beyond_the_range_are_clipped() -> None:
    x = np.array([-np.inf, -1e30, -1e-9, 1 + 1e-6, 7.0, np.inf], np.float32)
    np.testing.assert_array_equal(to_uint8(x), [0, 0, 0, 255, 255, 255])


def test_a_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        to_uint8(np.array([[0.5, np.nan]]))


def test_integers_are_refused() -> None:
    with pytest.raises(TypeError, match="floats"):
        to_uint8(np.array([0, 1]))


@pytest.mark.parametrize(("pixels", "mode"), [(RGB, "RGB"), (GREY, "L"), (GREY[:, :, 0], "L")])
def test_pillow_images_hold_the_same_samples(pixels: np.ndarray, mode: str) -> None:
    image = to_pil(pixels[::-1])
    assert image.mode == mode
    np.testing.assert_array_equal(np.array(image), np.squeeze(pixels[::-1]))


@pytest.mark.parametrize(
    "array", [np.zeros((4, 4)), np.zeros((4, 4, 4), np.uint8), np.zeros(4, np.uint8)]
)
def test_other_arrays_make_no_image(array: np.ndarray) -> None:
    with pytest.raises(ImageError, match="must be uint8"):
        to_pil(array)


@pytest.mark.parametrize("format", ["png", "PNG", "ppm", "bmp", "tif", "tiff", "webp"])
def test_files_are_lossless(format: str, tmp_path: Path) -> None:
    path = tmp_path / f"picture.{format}"
    write_image(RGB, path)
    np.testing.assert_array_equal(read_image(path), RGB)
    buffer = io.BytesIO()
    write_image(RGB, buffer, format)
    assert buffer.getvalue() == path.read_bytes() == image_bytes(RGB, format)


@pytest.mark.parametrize("format", ["png", "pgm", "bmp", "tif"])
def test_grey_stays_grey(format: str) -> None:
    np.testing.assert_array_equal(read_image(image_bytes(GREY, format)), GREY)


def test_a_file_object_gets_png_unless_told() -> None:
    buffer = io.BytesIO()
    write_image(RGB, buffer)
    assert buffer.getvalue().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["picture.jpg", "picture.xyz", "picture"])
def test_lossy_and_unknown_formats_are_refused_and_leave_no_file(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"lossless, one of png"):
        write_image(RGB, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_picture_too_large_for_its_format_is_an_image_error() -> None:
    with pytest.raises(ImageError, match="20000x1 cannot be saved as webp"):
        image_bytes(np.zeros((1, 20000, 3), np.uint8), "webp")
