"""Figures of distortion: closed forms, known values, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from paoncodec.errors import UsageError
from paoncodec.evaluation.metrics import (
    bits_per_pixel,
    check_lpips,
    decibels,
    lpips_distance,
    ms_ssim,
)


@pytest.fixture(scope="module")
def picture():
    return np.random.default_rng(0).integers(0, 256, (176, 192, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def alexnet(tmp_path_factory):
    """A state dict of torchvision's AlexNet that has learned nothing."""
    from torchvision.models import alexnet

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("lpips") / "alexnet.pth"
    torch.save(alexnet(weights=None).state_dict(), path)
    return str(path)


def test_every_byte_counts(picture):
    assert bits_per_pixel(176 * 192, picture) == 8


def test_ms_ssim_is_1_only_for_equal_pictures(picture):
    assert ms_ssim(picture, picture) == pytest.approx(1)
    noisy = (picture.astype(int) + np.random.default_rng(1).normal(0, 25, picture.shape)).clip(
        0, 255
    )
    little = (0.9 * picture + 0.1 * noisy).astype(np.uint8)
    much = noisy.astype(np.uint8)
    assert 0 < ms_ssim(picture, much) < ms_ssim(picture, little) < 1


def test_ms_ssim_is_what_compressai_computes(picture):
    from pytorch_msssim import ms_ssim as theirs

    other = picture[::-1].copy()
    x, y = (torch.from_numpy(p.copy()).permute(2, 0, 1)[None].float() for p in (picture, other))
    assert ms_ssim(picture, other) == pytest.approx(theirs(x, y, data_range=255).item(), abs=1e-7)


def test_grey_counts_as_three_equal_channels(picture):
    grey, other = picture[:, :, :1], picture[::-1, :, :1].copy()
    colour = ms_ssim(np.repeat(grey, 3, axis=2), np.repeat(other, 3, axis=2))
    assert ms_ssim(grey, other) == pytest.approx(colour, abs=1e-6)


def test_a_small_picture_has_no_ms_ssim(picture):
    assert ms_ssim(picture[:161, :161], picture[:161, :161]) == pytest.approx(1)
    assert ms_ssim(picture[:160], picture[:160]) is None


@pytest.mark.parametrize(("similarity", "level"), [(0, 0), (0.9, 10), (0.99, 20), (1, math.inf)])
def test_decibels(similarity, level):
    assert decibels(similarity) == pytest.approx(level)


def test_lpips_with_weights_from_a_file(picture, alexnet):
    assert lpips_distance(picture, picture, alexnet) == 0
    assert lpips_distance(picture, 255 - picture, alexnet) > 0
    assert len(check_lpips(alexnet)["weights_sha256"]) == 64


def test_lpips_takes_the_weights_of_the_file(picture, alexnet, tmp_path):
    state = torch.load(alexnet, weights_only=True)
    other = tmp_path / "other.pth"
    torch.save({name: 2 * tensor for name, tensor in state.items()}, other)
    inverted = 255 - picture
    first, second = (lpips_distance(picture, inverted, str(p)) for p in (alexnet, other))
    assert first != second
    assert lpips_distance(picture, inverted, alexnet) == first


@pytest.mark.parametrize("content", [b"no weights", None, {"features.0.weight": torch.zeros(1)}])
def test_other_files_are_no_lpips_weights(tmp_path, content):
    path = tmp_path / "weights.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(UsageError, match=r"weights\.pth: not torchvision's AlexNet"):
        check_lpips(str(path))
