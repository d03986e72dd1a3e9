"""Pictures to probabilities."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from paoncodec.errors import ImageError
from paoncodec.vision.classification import PadeResNet, classify
from paoncodec.vision.classification.prediction import fitted, logits_of
from paoncodec.vision.parts import to_range


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)


def test_probabilities_are_those_of_the_network(tiny: PadeResNet, pixels: np.ndarray) -> None:
    found = classify(tiny, pixels)
    x = to_range(torch.from_numpy(pixels).permute(2, 0, 1))[None]
    wanted = tiny(x)[0].softmax(0)
    assert found == pytest.approx(dict(zip(tiny.classes, wanted.tolist(), strict=True)), rel=1e-5)
    assert list(found.values()) == sorted(found.values(), reverse=True)
    assert sum(found.values()) == pytest.approx(1)


def test_grey_is_three_equal_planes(tiny: PadeResNet, pixels: np.ndarray) -> None:
    grey = pixels[..., :1]
    assert classify(tiny, grey) == classify(tiny, np.repeat(grey, 3, 2))


@pytest.mark.parametrize("shape", [(32, 31, 3), (16, 16, 3), (32, 32, 4), (32, 32, 2)])
def test_other_shapes_are_refused(tiny: PadeResNet, shape: tuple[int, int, int]) -> None:
    height, width, channels = shape
    with pytest.raises(ImageError, match=f"{width}x{height} pixels, {channels} channels"):
        classify(tiny, np.zeros(shape, np.uint8))


def test_unsound_weights_are_refused(tiny: PadeResNet, pixels: np.ndarray) -> None:
    torch.nn.init.constant_(tiny.blocks[0].first[1].bias, torch.nan)
    with pytest.raises(ImageError, match="not numbers"):
        classify(tiny, pixels)


def test_many_pictures_are_as_each_by_itself(tiny: PadeResNet) -> None:
    many = np.random.default_rng(0).integers(0, 256, (260, 8, 8, 3), np.uint8)
    found = logits_of(tiny, many)
    assert found.shape == (260, 2)
    for k in (0, 249, 250, 259):
        torch.testing.assert_close(found[k : k + 1], logits_of(tiny, many[k : k + 1]))


def test_the_middle_is_fitted() -> None:
    wide = np.zeros((40, 100, 3), np.uint8)
    wide[:, 30:70] = 200
    assert (fitted(wide, 16) == 200).all()
    grey = np.full((9, 7, 1), 50, np.uint8)
    assert np.array_equal(fitted(grey, 4), np.full((4, 4, 1), 50))
    assert np.array_equal(fitted(grey[:7], 7), grey[:7])
