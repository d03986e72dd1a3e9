"""Counting denominators near zero in a training."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from paoncodec.codecs.recipe import CodecRecipe
from paoncodec.errors import UsageError
from paoncodec.evaluation.singularity import SingularityCounter, Study, check_drawing, draw, study
from paoncodec.layers import PaLaConv2d, PaLaLinear
from paoncodec.training.learner import Learner


def network(values: list[float]) -> nn.Module:
    """A layer whose denominators for an input of ones are 1 + values, before one without any."""
    first = PaLaLinear(1, len(values), kind="vanilla")
    with torch.no_grad():
        first.denominator.copy_(torch.tensor(values)[:, None])
    return nn.Sequential(first, PaLaLinear(len(values), 1, (2, 0)))


def test_counts_are_of_iterations_and_layers() -> None:
    net = network([-1.0, -1.009, -0.991, -1.011, -0.5])
    with SingularityCounter(net) as counter:
        net(torch.ones(4, 1))
        net(torch.ones(2, 1))
        counter.end_iteration()
        net.eval()
        net(torch.ones(4, 1))
        net.train()
        counter.end_iteration()
        net(torch.zeros(3, 1))
        counter.end_iteration()
    net(torch.ones(4, 1))
    counter.end_iteration()
    assert counter.counts == {"0": [3 * 6, 0, 0, 0]}


def test_parts_of_a_batch_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    from paoncodec.layers import base

    layer = PaLaConv2d(1, 1, 1, kind="vanilla")
    nn.init.constant_(layer.denominator, -1.0)
    monkeypatch.setattr(base, "_PART_SIZE", 1)
    with SingularityCounter(nn.Sequential(layer)) as counter:
        layer(torch.ones(3, 1, 4, 4))
        counter.end_iteration()
    assert counter.counts == {"0": [48]}


def test_a_model_without_denominators_is_refused() -> None:
    with pytest.raises(UsageError, match="Sequential has no Padé layer with a denominator"):
        SingularityCounter(nn.Sequential(nn.Linear(1, 1), PaLaLinear(1, 1, (2, 0))))


@pytest.fixture
def recipe(photos) -> CodecRecipe:
    settings = {"steps": 2, "batch_size": 1, "crop": 64, "precision": "float32", "workers": 0}
    return CodecRecipe.from_preset("small", "mbt-paon", 0.013, [str(photos)], **settings)


def test_a_study_trains_every_layer_with_the_given_kind(recipe: CodecRecipe) -> None:
    found = study(recipe, "vanilla", threshold=math.inf)
    assert found.stopped is None
    assert len(found.losses) == 2
    assert list(found.counts) == [f"{net}.{i}" for net in ("g_a", "g_s") for i in range(4)]
    # All outputs are below infinity: 24 channels of 32×32, 48 of 16×16 and so on.
    assert found.counts["g_a.0"] == [24 * 32**2] * 2
    assert found.counts["g_a.3"] == [192 * 4**2] * 2
    again = study(recipe, "vanilla", threshold=math.inf)
    assert again.losses == found.losses
    assert study(recipe, "smooth").losses != found.losses


def test_a_study_ends_where_numbers_end(
    recipe: CodecRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = iter([{"loss": 1.0, "gradient_norm": 1.0}, {"loss": 1.0}])
    monkeypatch.setattr(Learner, "step", lambda *arguments: next(steps))
    found = study(recipe, "vanilla")
    assert found.stopped == 1
    assert found.losses[0] == 1.0
    assert math.isnan(found.losses[1])
    assert len(found.counts["g_a.0"]) == 2


def test_the_figure(tmp_path) -> None:
    studies = {
        "vanilla": Study("vanilla", [3.0, 2.0, math.nan], {"a": [1, 2, 3], "b": [0, 0, 9]}, 2),
        "smooth": Study("smooth", [3.0, 1.0], {"a": [1, 2], "b": [0, 0]}),
    }
    path = tmp_path / "figure.svg"
    draw(studies, path)
    assert path.stat().st_size > 10_000


@pytest.mark.parametrize(
    ("name", "reason"), [("figure.xyz", "no such format"), ("none/figure.png", "not a directory")]
)
def test_a_figure_that_cannot_be_drawn_is_refused(tmp_path, name: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        check_drawing(tmp_path / name)
