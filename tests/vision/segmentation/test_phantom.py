"""Phantoms: seeded, with every organ, partial volume and noise, and a data set of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from paoncodec.errors import UsageError
from paoncodec.vision.segmentation.phantom import CLASSES, FAT, make_phantom, write_phantoms
from paoncodec.vision.segmentation.volumes import check_pair, read_labels, read_volume

SHAPE = (40, 36, 32)


def test_equal_seeds_make_equal_phantoms() -> None:
    first, second, other = (make_phantom(seed, SHAPE) for seed in (3, 3, 4))
    for one, two, third in zip(first, second, other, strict=True):
        np.testing.assert_array_equal(one.values, two.values)
        assert (one.values != third.values).any()


@pytest.mark.parametrize("seed", range(5))
def test_every_organ_is_there(seed: int) -> None:
    image, labels = make_phantom(seed, SHAPE)
    assert (image.values.shape, labels.values.shape) == (SHAPE, SHAPE)
    counts = np.bincount(labels.values.ravel(), minlength=len(CLASSES))
    assert counts.min() > 60
    assert counts.argmax() == 0


def test_borders_share_their_voxels() -> None:
    image, labels = make_phantom(0, SHAPE, noise=0)
    aorta = image.values[labels.values == 6]
    values, counts = np.unique(aorta, return_counts=True)
    whole = values[counts.argmax()]
    assert whole == pytest.approx(230, abs=25)
    assert 0.2 < np.mean(aorta < whole - 1) < 0.8  # shared with what is around it
    air = image.values[0, 0]
    assert np.unique(air).tolist() == [-1000]
    assert (image.values == FAT).any()


def test_noise_is_as_told() -> None:
    clean, _ = make_phantom(0, SHAPE, noise=0)
    noisy, _ = make_phantom(0, SHAPE, noise=20)
    assert (noisy.values - clean.values).std() == pytest.approx(20, rel=0.02)


def test_space_is_centred() -> None:
    image, _ = make_phantom(0, SHAPE, spacing=2.0)
    middle = image.affine @ [*((n - 1) / 2 for n in SHAPE), 1]
    np.testing.assert_allclose(middle, [0, 0, 0, 1])
    assert image.affine.diagonal().tolist() == [-2, 2, 2, 1]


def test_right_is_right() -> None:
    image, labels = make_phantom(0, SHAPE)
    for name, side in (("liver", 1), ("right kidney", 1), ("spleen", -1), ("left kidney", -1)):
        label = next(number for number, called in CLASSES.items() if called == name)
        centre = np.argwhere(labels.values == label).mean(0)
        assert side * (image.affine @ [*centre, 1])[0] > 10


def test_a_data_set_is_as_amos_has_it(tmp_path: Path) -> None:
    folder = tmp_path / "phantoms"
    write_phantoms(folder, 2, 1, (16, 18, 20))
    about = json.loads((folder / "dataset.json").read_text())
    assert about["labels"]["6"] == "aorta"
    assert (len(about["training"]), len(about["validation"])) == (2, 1)
    assert about["validation"][0]["label"] == "./labelsVa/phantom_0002.nii.gz"
    seen = []
    for entry in about["training"] + about["validation"]:
        image = read_volume(folder / entry["image"])
        labels = read_labels(folder / entry["label"], len(CLASSES))
        check_pair(image, labels, entry["image"])
        assert image.values.shape == (16, 18, 20)
        seen.append(image.values.tobytes())
    assert len(set(seen)) == 3
    with pytest.raises(UsageError, match="not empty"):
        write_phantoms(folder, 1, 1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"shape": (8, 64, 64)}, "sides must be >= 16"),
        ({"spacing": 0.0}, "spacing 0.0"),
        ({"noise": -1.0}, "noise -1.0"),
    ],
)
def test_impossible_phantoms_are_refused(options: dict, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        make_phantom(0, **options)
