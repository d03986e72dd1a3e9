"""Results of segmentation: cases, intervals, failures, comparisons."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from paoncodec.errors import UsageError
from paoncodec.evaluation import segmentation
from paoncodec.evaluation.segmentation import Options, comparison, evaluate, read_result
from paoncodec.vision.segmentation import build
from paoncodec.vision.segmentation.data import Cases, read_cases, read_pair
from paoncodec.vision.segmentation.phantom import CLASSES, write_phantoms
from paoncodec.vision.segmentation.weights import Segmenter

OPTIONS = {"widths": (4, 6), "depths": (1, 1)}


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Cases:
    folder = tmp_path_factory.mktemp("data") / "phantoms"
    write_phantoms(folder, 4, 1, (18, 16, 16))
    return read_cases(folder)


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    torch.manual_seed(0)
    model = build("pure-resunet", len(CLASSES), OPTIONS).eval()
    return Segmenter(model, tuple(CLASSES.values()), (-160.0, 300.0))


def measured(cases: Cases, segmenter: Segmenter, name: str = "tiny") -> dict:
    heard = []
    found = evaluate(
        cases.training,
        segmenter,
        Options(),
        name=name,
        dataset="phantoms",
        command=["x"],
        progress=lambda case, fault: heard.append((case, fault)),
    )
    assert [case for case, _ in heard] == [case.name for case in cases.training]
    return found


def test_a_perfect_segmentation_is_1(cases, segmenter, monkeypatch) -> None:
    truths = iter([read_pair(case, len(CLASSES))[1].values for case in cases.training])
    monkeypatch.setattr(segmentation, "segment", lambda *arguments: next(truths))
    found = measured(cases, segmenter)
    assert found["results"]["mdice"] == {"mean": 1, "low": 1, "high": 1, "cases": 4}
    assert found["cases"][0]["dice"]["aorta"] == 1


def test_a_class_that_a_case_has_not_is_null(cases, segmenter, monkeypatch) -> None:
    truth = read_pair(cases.training[0], len(CLASSES))
    without = np.where(truth[1].values == 6, 0, truth[1].values)
    monkeypatch.setattr(
        segmentation, "read_pair", lambda *a: (truth[0], type(truth[1])(without, truth[1].affine))
    )
    monkeypatch.setattr(segmentation, "segment", lambda *arguments: truth[1].values)
    found = measured(cases, segmenter)
    assert found["cases"][0]["dice"]["aorta"] is None
    assert found["cases"][0]["mdice"] == 1
    assert found["results"]["dice"]["aorta"] == {
        "mean": None,
        "low": None,
        "high": None,
        "cases": 0,
    }
    json.dumps(found, allow_nan=False)


def test_results_are_read_and_compared(cases, segmenter, tmp_path: Path) -> None:
    first = measured(cases, segmenter)
    path = tmp_path / "a.json"
    path.write_text(json.dumps(first, allow_nan=False))
    assert read_result(path) == first
    second = json.loads(path.read_text())
    second["name"] = "better"
    for number, row in enumerate(second["cases"]):
        row["mdice"] += 0.1 + number / 100
        row["dice"]["liver"] += 0.01 * (number + 1)
    found = comparison(first, second)
    assert (found["first"], found["second"]) == ("tiny", "better")
    assert found["mdice"]["difference"]["mean"] == pytest.approx(0.115)
    assert found["mdice"]["p"] == pytest.approx(2 / 16)
    assert found["dice"]["liver"]["p"] == pytest.approx(2 / 16)
    assert found["dice"]["liver"]["q"] == pytest.approx(min(1, 7 * 2 / 16))
    assert found["dice"]["spleen"] == {
        "difference": {"mean": 0, "low": 0, "high": 0, "cases": 4},
        "p": 1,
        "q": 1,
    }


def test_surfaces_are_measured_where_they_are_asked_for(cases, segmenter, monkeypatch) -> None:
    given = []

    def distances(found, truth, classes, sides, tolerance):
        given.append((sides.tolist(), tolerance))
        return np.full(classes - 1, 3.0 + len(given)), np.array([np.nan, *[0.5] * (classes - 2)])

    monkeypatch.setattr(segmentation, "require_monai", lambda: None)
    monkeypatch.setattr(segmentation, "surface_distances", distances)
    monkeypatch.setattr(segmentation, "segment", lambda *a: np.zeros((18, 16, 16), np.uint8))
    looked = []
    found = evaluate(
        cases.training,
        segmenter,
        Options(surfaces=True, tolerance=4.0),
        name="tiny",
        dataset="phantoms",
        command=["x"],
        progress=lambda *a: None,
        look=lambda case, *volumes: looked.append(case.name),
    )
    assert given == [([5.0, 5.0, 5.0], 4.0)] * 4
    assert looked == [case.name for case in cases.training]
    assert found["tolerance"] == 4.0
    assert found["results"]["mhd95"]["mean"] == 5.5
    assert found["cases"][1]["mhd95"] == 5.0
    assert found["cases"][1]["surface_dice"]["liver"] is None
    assert found["results"]["msurface_dice"]["mean"] == 0.5
    against = comparison(found, found)
    assert set(against["hd95"]) == set(found["classes"])
    plain = {**found, "results": {k: found["results"][k] for k in ("mdice", "dice")}}
    assert set(comparison(plain, found)) == {"first", "second", "cases", "mdice", "dice"}


def test_results_of_other_cases_are_not_compared(cases, segmenter) -> None:
    first = measured(cases, segmenter)
    with pytest.raises(UsageError, match="without a case in common"):
        comparison({**first, "cases": first["cases"][:1]}, {**first, "cases": first["cases"][1:]})
    with pytest.raises(UsageError, match="other classes"):
        comparison(first, {**first, "classes": ["liver"]})


def test_cases_are_compared_by_name(cases, segmenter) -> None:
    """In any order, and those that only one of the results has are left out."""
    first = measured(cases, segmenter)
    rows = [{**row, "mdice": row["mdice"] + n} for n, row in enumerate(first["cases"])]
    found = comparison(first, {**first, "cases": rows[:0:-1]})
    assert found["cases"] == 3
    assert found["mdice"]["difference"]["mean"] == pytest.approx(2)


def test_cases_that_cannot_be_read_are_named(segmenter, tmp_path: Path) -> None:
    write_phantoms(tmp_path / "p", 4, 0, (16, 16, 16))
    cases = read_cases(tmp_path / "p")
    cases.training[1].image.write_bytes(b"none")
    found = measured(cases, segmenter)
    assert [row["case"] for row in found["failures"]] == ["phantom_0001"]
    assert "not a sound NIfTI" in found["failures"][0]["error"]
    assert found["dataset"]["cases"] == 3


def test_other_files_are_no_results(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with pytest.raises(UsageError, match="No such file"):
        read_result(path)
    row = {"case": "a", "mdice": 0.5, "dice": {"liver": None}}
    whole = {"task": "segmentation", "name": "x", "classes": ["liver"], "results": {}}
    wrong = (
        {**whole, "cases": [{}]},
        {**whole, "cases": [{**row, "mdice": "x"}]},
        {**whole, "cases": [{**row, "dice": {"spleen": 1}}]},
        {**whole, "cases": [{**row, "dice": 1}]},
        {**whole, "cases": [row], "name": None},
        {k: v for k, v in {**whole, "cases": [row]}.items() if k != "name"},
    )
    for text in ("{", "[]", '{"task": "superres"}', *map(json.dumps, wrong)):
        path.write_text(text)
        with pytest.raises(UsageError, match=r"a\.json: not a result of segmentation"):
            read_result(path)
    path.write_text(json.dumps({**whole, "cases": [row]}))
    assert read_result(path)["cases"] == [row]
