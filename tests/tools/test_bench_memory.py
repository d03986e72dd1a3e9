"""tools/bench_memory.py: what it measures; the figures themselves are no test."""

from __future__ import annotations

import json
import subprocess

import numpy as np
import pytest
import torch


@pytest.fixture(scope="module")
def bench(tool):
    return tool("bench_memory")


def test_the_picture_goes_on_as_its_mirror_image(bench):
    photo = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    large = bench.tiled(photo, 27, 10)
    assert large.shape == (10, 27, 3)
    assert np.array_equal(large[:4, :6], photo)
    assert np.array_equal(large[:4, 6:12], photo[:, ::-1])
    assert np.array_equal(large[4:8, :6], photo[::-1])
    assert np.array_equal(large[8:, 12:18], photo[:2])


@pytest.fixture(autouse=True)
def _threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
def test_a_run(bench, tiny_weights, monkeypatch, capsys):
    monkeypatch.setattr(bench, "KODAK", (48, 32))
    bench.main(["--size", "80x48", "--runs", "1", "--json", "--model", str(tiny_weights)])
    record = json.loads(capsys.readouterr().out)
    assert (record["width"], record["height"]) == (80, 48)
    for name in ("encode", "decode"):
        assert record["peak_bytes"][name] > 2**26
        assert record["time_ratio"][name] > 0


def test_a_command_that_fails_ends_the_run(bench, tmp_path):
    with pytest.raises(subprocess.CalledProcessError):
        bench.peak(["encode", str(tmp_path / "none.png")])
