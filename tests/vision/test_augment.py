"""What is done to pictures before a network sees them."""

from __future__ import annotations

import numpy as np
import pytest

from paoncodec.vision.augment import photons, resized_part, tilted


def test_parts_are_of_all_sizes_within_the_limits() -> None:
    """Of a picture whose values tell where they are from."""
    side = 64
    place = np.arange(side, dtype=np.uint8) * np.uint8(3)
    pixels = np.stack(np.broadcast_arrays(place[:, None], place[None], np.uint8(0)), -1)
    rng = np.random.default_rng(0)
    shares, ratios = [], []
    for _ in range(300):
        part = resized_part(pixels, 32, rng).astype(float)
        high, wide = (np.ptp(part[..., c]) / 3 + 1 for c in (0, 1))
        shares.append(high * wide / side**2)
        ratios.append(wide / high)
    assert 0.05 < min(shares) < 0.15
    assert 0.85 < max(shares) < 1.02
    assert 0.68 < min(ratios) < 0.82
    assert 1.22 < max(ratios) < 1.45


def test_parts_of_long_pictures_are_no_longer_than_the_ratio_says() -> None:
    pixels = np.zeros((2, 400, 3), np.uint8)
    assert resized_part(pixels, 8, np.random.default_rng(0)).shape == (8, 8, 3)


def test_turned_pictures_are_black_where_nothing_was() -> None:
    pixels = np.full((40, 40, 3), 200, np.uint8)
    assert tilted(pixels, 0) is pixels
    found = tilted(pixels, 20)
    assert (found[20, 20] == 200).all()
    assert (found[0, 0] == 0).all()


def test_noise_is_poissons() -> None:
    pixels = np.full((200, 200, 3), 102, np.uint8)
    for white in (100.0, 255.0):
        found = photons(pixels, white, np.random.default_rng(0)).astype(float)
        assert found.mean() == pytest.approx(102, rel=0.01)
        # n photons have the variance n, n = 102 / 255 of white
        assert found.std() == pytest.approx(255 / white * np.sqrt(0.4 * white), rel=0.02)
