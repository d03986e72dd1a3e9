"""A recipe holds what it is given, refuses what makes no sense, and the presets are the paper's."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import pytest

from paoncodec.codecs import ARCHITECTURES, ELICConfig, build
from paoncodec.codecs.recipe import CodecRecipe, presets
from paoncodec.codecs.starts import check_linear_start
from paoncodec.errors import UsageError
from paoncodec.training import TrainConfig


def recipe(arch: dict[str, Any] | None = None, **settings: Any) -> CodecRecipe:
    """A recipe of a small codec with these settings, of the loop or of its own."""
    names = {entry.name for entry in dataclasses.fields(CodecRecipe)}
    own = {name: settings.pop(name) for name in [*settings] if name in names}
    given = {"lmbda": 0.013, "data": ("pictures",), **own}
    options = {"N": 8, "M": 12, **(arch or {})}
    return CodecRecipe("mbt-paon", options, train=TrainConfig(**settings), **given)


def test_the_paper_preset_is_the_paper() -> None:
    preset = CodecRecipe.from_preset("paper", "mbt-paon", 0.013, ["pictures"])
    assert preset.arch == {"N": 192, "M": 192, "shift": "predicted"}
    assert preset.start == "random"
    config = preset.train
    assert config.steps == 2_500_000
    assert (config.batch_size, config.crop, config.ema) == (24, 256, 0)
    rates = [preset.lr_transforms * config.rate_factor(s) for s in (0, 1_900_000, 2_400_000)]
    assert rates == pytest.approx([1e-4, 1e-5, 1e-6])


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("name", presets())
def test_every_preset_is_a_recipe_that_survives_json(name: str, arch: str) -> None:
    preset = CodecRecipe.from_preset(name, arch, 0.013, ["a", "b"])
    settings = json.loads(json.dumps(dataclasses.asdict(preset)))
    assert CodecRecipe.from_json(settings) == preset


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_the_small_preset_builds_small_models_that_start_linear(arch: str) -> None:
    preset = CodecRecipe.from_preset("small", arch, 0.013, ["a"])
    model = build(arch, preset.arch)
    assert 2e6 < sum(p.numel() for p in model.parameters()) < 6e6
    check_linear_start(model)


def test_the_paper_preset_is_the_paper_for_elic() -> None:
    preset = CodecRecipe.from_preset("paper", "elic-paon", 0.013, ["a"])
    assert ELICConfig(**preset.arch) == ELICConfig()


def test_settings_of_the_loop_replace_the_presets() -> None:
    preset = CodecRecipe.from_preset("small", "mbt-paon", 0.013, ["a"], steps=7, seed=None)
    assert (preset.train.steps, preset.train.seed, preset.train.hold) == (7, 0, 0.5)


def test_presets_of_the_issue_are_there() -> None:
    assert presets() == ["paper", "small", "small-variable"]
    for name in ("large", "../presets/small", ""):
        with pytest.raises(UsageError, match="choose one of paper, small"):
            CodecRecipe.from_preset(name, "mbt-paon", 0.013, ["a"])


def test_a_setting_that_does_not_exist_is_named() -> None:
    with pytest.raises(UsageError, match=r"train\.stepps: no such setting; .*steps"):
        CodecRecipe.from_preset("small", "mbt-paon", 0.013, ["a"], stepps=3)
    with pytest.raises(UsageError, match=r"lambda: no such setting; .*lmbda"):
        CodecRecipe.from_json({"arch_name": "mbt-paon", "lambda": 1})
    with pytest.raises(UsageError, match="data"):
        CodecRecipe.from_json({"arch_name": "mbt-paon", "arch": {}, "lmbda": 1})


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"lmbda": 0}, "lmbda 0"),
        ({"lmbda": math.nan}, "lmbda nan"),
        ({"lmbda": "all"}, "lmbda all: must be > 0, e.g. 0.013, or 'variable'"),
        ({"start": "warm"}, "choose linear, random or weights"),
        ({"start": "weights"}, "a file is named with start 'weights'"),
        ({"crop": 100}, "crop 100: must be a multiple of 64"),
        ({"validation_crop": 96}, "validation_crop 96: must be a multiple of 64"),
    ],
)
def test_a_setting_out_of_range_is_named(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        recipe(**settings)


def test_a_variable_network_needs_a_variable_lambda() -> None:
    with pytest.raises(UsageError, match=r"variable_rate with lmbda 0\.013: it takes 'variable'"):
        recipe(arch={"variable_rate": True})


@pytest.mark.parametrize("weights", [(1.0, 2.0), (0.0,), (math.nan,), (-1.0,)])
def test_weights_that_are_none_are_refused(weights: tuple[float, ...]) -> None:
    with pytest.raises(UsageError, match="data_weights"):
        recipe(data_weights=weights)
