from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch

from paoncodec.errors import WeightsError
from paoncodec.training import RunDirectory, TrainConfig, TrainingStopped, rehearse

SETTINGS: dict[str, Any] = {
    "steps": 100,
    "batch_size": 4,
    "warmup": 0,
    "validate_every": 1,
    "workers": 0,
}


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary directories are made."""
    monkeypatch.setattr("paoncodec.training.engine.provenance", dict)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_rehearsal_takes_one_step_and_reads_what_it_wrote(toy: type[Any], scratch: Path) -> None:
    read: list[str] = []
    found = rehearse(toy(TrainConfig(**SETTINGS)), lambda path: read.append(path.read_text()))
    assert [text.split()[0] for text in read] == ["1"]
    assert found.figures["gradient_norm"] > 0
    assert found.validation["loss"] > 0
    assert found.checkpoint_bytes > 1000
    assert found.weights_bytes == len(read[0])
    assert found.left_out == []
    assert not list(scratch.glob("paoncodec-*"))


def test_weights_that_cannot_be_used_are_an_error_and_nothing_stays(
    toy: type[Any], scratch: Path
) -> None:
    def refuse(path: Path) -> None:
        raise WeightsError("not weights")

    with pytest.raises(WeightsError, match="not weights"):
        rehearse(toy(TrainConfig(**SETTINGS)), refuse)
    assert not list(scratch.glob("paoncodec-*"))


def test_a_checkpoint_that_is_read_otherwise_is_an_error(
    toy: type[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    load = RunDirectory.load

    def other(run: RunDirectory) -> Any:
        state = load(run)
        if state is not None:
            state["model"]["bias"] = state["model"]["bias"] + torch.tensor(1e-6)
        return state

    monkeypatch.setattr(RunDirectory, "load", other)
    with pytest.raises(TrainingStopped, match="read back otherwise than it was written"):
        rehearse(toy(TrainConfig(**SETTINGS)), lambda path: None)
