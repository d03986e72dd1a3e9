"""Settings of runs of the toy task."""

from __future__ import annotations

from typing import Any

from paoncodec.training import TrainConfig

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
