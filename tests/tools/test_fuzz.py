"""tools/fuzz.py: its targets do what they say, and tell findings from refusals."""

from __future__ import annotations

from pathlib import Path

import pytest

import paoncodec
from paoncodec.errors import MalformedStream, WeightsError


@pytest.fixture(scope="module")
def fuzz(tool):
    return tool("fuzz")


@pytest.mark.parametrize("target", ["file", "latents", "samples", "weights"])
def test_seeds_reach_the_end(fuzz, target: str) -> None:
    assert any(reaches(fuzz.TARGETS[target], seed) for seed in fuzz.seeds(target))


def reaches(target, seed: bytes) -> bool:
    try:
        target(seed)
    except WeightsError:  # streams of other weights than the target's
        return False
    return True


def test_latents_are_read_under_right_checksums(fuzz) -> None:
    [seed] = fuzz.seeds("latents")
    with pytest.raises(MalformedStream, match="y at byte"):
        fuzz.latents(seed[:-4])
    with pytest.raises(MalformedStream, match=r"[zy] at byte"):
        fuzz.latents(bytes([255, 7, 255, 7, 0, 0]))


def test_a_refusal_is_no_finding_and_anything_else_is_one(fuzz, monkeypatch) -> None:
    for target in fuzz.TARGETS:
        fuzz.one(target, b"")
    monkeypatch.setattr(paoncodec, "decode", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        fuzz.one("file", b"")


def test_a_case_is_run_again(fuzz, tmp_path: Path, monkeypatch) -> None:
    case, seen = tmp_path / "crash-1", []
    case.write_bytes(b"case")
    monkeypatch.setattr(fuzz, "TARGETS", {"file": seen.append})
    monkeypatch.setattr("sys.argv", ["fuzz.py", "file", str(case)])
    fuzz.main()
    assert seen == [b"case"]
