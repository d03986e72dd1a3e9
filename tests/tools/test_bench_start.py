"""tools/bench_start.py: processes are measured, and what they take off is taken off."""

from __future__ import annotations

import re
import subprocess

import pytest


@pytest.fixture(scope="module")
def bench(tool):
    return tool("bench_start")


def test_the_time_of_a_process_is_its_own(bench) -> None:
    assert bench.processor_time("import numpy") > 0
    assert bench.processor_time("print(1000)") < 0
    with pytest.raises(subprocess.CalledProcessError):
        bench.processor_time("raise SystemExit(1)")


def test_ratios_are_of_the_same_round(bench, monkeypatch, capsys) -> None:
    seconds = {"import torch": [1.0, 2.0, 4.0], "encode": [3.0, 8.0, 8.0], "decode": [1.0] * 3}
    monkeypatch.setattr(bench, "measure", lambda model, rounds, image: dict(seconds))
    bench.main([])
    said = capsys.readouterr().out
    assert re.findall(r"[\d.]+ (?=times)", said) == ["3.00 ", "0.50 "]


@pytest.mark.slow
def test_programs_run(bench, tiny_weights) -> None:
    seconds = bench.measure(str(tiny_weights), 1)
    assert list(seconds) == [
        "import torch",
        "paoncodec.encode",
        "paoncodec.decode",
        "paoncodec encode",
        "paoncodec decode",
    ]
    assert all(len(taken) == 1 and taken[0] > 0 for taken in seconds.values())
