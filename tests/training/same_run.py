"""What must be equal in two runs, one of which was interrupted or carried out otherwise."""

from __future__ import annotations

from typing import Any

import torch

from paoncodec.training import RunDirectory


def without_time(run: RunDirectory) -> list[dict[str, Any]]:
    """The records of a run, but for the seconds that it took."""
    return [{k: v for k, v in r.items() if k != "seconds"} for r in run.records()]


def assert_same_run(one: RunDirectory, other: RunDirectory) -> None:
    """Bit for bit: state, records and weights."""
    a, b = one.load(), other.load()
    assert a is not None
    assert b is not None
    a.pop("seconds")
    b.pop("seconds")
    assert a.pop("network") == b.pop("network")
    torch.testing.assert_close(a, b, rtol=0, atol=0)
    assert without_time(one) == without_time(other)
    for which in ("best", "last"):
        assert one.weights_file(which).read_bytes() == other.weights_file(which).read_bytes()
