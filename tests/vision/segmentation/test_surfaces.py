"""Distances of surfaces: what is said of classes that are not there, and formulas beside MONAI."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.distance import cdist

from paoncodec.errors import ImageError, UsageError
from paoncodec.vision.segmentation.surfaces import surface_distances, voxel_sides

SIDES = np.array([1.0, 2.0, 5.0])


def blob(seed: int, shape: tuple[int, int, int] = (9, 8, 7)) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal(shape)
    return (ndimage.gaussian_filter(noise, 1.0) > 0.05).astype(np.uint8)


def surface(mask: np.ndarray) -> np.ndarray:
    """Places of the outermost voxels, mm."""
    return np.argwhere(mask & ~ndimage.binary_erosion(mask)) * SIDES


def test_a_class_that_the_case_has_not_is_left_out() -> None:
    truth = np.zeros((4, 4, 4), np.uint8)
    hausdorff, dice = surface_distances(blob(0, (4, 4, 4)), truth, 3, SIDES)
    assert np.isnan(hausdorff).all()
    assert np.isnan(dice).all()


def test_a_class_that_was_not_found_is_the_worst() -> None:
    truth = np.zeros((4, 5, 6), np.uint8)
    truth[1, 1, 1] = 2
    hausdorff, dice = surface_distances(np.zeros_like(truth), truth, 3, SIDES)
    np.testing.assert_allclose(hausdorff, [np.nan, np.sqrt(4**2 + 10**2 + 30**2)])
    np.testing.assert_array_equal(dice, [np.nan, 0])


def test_sides_are_those_of_the_affine() -> None:
    turned = np.array([[0, -1.5, 0, 10], [2.0, 0, 0, -20], [0, 0, 5, 3], [0, 0, 0, 1]])
    np.testing.assert_allclose(voxel_sides(turned), [2, 1.5, 5])


def test_wrong_arguments() -> None:
    labels = blob(0)
    with pytest.raises(ImageError, match="must be of one size"):
        surface_distances(labels, labels[1:], 2, SIDES)
    with pytest.raises(UsageError, match="tolerance -1: must be 0 mm or more"):
        surface_distances(labels, labels, 2, SIDES, -1)


def test_without_monai(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "monai", None)
    monkeypatch.setitem(sys.modules, "monai.metrics", None)
    with pytest.raises(UsageError, match=r"take MONAI: pip install 'paoncodec\[surfaces\]'"):
        surface_distances(blob(0), blob(0), 2, SIDES)


@pytest.mark.slow
def test_they_are_the_formulas() -> None:
    pytest.importorskip("monai")
    for seed in range(3):
        found, truth = blob(2 * seed), blob(2 * seed + 1)
        far = cdist(surface(found.astype(bool)), surface(truth.astype(bool)))
        there, back = far.min(1), far.min(0)
        wanted = max(np.percentile(there, 95), np.percentile(back, 95))
        hausdorff, dice = surface_distances(found, truth, 2, SIDES, 2.0)
        assert hausdorff[0] == pytest.approx(wanted, rel=1e-5)
        near = (there <= 2).sum() + (back <= 2).sum()
        assert dice[0] == pytest.approx(near / (len(there) + len(back)), rel=1e-5)
    hausdorff, dice = surface_distances(truth, truth, 2, SIDES, 0.0)
    assert (hausdorff[0], dice[0]) == (0, 1)
