"""Reduction and enlargement against what MATLAB is known to compute."""

from __future__ import annotations

import numpy as np
import pytest

from paoncodec.vision.superres.resize import enlarge, reduce


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def test_half_a_row_has_matlabs_weights() -> None:
    """imresize(x, 0.5): the cubic kernel at odd eighths of its width, wherever it fits."""
    row = np.random.default_rng(1).integers(60, 200, 16, np.uint8)
    weights = np.array([-3, -9, 29, 111, 111, 29, -9, -3]) / 256
    wanted = [np.floor(weights @ row[2 * k - 3 : 2 * k + 5] + 0.5) for k in range(2, 6)]
    found = reduce(np.tile(row, (16, 1))[:, :, None], 2)
    assert found[3, 2:6, 0].tolist() == wanted


def test_enlarged_rows_have_matlabs_weights() -> None:
    """imresize(x, 2): the kernel at quarters."""
    row = np.random.default_rng(2).integers(60, 200, 8, np.uint8)
    weights = np.array([-9, 111, 29, -3]) / 128
    found = enlarge(np.tile(row, (8, 1))[:, :, None], 2)[6, :, 0]
    after = [np.floor(weights @ row[k - 1 : k + 3] + 0.5) for k in range(1, 6)]
    before = [np.floor(weights[::-1] @ row[k - 2 : k + 2] + 0.5) for k in range(2, 6)]
    assert found[3:12:2].tolist() == after
    assert found[4:11:2].tolist() == before


def test_rows_are_whole_numbers_before_columns_are_made() -> None:
    pixels = picture(16, 16)
    halved = np.stack([reduce(np.repeat(pixels[:, [k]], 2, 1), 2)[:, 0] for k in range(16)], 1)
    rows_again = np.stack([reduce(np.repeat(halved[[k]], 2, 0), 2)[0] for k in range(8)])
    assert np.array_equal(reduce(pixels, 2), rows_again)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_what_is_constant_stays_so(scale: int) -> None:
    flat = np.full((13, 9, 3), 77, np.uint8)
    assert (reduce(flat, scale) == 77).all()
    assert (enlarge(flat, scale) == 77).all()


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_sizes(scale: int) -> None:
    assert reduce(picture(13, 8), scale).shape == (-(-13 // scale), -(-8 // scale), 3)
    assert enlarge(picture(5, 3), scale).shape == (5 * scale, 3 * scale, 3)


@pytest.mark.parametrize("turn", [lambda p: p[::-1], lambda p: p[:, ::-1]], ids=["rows", "columns"])
def test_a_mirrored_picture_is_reduced_to_the_mirrored_one(turn) -> None:
    pixels = picture(24, 32)
    assert np.array_equal(reduce(turn(pixels), 4), turn(reduce(pixels, 4)))


def test_a_pixel_alone_is_its_own_continuation() -> None:
    pixel = np.array([[[9, 99, 199]]], np.uint8)
    assert np.array_equal(enlarge(pixel, 4), np.broadcast_to(pixel, (4, 4, 3)))
    assert np.array_equal(reduce(pixel, 4), pixel)
