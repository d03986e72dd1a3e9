"""tools/segmentation_study.py: from nothing to weights, figures and pictures of two networks."""

from __future__ import annotations

import json

import pytest

from paoncodec.errors import UsageError


def test_networks_are_trained_and_measured_alike(tool) -> None:
    script = tool("segmentation_study")
    steps = dict(script.steps(script.parser().parse_args(["out", "--steps", "7", "--seed", "3"])))
    assert list(steps) == [
        "phantoms",
        "train resunet",
        "train pure-resunet",
        "eval resunet",
        "eval pure-resunet",
    ]
    plain, pure = (steps[f"train {name}"] for name in script.NETWORKS)
    assert [word.replace("pure-", "") for word in pure] == plain
    assert steps["eval pure-resunet"][-2:] == ["--against", "resunet.json"]
    assert "--against" not in steps["eval resunet"]


def test_other_data_are_trained_on_as_their_preset_says(tool, tmp_path) -> None:
    script = tool("segmentation_study")
    words = ["out", "--data", str(tmp_path), "--preset", "paper", "--surfaces"]
    words += ["--option", "outer_relu=false"]
    steps = dict(script.steps(script.parser().parse_args(words)))
    assert next(iter(steps)) == "train resunet"
    train, measure = steps["train pure-resunet"], steps["eval pure-resunet"]
    assert train[train.index("--data") + 1] == str(tmp_path)
    assert measure[measure.index("--images") + 1] == str(tmp_path)
    assert train[train.index("--preset") + 1] == "paper"
    assert not {"--steps", "--crop"} & set(train)
    assert train[train.index("--option") + 1] == "outer_relu=false"
    assert "--option" not in steps["train resunet"]
    assert "--surfaces" in measure
    assert "--tolerance" not in measure


def test_the_table_has_both_and_their_difference(tool) -> None:
    figure = {"mean": 0.8, "low": 0.75, "high": 0.85, "cases": 4}
    less = {"mean": 0.7, "low": None, "high": None, "cases": 1}
    results = {"mdice": figure, "dice": {"liver": less}}
    tested = {"difference": {**figure, "mean": 0.01, "low": -0.01, "high": 0.03}, "p": 0.0312}
    first = {"name": "resunet", "classes": ["liver"], "results": results}
    against = {"mdice": tested, "dice": {"liver": {**tested, "q": 0.5}}}
    second = {**first, "name": "pure", "against": against}
    lines = list(tool("segmentation_study").table(first, second))
    assert lines[0] == "| Dice, % | resunet | pure | difference, points | p | q |"
    both = "80.0 [75.0, 85.0] | 80.0 [75.0, 85.0]"
    assert lines[2] == f"| mean | {both} | +1.0 [-1.0, 3.0] | 0.031 |  |"
    assert lines[3] == "| liver | 70.0 | 70.0 | +1.0 [-1.0, 3.0] | 0.031 | 0.5 |"


@pytest.mark.slow
def test_a_short_study(tool, monkeypatch, capfd, tmp_path) -> None:
    out = tmp_path / "study"
    words = ["segmentation_study.py", out, "--training", 2, "--validation", 2]
    words += ["--size", 16, "--steps", 2]
    monkeypatch.setattr("sys.argv", [str(word) for word in words])
    tool("segmentation_study").main()
    found = json.loads((out / "pure-resunet.json").read_text())
    assert found["against"]["first"] == "resunet"
    drawn = {path.name for path in (out / "pictures" / "pure-resunet").iterdir()}
    assert drawn == {"boxes-dice.png", "phantom_0002.png", "phantom_0003.png"}
    seconds = json.loads((out / "seconds.json").read_text())
    assert seconds["all"] == pytest.approx(sum(list(seconds.values())[:-1]), abs=0.1)
    with pytest.raises(UsageError, match="is there already"):
        tool("segmentation_study").main()
