"""The figures of enlarged pictures against scikit-image's."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from paoncodec.errors import ImageError
from paoncodec.vision.superres.metrics import figures_of, luma


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    before = rng.integers(0, 256, (40, 50, 3), np.uint8)
    after = (before + rng.normal(0, 12, before.shape)).clip(0, 255).astype(np.uint8)
    return before, after


@pytest.mark.parametrize("border", [0, 4])
def test_figures_are_those_of_scikit_image(pair, border: int) -> None:
    found = figures_of(*pair, border)
    inner = [p[border : 40 - border, border : 50 - border].astype(float) for p in pair]
    bright = [luma(p) for p in inner]
    assert found["psnr-rgb"] == pytest.approx(peak_signal_noise_ratio(*inner, data_range=255))
    assert found["psnr-y"] == pytest.approx(peak_signal_noise_ratio(*bright, data_range=255))
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    wanted = structural_similarity(*bright, data_range=255, **options)
    assert found["ssim-y"] == pytest.approx(wanted, abs=1e-6)


def test_the_border_does_not_count(pair) -> None:
    before, after = pair
    spoilt = after.copy()
    spoilt[:4] = spoilt[-4:] = spoilt[:, :4] = spoilt[:, -4:] = 0
    assert figures_of(before, after, 4) == figures_of(before, spoilt, 4)


def test_luma_is_that_of_studio_range() -> None:
    ends = np.array([[[0.0, 0, 0], [255, 255, 255], [255, 0, 0]]])
    assert luma(ends)[0] == pytest.approx([16, 235, 16 + 65.481])
    assert luma(np.array([[[255.0]]]))[0] == pytest.approx([235])


def test_equal_pictures_are_infinitely_good(pair) -> None:
    found = figures_of(pair[0], pair[0], 2)
    assert found == {"psnr-rgb": np.inf, "psnr-y": np.inf, "ssim-y": pytest.approx(1)}


def test_what_cannot_be_measured(pair) -> None:
    with pytest.raises(ImageError, match="one size"):
        figures_of(pair[0], pair[1][1:], 0)
    with pytest.raises(ImageError, match="19 pixels a side"):
        figures_of(pair[0][:18], pair[1][:18], 4)
