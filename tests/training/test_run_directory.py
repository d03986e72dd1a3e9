from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from paoncodec.errors import UsageError, WeightsError
from paoncodec.training import RunDirectory, TrainingStopped

FULL = Path("/dev/full")


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    run = RunDirectory(tmp_path / "deep" / "run")
    run.create()
    return run


def test_nothing_is_made_before_create(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    assert not run.path.exists()
    run.create()
    assert run.path.is_dir()


@pytest.mark.parametrize("name", ["config.json", "last.pt"])
def test_a_run_that_is_there_is_kept(run: RunDirectory, name: str) -> None:
    (run.path / name).write_text("{}")
    with pytest.raises(UsageError, match="--resume"):
        RunDirectory(run.path)
    RunDirectory(run.path, resume=True)


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="not a directory"):
        RunDirectory(tmp_path / "file")
    with pytest.raises(UsageError, match="cannot make"):
        RunDirectory(tmp_path / "file" / "run").create()


def test_config_is_read_back(run: RunDirectory) -> None:
    assert run.load_config() is None
    run.write_config({"a": {"b": [1, 2]}})
    assert run.load_config() == {"a": {"b": [1, 2]}}


@pytest.mark.parametrize("text", ["", "[1]", "{"])
def test_a_config_that_is_none_is_refused(run: RunDirectory, text: str) -> None:
    run.config_file.write_text(text)
    with pytest.raises(UsageError, match=r"config\.json"):
        run.load_config()


def test_provenance_grows_by_an_entry(run: RunDirectory) -> None:
    run.add_provenance({"first_step": 0})
    run.add_provenance({"first_step": 7})
    assert run.provenance_file.read_text().count("first_step") == 2


def test_metrics_are_json_whatever_the_number(run: RunDirectory) -> None:
    run.log({"step": 1, "loss": math.nan, "norm": -math.inf, "psnr": 30.5})
    assert run.records() == [{"step": 1, "loss": None, "norm": None, "psnr": 30.5}]
    assert "NaN" not in run.metrics_file.read_text()


@pytest.mark.parametrize("torn", ["", '{"step": 3, "lo', '{"step": 3}', "\0\0\0\n", "7\n"])
def test_metrics_past_a_step_are_forgotten(run: RunDirectory, torn: str) -> None:
    for step in (1, 2, 2, 3, 4):
        run.log({"step": step})
    whole = run.metrics_file.read_text()
    run.metrics_file.write_text(whole + torn)
    run.forget_after(2)
    assert [r["step"] for r in run.records()] == [1, 2, 2]
    run.log({"step": 3})
    assert [r["step"] for r in run.records()] == [1, 2, 2, 3]


def test_a_checkpoint_is_read_back(run: RunDirectory) -> None:
    assert run.load() is None
    state = {"step": 3, "best": math.inf, "random": torch.get_rng_state()}
    run.save(state)
    loaded = run.load()
    assert loaded is not None
    assert torch.equal(loaded.pop("random"), state.pop("random"))
    assert loaded == state


def _flipped(data: bytes) -> bytes:
    """A checkpoint whose tensors, in its middle, are other numbers."""
    middle = len(data) // 2
    return data[:middle] + bytes(64) + data[middle + 64 :]


@pytest.mark.parametrize(
    "damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"text", _flipped]
)
def test_a_damaged_checkpoint_is_an_error_of_one_line(
    run: RunDirectory, damage: Callable[[bytes], bytes]
) -> None:
    run.save({"step": 1, "weight": torch.ones(1000)})
    assert run.load() is not None
    run.checkpoint_file.write_bytes(damage(run.checkpoint_file.read_bytes()))
    with pytest.raises(WeightsError, match=r"last\.pt") as caught:
        run.load()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("state", [{"a": 1}, {"step": "3"}, [1, 2], 3])
def test_what_is_no_state_of_a_run_is_no_checkpoint(run: RunDirectory, state: object) -> None:
    torch.save(state, run.checkpoint_file)
    with pytest.raises(WeightsError, match=r"last\.pt: not a checkpoint of a run"):
        run.load()


def test_a_failed_write_leaves_the_old_file_and_nothing_else(run: RunDirectory) -> None:
    target = run.weights_file("best")
    run.replace(target, lambda p: p.write_text("old"))

    def fail(path: Path) -> None:
        path.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(TrainingStopped, match=r"best.*No space left.*--resume"):
        run.replace(target, fail)
    assert os.listdir(run.path) == [target.name]  # noqa: PTH208 - hidden files count
    assert target.read_text() == "old"


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
def test_a_full_disk_stops_the_training(run: RunDirectory) -> None:
    run.metrics_file.symlink_to(FULL)
    with pytest.raises(TrainingStopped, match=r"metrics\.jsonl.*No space left"):
        run.log({"step": 1})


def test_a_directory_that_went_away_stops_the_training(run: RunDirectory) -> None:
    run.path.rmdir()
    with pytest.raises(TrainingStopped, match="cannot be written"):
        run.save({"step": 1})


def test_files_are_as_readable_as_others(run: RunDirectory) -> None:
    run.replace(run.weights_file("best"), lambda p: (p.write_text("x"), p.chmod(0o600)))
    run.log({"step": 1})
    modes = {p.stat().st_mode for p in (run.weights_file("best"), run.metrics_file)}
    assert len(modes) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="no record locks")
def test_two_processes_do_not_write_one_run(run: RunDirectory) -> None:
    code = (
        "import fcntl, sys; lock = open(sys.argv[1], 'a'); fcntl.lockf(lock, fcntl.LOCK_EX)\n"
        "print('mine', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(run.lock_file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"mine\n"
        with pytest.raises(UsageError, match="another process trains here"), run.writer():
            pass
        other.communicate()
    with run.writer():
        run.log({"step": 1})
