"""Seconds and memory."""

from __future__ import annotations

import mmap

import pytest
import torch

from paoncodec.evaluation.timing import peak_memory, timed


def test_the_result_comes_with_the_median_of_its_times(monkeypatch):
    clock = iter([0.0, 9.0, 10.0, 11.0, 20.0, 22.0])
    monkeypatch.setattr("paoncodec.evaluation.timing.perf_counter", lambda: next(clock))
    calls = []
    assert timed(lambda: calls.append(1) or "done", repeats=3) == ("done", 2.0)
    assert len(calls) == 3


def test_a_device_in_use_is_waited_for_before_and_after(monkeypatch):
    events = []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: events.append("wait"))
    timed(lambda: events.append("work"))
    assert events == ["wait", "work", "wait"]


def test_the_peak_is_that_of_the_block():
    with peak_memory() as before:
        pass
    if before.bytes is None:
        pytest.skip("this system does not tell the peak of a process's memory")
    # Not an array: it may be given memory that the process still holds.
    with peak_memory() as within, mmap.mmap(-1, 1 << 26) as fresh:
        for page in range(0, len(fresh), mmap.PAGESIZE):
            fresh[page] = 1
    with peak_memory() as after:
        pass
    assert within.bytes > before.bytes + (1 << 25)
    assert after.bytes < within.bytes - (1 << 25)


def test_without_such_a_system_nothing_is_claimed(monkeypatch, tmp_path):
    monkeypatch.setattr("paoncodec.evaluation.timing._CLEAR", tmp_path / "none" / "clear_refs")
    with peak_memory() as peak:
        pass
    assert peak.bytes is None
