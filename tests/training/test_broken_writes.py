"""What a power cut or a full disk leaves behind: the last good checkpoint, to go on from."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from paoncodec.training import Progress, RunDirectory, TrainConfig, Trainer, TrainingStopped

ROOT = Path(__file__).parents[2]

SETTINGS: dict[str, Any] = {
    "steps": 6,
    "batch_size": 4,
    "warmup": 0,
    "validate_every": 2,
    "workers": 0,
}

#: Trains the toy, and stands still in the middle of writing the checkpoint of the fourth step.
HALF_WRITTEN = f"""
import sys, time
from pathlib import Path
from paoncodec.training import RunDirectory, TrainConfig, Trainer, engine
from tests.training.conftest import ToyTask

engine.provenance = dict
whole, left = Path.write_bytes, iter([False, True])

def write_bytes(path, data):
    if not next(left):
        return whole(path, data)
    with path.open("wb") as file:
        file.write(data[: len(data) // 2])
        file.flush()
        print("half", flush=True)
        time.sleep(600)

Path.write_bytes = write_bytes
Trainer(ToyTask(TrainConfig(**{SETTINGS})), RunDirectory(sys.argv[1])).fit()
"""


@pytest.fixture(autouse=True)
def _quick_provenance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("paoncodec.training.engine.provenance", dict)


def step_of(run: RunDirectory) -> int:
    state = run.load()
    assert state is not None
    return state["step"]


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_run_killed_while_it_writes_a_checkpoint_keeps_the_one_before(
    toy: type[Any], tmp_path: Path
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HALF_WRITTEN, str(tmp_path / "run")],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"half\n"
        os.kill(child.pid, signal.SIGKILL)
    run = RunDirectory(tmp_path / "run", resume=True)
    assert 0 < (run.path / ".last.pt.part").stat().st_size < run.checkpoint_file.stat().st_size
    assert step_of(run) == 2
    assert Trainer(toy(TrainConfig(**SETTINGS)), run).fit()
    assert not list(run.path.glob(".*"))

    unbroken = RunDirectory(tmp_path / "unbroken")
    Trainer(toy(TrainConfig(**SETTINGS)), unbroken).fit()
    for which in ("best", "last"):
        one, other = run.weights_file(which), unbroken.weights_file(which)
        assert one.read_bytes() == other.read_bytes()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a megabyte."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("may not mount")
    yield place
    subprocess.run([shutil.which("umount") or "umount", "-l", str(place)], check=True)


def test_a_disk_that_runs_full_stops_the_run_and_room_lets_it_go_on(
    toy: type[Any], small_disk: Path
) -> None:
    filler = small_disk / "filler"

    def fill(progress: Progress) -> None:
        if progress.step == 3:
            with filler.open("wb", buffering=0) as file, suppress(OSError):
                while True:
                    file.write(bytes(4096))

    run = RunDirectory(small_disk / "run")
    with pytest.raises(TrainingStopped, match=r"No space left on device.*--resume") as caught:
        Trainer(toy(TrainConfig(**SETTINGS)), run, fill).fit()
    assert "\n" not in str(caught.value)
    assert step_of(run) == 2
    assert not list(run.path.glob(".*"))
    filler.unlink()
    again = Trainer(toy(TrainConfig(**SETTINGS)), RunDirectory(run.path, resume=True))
    assert again.step == 2
    assert again.fit()
