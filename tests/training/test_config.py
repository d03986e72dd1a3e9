from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import pytest

from paoncodec.errors import UsageError
from paoncodec.training import RESUMABLE, TrainConfig
from paoncodec.training.config import _LEGAL


def test_the_step_schedule_drops_by_ten_at_each_milestone() -> None:
    config = TrainConfig(steps=1000, schedule="step", milestones=(0.75, 0.9), warmup=0)
    wanted = {0: 1, 749: 1, 750: 0.1, 899: 0.1, 900: 0.01, 999: 0.01}
    assert {s: config.rate_factor(s) for s in wanted} == pytest.approx(wanted)


def test_the_cosine_holds_and_then_falls_to_zero() -> None:
    config = TrainConfig(steps=1000, hold=0.5, warmup=0)
    assert [config.rate_factor(s) for s in (0, 250, 500)] == [1, 1, 1]
    assert config.rate_factor(750) == pytest.approx(0.5)
    assert config.rate_factor(1000) == pytest.approx(0)
    assert config.rate_factor(625) == pytest.approx((1 + math.cos(math.pi / 4)) / 2)


def test_a_cosine_that_holds_to_the_end_never_falls() -> None:
    config = TrainConfig(steps=10, hold=1, warmup=0)
    assert {config.rate_factor(s) for s in range(11)} == {1.0}


@pytest.mark.parametrize("schedule", ["cosine", "step", "plateau"])
def test_the_warmup_rises_by_equal_steps(schedule: str) -> None:
    config = TrainConfig(steps=10**6, schedule=schedule, warmup=4)
    rates = [config.rate_factor(s) for s in range(5)]
    assert rates == pytest.approx([0.25, 0.5, 0.75, 1, 1])


def test_it_survives_json() -> None:
    config = TrainConfig(shrink=(0.5, 0.8), milestones=(0.5,), checkpoint_minutes=2.5)
    assert TrainConfig(**json.loads(json.dumps(dataclasses.asdict(config)))) == config


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", 0),
        ("steps", 1.5),
        ("batch_size", True),
        ("batch_size", "8"),
        ("crop", -64),
        ("validation_crop", 0),
        ("validation_fraction", 0),
        ("validation_fraction", 1.0),
        ("shrink", (0.8, 0.5)),
        ("shrink", (0, 0.5)),
        ("shrink", 0.5),
        ("schedule", "linear"),
        ("hold", 1.1),
        ("hold", math.nan),
        ("milestones", (0.9, 0.5)),
        ("milestones", (1.5,)),
        ("warmup", -1),
        ("clip", 0),
        ("clip", math.inf),
        ("ema", 1),
        ("ema", -0.1),
        ("precision", "float64"),
        ("accumulate", 0),
        ("seed", -1),
        ("validate_every", 0),
        ("checkpoint_minutes", -1),
        ("workers", -1),
        ("patience", 0),
    ],
)
def test_a_value_out_of_range_is_named(name: str, value: Any) -> None:
    with pytest.raises(UsageError, match=f"^{name} ") as caught:
        TrainConfig(**{name: value})
    assert repr(value) in str(caught.value)


def test_every_setting_is_checked_and_the_resumable_ones_exist() -> None:
    names = {f.name for f in dataclasses.fields(TrainConfig)}
    assert set(_LEGAL) == names
    assert names >= RESUMABLE
