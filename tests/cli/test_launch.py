"""The command under Accelerate's launcher: two processes on a CPU, as docs/training.md says."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from paoncodec.codecs import load_weights

ROOT = Path(__file__).parents[2]

SETTINGS: dict[str, Any] = {
    "arch_name": "mbt-paon",
    "arch": {"N": 8, "M": 12, "shift": "none"},
    "lmbda": "variable",
    "start": "linear",
    "train": {
        "steps": 100,
        "batch_size": 4,
        "crop": 64,
        "validation_crop": 64,
        "validation_fraction": 0.3,
        "validate_every": 50,
        "warmup": 0,
        "workers": 1,
    },
}


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 200, 80)[:, None, None]
    for number in range(7):
        pixels = ramp + rng.uniform(0, 50, size=(80, 1, 3)) + rng.uniform(0, 5, size=(80, 72, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    (folder / "text.png").write_text("no picture")
    return folder


def launch(run: Path, processes: int, *words: str) -> subprocess.CompletedProcess[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    launcher = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes"]
    launcher += [str(processes), "--main_process_port", port]
    if processes == 1:
        launcher = []
    return subprocess.run(
        [sys.executable, *launcher, "-m", "paoncodec", "train", "--out", str(run), *words],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "ACCELERATE_USE_CPU": "1",
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def begin(path: Path, pictures: Path) -> Path:
    path.mkdir()
    settings = {**SETTINGS, "data": [str(pictures)]}
    (path / "config.json").write_text(json.dumps(settings))
    return path


def records(run: Path) -> list[dict[str, Any]]:
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [{k: v for k, v in r.items() if k != "seconds"} for r in lines if "loss" in str(r)]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="gloo, and Accelerate's way to say CPU")
def test_two_processes_train_a_codec_as_one_does(pictures: Path, tmp_path: Path) -> None:
    one, two = begin(tmp_path / "one", pictures), begin(tmp_path / "two", pictures)
    alone, both = launch(one, 1, "--resume", "--json"), launch(two, 2, "--resume", "--json")
    assert alone.returncode == 0, alone.stderr
    assert both.returncode == 0, both.stderr
    for mine, theirs in zip(records(one), records(two), strict=True):
        assert mine == pytest.approx(theirs, rel=2e-3)
    # One result on stdout, each sentence once on stderr.
    assert json.loads(both.stdout)["steps"] == 100
    ours = re.findall(r"^(?:mbt-paon|picture|no checkpoint|step) .*$", both.stderr, re.MULTILINE)
    assert ours == re.findall(
        r"^(?:mbt-paon|picture|no checkpoint|step) .*$", alone.stderr, re.MULTILINE
    )
    assert sum("text.png" in line for line in ours) == 1
    assert {p.name for p in two.iterdir()} == {p.name for p in one.iterdir()}
    [entry] = json.loads((two / "provenance.json").read_text())
    assert (entry["processes"], entry["devices"]) == (2, ["cpu", "cpu"])
    first, second = (load_weights(run / "last.safetensors")[0] for run in (one, two))
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert (a - b).norm() <= 1e-2 * a.norm() + 1e-3


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="gloo, and Accelerate's way to say CPU")
def test_an_error_is_said_once(pictures: Path, tmp_path: Path) -> None:
    words = ["--lmbda", "0.01", "--data", str(pictures), "--batch-size", "3", "--crop", "64"]
    done = launch(tmp_path / "run", 2, *words)
    assert done.returncode != 0
    assert done.stdout == ""
    assert done.stderr.count("paoncodec: batch_size 3: must be a multiple of 2") == 1
    assert not (tmp_path / "run").exists()
