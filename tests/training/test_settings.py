"""Settings of recipes: presets by name, and what they may not hold."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

import pytest

from paoncodec.errors import UsageError
from paoncodec.training import TrainConfig
from paoncodec.training.settings import (
    Recipe,
    check_data_weights,
    preset_names,
    read_preset,
)

PACKAGE = "paoncodec.codecs"


@dataclass(frozen=True)
class Walk(Recipe):
    places: tuple[str, ...]
    pace: int = 1
    train: TrainConfig = field(default_factory=TrainConfig)


def test_presets_are_read_by_name() -> None:
    assert {"paper", "small"} <= set(preset_names(PACKAGE))
    assert TrainConfig(**read_preset(PACKAGE, "paper")["train"]).batch_size == 24
    with pytest.raises(UsageError, match="preset 'huge': choose one of paper"):
        read_preset(PACKAGE, "huge")


def test_a_recipe_comes_back_from_json() -> None:
    walk = Walk(("here", "there"), 3, TrainConfig(steps=7, shrink=(0.5, 0.8)))
    assert Walk.from_json(json.loads(json.dumps(asdict(walk)))) == walk
    assert Walk.from_json({"places": []}) == Walk(())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"places": [], "pase": 2}, r"pase: no such setting; choose among \{places, pace, train\}"),
        (
            {"places": [], "train": {"step": 3}},
            r"train\.step: no such setting; choose among train\.",
        ),
        ({"pace": 2}, "settings of a training: .*places"),
    ],
    ids=str,
)
def test_settings_of_no_recipe(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Walk.from_json(settings)


@pytest.mark.parametrize("weights", [(1.0,), (1.0, 0.0), (1.0, float("inf"))])
def test_weights_that_fit_no_data(weights: tuple[float, ...]) -> None:
    check_data_weights(("a", "b"), ())
    check_data_weights(("a", "b"), (1.0, 2.0))
    with pytest.raises(UsageError, match="data_weights"):
        check_data_weights(("a", "b"), weights)


def test_the_cosine_ends_at_its_floor() -> None:
    config = TrainConfig(steps=100, warmup=0, floor=0.01)
    assert config.rate_factor(0) == 1
    assert config.rate_factor(50) == pytest.approx(0.505)
    assert config.rate_factor(100) == pytest.approx(0.01)
    with pytest.raises(UsageError, match="floor 1"):
        TrainConfig(floor=1)
