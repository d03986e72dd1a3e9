"""Metrics as JSON lines and for TensorBoard, also over a resume."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest
import torch

from paoncodec.training import RunDirectory, TrainingStopped
from paoncodec.training.record import Record


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    run = RunDirectory(tmp_path / "run")
    run.create()
    return run


def scalars(run: RunDirectory) -> dict[str, list[tuple[int, float]]]:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = events.EventAccumulator(str(run.board_folder))
    found.Reload()
    return {
        tag: [(event.step, event.value) for event in found.Scalars(tag)]
        for tag in found.Tags()["scalars"]
    }


def write(run: RunDirectory, first: int, last: int, loss: float) -> None:
    record = Record(run, first - 1)
    for step in range(first, last + 1):
        record.training(step, 0.0, {"loss": loss}, rate=0.5)
        if step % 2 == 0:
            picture = torch.rand(3, 4, 8)
            record.validation(step, 0.0, {"bpp": 0.2, "psnr": math.nan}, {"crop 0": picture})
    record.flush()
    record.close()


def test_figures_and_pictures_are_on_the_board(run: RunDirectory) -> None:
    write(run, 1, 4, 1.0)
    assert scalars(run) == {
        "training/loss": [(step, 1.0) for step in range(1, 5)],
        "training/rate_factor": [(step, 0.5) for step in range(1, 5)],
        "validation/bpp": [(2, pytest.approx(0.2)), (4, pytest.approx(0.2))],
    }
    assert [r.get("validation_bpp") for r in run.records()] == [None, None, 0.2, None, None, 0.2]
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = events.EventAccumulator(str(run.board_folder))
    found.Reload()
    shown = found.Images("validation/crop 0")
    assert [(image.step, image.width, image.height) for image in shown] == [(2, 8, 4), (4, 8, 4)]


def test_a_resumed_run_has_no_point_twice(run: RunDirectory) -> None:
    write(run, 1, 6, 1.0)
    write(run, 4, 7, 2.0)  # the checkpoint was of step 3
    assert scalars(run)["training/loss"] == [(n, 1.0) for n in (1, 2, 3)] + [
        (n, 2.0) for n in (4, 5, 6, 7)
    ]
    assert [r["step"] for r in run.records() if "loss" in r] == [1, 2, 3, 4, 5, 6, 7]


def test_what_was_left_out_is_written_once_a_run(run: RunDirectory) -> None:
    first = Record(run, 0)
    first.left_out(1, ["a.png: damaged"])
    first.left_out(2, ["a.png: damaged", "b.png: damaged"])
    first.close()
    second = Record(run, 5)
    second.left_out(6, ["b.png: damaged", "c.png: damaged"])
    second.close()
    assert run.records() == [
        {"step": 1, "left_out": ["a.png: damaged"]},
        {"step": 2, "left_out": ["b.png: damaged"]},
        {"step": 6, "left_out": ["c.png: damaged"]},
    ]


def test_an_event_file_that_cannot_be_written_stops_the_run(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch.utils.tensorboard import SummaryWriter

    def full(*given: object) -> None:
        raise OSError(28, "No space left on device")

    record = Record(run, 0)
    for method in ("add_scalar", "flush", "close"):
        monkeypatch.setattr(SummaryWriter, method, full)
    with pytest.raises(TrainingStopped, match=r"tensorboard: cannot be written \(No space left"):
        record.training(1, 0.0, {"loss": 1.0}, rate=1.0)
    with pytest.raises(TrainingStopped, match="No space left"):
        record.flush()
    record.close()


def test_without_tensorboard_the_lines_are_written(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    write(run, 1, 2, 1.0)
    assert not Record(run, 2).has_board
    assert len(run.records()) == 3
    assert not run.board_folder.exists()
