"""Data sets in AMOS's layout, and the slices of a run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from paoncodec.errors import ImageError, UsageError
from paoncodec.vision.segmentation.data import (
    Case,
    Slices,
    SliceSpec,
    read_cases,
    read_pair,
    split_cases,
)
from paoncodec.vision.segmentation.inference import normalised
from paoncodec.vision.segmentation.phantom import CLASSES

PLAIN = {"rotation": 0.0, "noise": 0.0, "scale": 0.0, "shift": 0.0}


def slices(folder: Path, size: int = 24, **options: float) -> Slices:
    cases = read_cases(folder)
    return Slices(cases.training[:2], len(cases.classes), SliceSpec(size, **options))


def test_a_description_is_read(phantoms: Path) -> None:
    cases = read_cases(phantoms)
    assert cases.classes == tuple(CLASSES.values())
    assert [case.name for case in cases.training] == [f"phantom_000{n}" for n in range(4)]
    assert len(cases.validation) == 2
    image, labels = read_pair(cases.validation[0], len(cases.classes))
    assert image.values.shape == labels.values.shape == (20, 18, 16)


def test_descriptions_that_are_none(phantoms: Path, tmp_path: Path) -> None:
    path = tmp_path / "dataset.json"
    with pytest.raises(UsageError, match=r"dataset\.json: No such file"):
        read_cases(tmp_path)
    about = json.loads((phantoms / "dataset.json").read_text())
    for change, said in (
        ("{", "not a description"),
        ("[]", "not a description"),
        (json.dumps({**about, "labels": {"0": "a", "2": "b"}}), "without a gap"),
        (json.dumps({**about, "labels": {"0": "a"}}), "labels"),
        (json.dumps({**about, "training": [{"image": "a.nii"}]}), "'label'"),
        (json.dumps(about), "is named in dataset.json, and missing"),
    ):
        path.write_text(change)
        with pytest.raises(UsageError, match=said):
            read_cases(tmp_path)


def test_cases_that_do_not_fit(phantoms: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(phantoms, folder)
    cases = read_cases(folder)
    with pytest.raises(ImageError, match="has the label"):
        read_pair(cases.training[0], 3)
    cases.training[0].labels.write_bytes(cases.training[0].image.read_bytes()[:-9])
    with pytest.raises(ImageError, match=r"labelsTr/phantom_0000\.nii\.gz: not a sound"):
        read_pair(cases.training[0], 8)


def test_every_slice_comes_once_an_epoch(phantoms: Path) -> None:
    made = slices(phantoms, **PLAIN)
    count = 2 * (20 + 18 + 16)
    assert len(made.places) == len(set(made.places)) == count
    drawn = [made._order[n] % count for n in range(count)]
    assert sorted(drawn) == list(range(count))


def test_plain_slices_are_those_of_the_volume(phantoms: Path) -> None:
    made = slices(phantoms, **PLAIN)
    image, labels = read_pair(made.cases[0], made.classes)
    values = normalised(image.values).astype(np.float16).astype(np.float32)
    number = next(n for n in range(99) if made.places[made._order[n] % 108][:2] == (0, 1))
    index = made.places[made._order[number] % 108][2]
    x, y = made[number]
    assert (x.shape, x.dtype, y.dtype) == ((1, 24, 24), torch.float32, torch.int64)
    assert sorted(x[x > -1].tolist()) == sorted(values[:, index][values[:, index] > -1].tolist())
    counts = np.bincount(labels.values[:, index].ravel(), minlength=8)
    assert (torch.bincount(y.flatten(), minlength=8).numpy() - counts)[1:].tolist() == [0] * 7


def test_labels_follow_the_picture(phantoms: Path) -> None:
    """A bright aorta stays under its label however it is turned, mirrored and cut."""
    made = slices(phantoms, 16, noise=0.0)
    bright = [x[0][y == 6] for x, y in (made[n] for n in range(60))]
    assert torch.cat(bright).mean() > 0.45
    other = torch.cat([x[0][y == 0] for x, y in (made[n] for n in range(60))])
    assert other.mean() < 0


def test_samples_are_functions_of_their_number(phantoms: Path) -> None:
    first, again = slices(phantoms), slices(phantoms, cache_bytes=0)
    for number in (7, 3, 200):
        assert all(map(torch.equal, first[number], again[number]))
    assert len(again._kept) == 1
    assert len(first._kept) == 2
    assert not torch.equal(first[0][0], slices(phantoms, seed=1)[0][0])


@pytest.mark.parametrize(("fraction", "count"), [(0.1, 2), (0.25, 6), (0.001, 1), (0.999, 23)])
def test_a_share_of_the_cases_is_held_out(fraction: float, count: int) -> None:
    cases = [Case(Path(f"{name:04}.nii.gz"), Path("labels.nii.gz")) for name in range(24)]
    training, held_out = split_cases(cases, fraction)
    assert len(held_out) == count
    assert sorted((*training, *held_out), key=lambda case: case.name) == cases
    other = split_cases(cases[::-1], fraction)
    assert set(other[1]) == set(held_out)
    assert other[0] == training[::-1]


def test_a_single_case_is_not_held_out(phantoms: Path) -> None:
    case = read_cases(phantoms).training[:1]
    assert split_cases(case, 0.5) == (case, ())
    assert split_cases((), 0.5) == ((), ())


def test_slices_of_no_cases_are_refused() -> None:
    with pytest.raises(UsageError, match="no cases"):
        Slices((), 2, SliceSpec(8))


def test_the_ct_of_amos_is_taken(phantoms: Path, tmp_path: Path) -> None:
    """Its folder has both, told apart by the number of a case."""
    folder = shutil.copytree(phantoms, tmp_path / "amos22")
    text = (folder / "dataset.json").read_text()
    numbers = (1, 499, 500, 600, 8, 507)
    for place, number in enumerate(numbers):
        text = text.replace(f"phantom_{place:04}", f"amos_{number:04}")
        for path in list(folder.rglob(f"phantom_{place:04}.nii.gz")):
            path.rename(path.with_name(f"amos_{number:04}.nii.gz"))
    (folder / "dataset.json").write_text(text)
    found = read_cases(folder)
    assert [case.name for case in found.training] == ["amos_0001", "amos_0499"]
    assert [case.name for case in found.validation] == ["amos_0008"]
    assert found.of_mr == ("amos_0500", "amos_0600", "amos_0507")
    assert read_cases(phantoms).of_mr == ()
