"""Several processes are one run: the same losses, the same weights, one writer."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import torch

from paoncodec.errors import UsageError
from paoncodec.training import RunDirectory, TrainConfig, Trainer
from paoncodec.training.processes import Processes

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("two_processes.py")
SETTINGS: dict[str, Any] = {
    "steps": 4,
    "batch_size": 8,
    "warmup": 0,
    "validate_every": 2,
    "workers": 0,
}

Launch: TypeAlias = Callable[..., tuple[int, str]]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def together(count: int, *words: str) -> tuple[int, str]:
    """What ``count`` processes said, and the largest exit code: as a launcher starts them."""
    common = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "ACCELERATE_USE_CPU": "1",
        "OMP_NUM_THREADS": "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
    }
    started = [
        subprocess.Popen(
            [sys.executable, *words],
            env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(count)
    ]
    said = [process.communicate(timeout=600)[0] for process in started]
    return max(process.returncode for process in started), "".join(said)


def launched(run: Path, count: int, fault: str = "", **settings: Any) -> tuple[int, str]:
    text = json.dumps({**SETTINGS, **settings})
    return together(count, str(SCRIPT), str(run), text, *([fault] if fault else []))


def figures(run: Path) -> list[dict[str, Any]]:
    kept = [r for r in RunDirectory(run, resume=True).records() if "left_out" not in r]
    return [{k: v for k, v in r.items() if k not in ("seconds", "place", "seen")} for r in kept]


def assert_same_run(one: Path, two: Path) -> None:
    assert [r.keys() for r in figures(one)] == [r.keys() for r in figures(two)]
    for a, b in zip(figures(one), figures(two), strict=True):
        assert a == pytest.approx(b, rel=1e-5)
    states = [RunDirectory(path, resume=True).load() for path in (one, two)]
    for name in ("model", "average", "optimizers"):
        torch.testing.assert_close(states[0][name], states[1][name], rtol=1e-5, atol=1e-7)


@pytest.fixture(scope="module")
def alone(toy: type[Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of this process."""
    run = tmp_path_factory.mktemp("runs") / "alone"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("paoncodec.training.engine.LOG_EVERY", 1)
        patch.setattr("paoncodec.training.engine.provenance", dict)
        assert Trainer(toy(TrainConfig(**SETTINGS), dropout=0), RunDirectory(run)).fit()
    return run


def test_two_processes_are_one_run_with_one_writer(alone: Path, tmp_path: Path) -> None:
    code, said = launched(tmp_path / "two", 2)
    assert code == 0, said
    assert_same_run(alone, tmp_path / "two")
    # Each had its own half of every batch ...
    first = RunDirectory(tmp_path / "two", resume=True).records()[0]
    assert first["place"] == (0 + 4) / 2
    assert first["seen"] == 4 + 4
    # ... and one of them wrote and talked.
    assert re.findall(r"heard (\d)", said) == list("1234")
    assert sorted(re.findall(r"done (\d 4 True)", said)) == ["0 4 True", "1 4 True"]
    names = {path.name for path in (tmp_path / "two").iterdir()}
    assert names == {path.name for path in alone.iterdir()}
    assert len(list((tmp_path / "two" / "tensorboard").iterdir())) == 1
    [entry] = json.loads((tmp_path / "two" / "provenance.json").read_text())
    about = {"precision": "float32", "processes": 2, "kind": "MULTI_CPU", "devices": ["cpu"] * 2}
    assert entry == {"first_step": 0, "compiled": False, **about}


@pytest.mark.slow
def test_what_one_process_meets_all_end_with(tmp_path: Path) -> None:
    code, said = launched(tmp_path / "run", 2, "data", batch_size=4, accumulate=2)
    assert code == 1, said
    # Sample 9 is the second process's, of step 2 in 0, 1, 2, ...; 5 and 6 those of both.
    raised = re.findall(r"raised (\d) ImageError none of the 1 pictures", said)
    assert sorted(raised) == ["0", "1"]
    assert sorted(re.findall(r"told picture left out: (\d)\.png", said)) == ["0", "2"]
    state = RunDirectory(tmp_path / "run", resume=True).load()
    assert state is not None
    assert state["step"] == 2


@pytest.mark.slow
def test_a_loss_of_one_that_is_not_finite_is_skipped_by_both(tmp_path: Path) -> None:
    code, said = launched(tmp_path / "run", 2, "nan")
    assert code == 0, said
    assert [r for r in figures(tmp_path / "run") if "skipped" in r] == [{"step": 2, "skipped": 1}]


@pytest.mark.slow
def test_a_stop_of_one_stops_both_and_one_process_goes_on(alone: Path, tmp_path: Path) -> None:
    code, said = launched(tmp_path / "run", 2, "stop")
    assert code == 0, said
    assert sorted(re.findall(r"done (\d \d \w+)", said)) == ["0 1 False", "1 1 False"]
    code, said = launched(tmp_path / "run", 1, "resume", accumulate=4)
    assert code == 0, said
    assert_same_run(alone, tmp_path / "run")


@pytest.mark.slow
def test_more_processes_than_a_batch_has_samples_are_refused(tmp_path: Path) -> None:
    code, said = launched(tmp_path / "run", 2, batch_size=7)
    assert code == 1
    assert said.count("batch_size 7: must be a multiple of 2") == 2
    assert not (tmp_path / "run").exists()


def test_a_process_alone_agrees_with_itself() -> None:
    alone = Processes()
    assert (alone.index, alone.count, alone.is_main) == (0, 1, True)
    assert alone.mean({"loss": 2.0}) == {"loss": 2.0}
    assert alone.gather("it") == ["it"]
    assert alone.any(True)
    assert not alone.any(False)


def test_without_accelerate_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(UsageError, match=r"pip install 'paoncodec\[train\]'"):
        Processes()
