"""Runs of the toy task, and what must be equal in two of them."""

from __future__ import annotations

from typing import Any

import torch

from paoncodec.training import RunDirectory, TrainConfig

CONFIG: dict[str, Any] = {
    "batch_size": 4,
    "warmup": 0,
    "ema": 0.5,
    "validate_every": 4,
    "patience": 3,
    "workers": 0,
}


def config(**settings: Any) -> TrainConfig:
    return TrainConfig(**{**CONFIG, "steps": 10, **settings})


def without_time(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in r.items() if k != "seconds"} for r in records]


def assert_same_run(one: RunDirectory, other: RunDirectory) -> None:
    a, b = one.load(), other.load()
    assert a is not None
    assert b is not None
    a.pop("seconds")
    b.pop("seconds")
    torch.testing.assert_close(a, b, rtol=0, atol=0)
    assert without_time(one.records()) == without_time(other.records())
    for which in ("best", "last"):
        assert one.weights_file(which).read_text() == other.weights_file(which).read_text()
