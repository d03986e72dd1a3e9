"""The map of bits: what it adds up to, and what is drawn."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from paoncodec.api import RateMap
from paoncodec.errors import UsageError
from paoncodec.evaluation.rate_map import density, draw

FINE = np.zeros((8, 12))
FINE[2, 5] = 256.0
COARSE = np.zeros((2, 3))
COARSE[1, 2] = 160.0
WHERE = RateMap({"z": COARSE, "y": FINE}, (128, 192))


def test_bits_are_spread_over_their_pixels():
    rates = density(WHERE)
    assert rates.shape == (8, 12)
    assert rates[2, 5] == 1.0  # 256 bits on 16 × 16 pixels
    assert rates[4:, 8:].tolist() == [[160 / 64**2] * 4] * 4
    assert rates.mean() == pytest.approx((256 + 160) / (128 * 192))


@pytest.mark.parametrize("shape", [(100, 180, 3), (180, 100, 1), (1, 1, 3), (5, 300, 3)])
def test_pictures_of_any_shape(shape):
    size = tuple(-(-side // 64) * 64 for side in shape[:2])
    bits = {
        "z": np.ones((size[0] // 64, size[1] // 64)),
        "y": np.ones((size[0] // 16, size[1] // 16)),
    }
    content = draw(RateMap(bits, size), np.full(shape, 99, np.uint8), "png", "title")
    with Image.open(io.BytesIO(content)) as image:
        assert min(image.size) > 100


def test_the_map_is_bright_where_the_bits_are():
    content = draw(WHERE, np.zeros((128, 192, 3), np.uint8), "png", "title")
    pixels = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), int)
    pixels = pixels[:, : pixels.shape[1] * 3 // 4]  # the scale stands beside the map
    yellow = (pixels[:, :, 0] > 230) & (pixels[:, :, 2] < 215)
    rows, columns = np.nonzero(yellow)
    dark = pixels.sum(axis=2) < 60
    [full] = np.nonzero(dark.mean(axis=1) > 0.4)  # rows of picture or map, not of the title
    [inside] = np.nonzero(dark[full].mean(axis=0) > 0.4)
    top, left, height = full[0], inside[0], full[-1] - full[0]
    # The map is the lower of two of one height: its third row, its sixth column.
    assert (rows.mean() - top) / height == pytest.approx(0.5 + 2.5 / 16, abs=0.02)
    width = height / 2 * 12 / 8
    assert (columns.mean() - left) / width == pytest.approx(5.5 / 12, abs=0.02)


def test_another_format_is_refused():
    with pytest.raises(UsageError, match="choose one of"):
        draw(WHERE, np.zeros((128, 192, 3), np.uint8), "gif", "t")
