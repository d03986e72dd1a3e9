"""The singularity study runs, and says and draws what it has counted."""

from __future__ import annotations

import json

import pytest
import torch

from paoncodec.errors import UsageError


@pytest.fixture
def script(tool):
    return tool("singularity_study")


def test_a_short_study(script, pictures, tmp_path, capsys) -> None:
    figure, numbers = tmp_path / "figure.png", tmp_path / "numbers.json"
    words = ["--data", pictures, "--out", figure, "--json", numbers]
    sizes = {"steps": 1, "batch-size": 1, "crop": 64, "threads": torch.get_num_threads()}
    script.main([*map(str, words), *(f"--{k}={v}" for k, v in sizes.items())])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in lines] == [
        "vanilla: 1 iterations",
        "smooth: 1 iterations",
    ]
    assert figure.read_bytes().startswith(b"\x89PNG")
    found = json.loads(numbers.read_text())
    assert found["threshold"] == 0.01
    assert [s["kind"] for s in found["studies"]] == ["vanilla", "smooth"]
    assert set(found["studies"][0]["counts"]) >= {"g_a.0", "g_s.3"}


@pytest.mark.parametrize("option", ["--out", "--json"])
def test_where_results_cannot_go_is_said_before_the_trainings(
    script, pictures, tmp_path, option, monkeypatch
) -> None:
    monkeypatch.setattr(script, "study", lambda *_, **__: pytest.fail("trained"))
    words = ["--data", str(pictures), "--out", str(tmp_path / "figure.png")]
    with pytest.raises(UsageError, match="not a directory"):
        script.main([*words, option, str(tmp_path / "none" / "x.png")])


def test_the_summary_names_the_busiest_layer(script) -> None:
    seen = script.Study("vanilla", [2.0, float("nan")], {"a": [0, 4], "b": [1, 1]}, stopped=1)
    assert script.summary(seen) == (
        "vanilla: 2 iterations, |Q| near zero 3.0 times an iteration, 2.0 of them in a; "
        "not finite, stopped"
    )
