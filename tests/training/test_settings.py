"""Settings of recipes: presets by name, and what they may not hold."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from paoncodec.errors import UsageError
from paoncodec.training import TrainConfig
from paoncodec.training.settings import (
    check_data_weights,
    preset_names,
    read_preset,
    refuse_unknown,
)

PACKAGE = "paoncodec.codecs"


@dataclass
class Settings:
    pace: int = 1


def test_presets_are_read_by_name() -> None:
    assert {"paper", "small"} <= set(preset_names(PACKAGE))
    assert TrainConfig(**read_preset(PACKAGE, "paper")["train"]).batch_size == 24
    with pytest.raises(UsageError, match="preset 'huge': choose one of paper"):
        read_preset(PACKAGE, "huge")


def test_unknown_settings_are_named() -> None:
    refuse_unknown({"pace": 2}, Settings)
    with pytest.raises(UsageError, match=r"train\.place: no such setting; choose among"):
        refuse_unknown({"pace": 2, "place": 3}, Settings, "train.")


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
