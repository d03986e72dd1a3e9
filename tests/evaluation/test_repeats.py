"""Tables over seeds."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import pytest

from paoncodec.errors import UsageError
from paoncodec.evaluation.repeats import read_repeat, summary, time_to
from paoncodec.training import RunDirectory


def result(name: str, accuracy: float, **more: object) -> dict:
    return {
        "name": name,
        "task": "classification",
        "dataset": {"name": "galaxies"},
        "results": {"accuracy": accuracy, "cross_entropy": 1.0},
        **more,
    }


def run(path: Path, network: str, *accuracies: float | None) -> RunDirectory:
    path.mkdir()
    (path / "config.json").write_text(json.dumps({"network": network}))
    lines = [{"step": 50, "seconds": 5.0, "loss": 1.0}]
    for k, accuracy in enumerate(accuracies):
        lines.append({"step": k, "seconds": 10.0 * (k + 1), "validation_accuracy": accuracy})
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return RunDirectory(path, resume=True)


def test_a_row_is_mean_and_deviation(tmp_path: Path) -> None:
    accuracies = [0.82, 0.84, 0.85]
    results = [result("pure", a) for a in accuracies]
    results += [result("pure", a - 0.02, photons=255.0) for a in accuracies]
    runs = [run(tmp_path / "a", "pure", 0.7, 0.8, 0.9), run(tmp_path / "b", "pure", 0.7, None)]
    runs.append(run(tmp_path / "c", "plain", 0.9))
    [pure, plain] = summary([*results, result("plain", 0.5)], runs)
    assert pure["accuracy"] == {
        "mean": pytest.approx(statistics.fmean(accuracies)),
        "std": pytest.approx(statistics.stdev(accuracies)),
        "runs": 3,
    }
    noisy = pure["noisy"]["255"]
    assert noisy["accuracy"]["runs"] == 3
    assert noisy["drop"] == pytest.approx(0.02 / statistics.fmean(accuracies))
    assert pure["t80"] == {"mean": 20.0, "reached": 1}
    assert pure["seconds"]["mean"] == 25.0
    assert plain["accuracy"] == {"mean": 0.5, "std": None, "runs": 1}
    assert plain["t80"] == {"mean": 10.0, "reached": 1}


def test_other_data_are_another_row() -> None:
    rows = summary([result("pure", 0.5), result("pure", 0.7, dataset={"name": "cifar"})])
    assert [row["dataset"] for row in rows] == ["galaxies", "cifar"]


def test_a_time_that_was_not_reached_is_none(tmp_path: Path) -> None:
    assert time_to(run(tmp_path / "a", "pure", 0.5, 0.79)) is None
    assert time_to(run(tmp_path / "b", "pure", 0.5, 0.79), 0.7) == 20.0


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with pytest.raises(UsageError, match="No such file"):
        read_repeat(path)
    for content, said in (
        ("[]", "not a result of classification or segmentation"),
        (json.dumps({"task": "superres"}), "it is of the task 'superres'"),
        (json.dumps(result("a", 0.5, results={})), "it has no figures"),
    ):
        path.write_text(content)
        with pytest.raises(UsageError, match=said):
            read_repeat(path)
    (tmp_path / "none").mkdir()
    with pytest.raises(UsageError, match="no run of training"):
        summary([result("a", 0.5)], [RunDirectory(tmp_path / "none", resume=True)])
    segmented = {"task": "segmentation", "results": {"mdice": {"mean": 0.8}, "dice": {}}}
    path.write_text(json.dumps({**result("a", 0), **segmented}))
    assert summary([read_repeat(path)])[0]["mdice"]["mean"] == 0.8
