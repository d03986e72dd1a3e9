"""tools/other_torch.sh: what it would run, with the commands it needs replaced."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "other_torch.sh"


def run(venv: Path, *words: str, failing: str = "") -> tuple[int, list[str]]:
    """Exit code, and what the environment's interpreter was asked for."""
    python = venv / "bin" / "python"
    python.parent.mkdir(parents=True)
    log = venv / "log"
    python.write_text(
        f'#!/bin/sh\necho "$*" >> "{log}"\ncase "$*" in *"$FAILING"*) exit 3;; esac\n'
    )
    python.chmod(0o755)
    environment = {**os.environ, "VENV": str(venv), "FAILING": failing or "nothing of this"}
    done = subprocess.run(
        ["/bin/sh", SCRIPT, *words], env=environment, capture_output=True, check=False
    )
    return done.returncode, log.read_text().splitlines() if log.exists() else []


def test_it_installs_and_tests(tmp_path: Path) -> None:
    code, asked = run(tmp_path, "2.8.0", "0.23.0")
    assert code == 0
    assert "torch==2.8.0 torchvision==0.23.0" in asked[0]
    assert "tools/conformance.py check" in asked
    assert "tests/test_portability.py tests/conformance" in asked[-1]


@pytest.mark.parametrize("step", ["pip install", "conformance.py check", "pytest"])
def test_it_fails_where_a_step_does(tmp_path: Path, step: str) -> None:
    code, asked = run(tmp_path, failing=step)
    assert code == 3
    assert step in asked[-1]


def test_help(tmp_path: Path) -> None:
    done = subprocess.run(["/bin/sh", SCRIPT, "--help"], capture_output=True, text=True, check=True)
    assert "another release of torch" in done.stdout
