"""The recipe: what a step computes, that it learns, and that runs go on bit for bit."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from paoncodec.errors import UsageError
from paoncodec.training import RunDirectory, Samples, TrainConfig, Trainer, TrainingDiverged
from paoncodec.training.settings import preset_names, read_preset
from paoncodec.vision.parts import to_range
from paoncodec.vision.superres import load_weights, recipe
from paoncodec.vision.superres.loss import barron
from paoncodec.vision.superres.recipe import SuperResRecipe, SuperResTask

PACKAGE = recipe.__package__
OPTIONS = {"channels": 6, "blocks": 1, "scale": 2}
TRAIN = TrainConfig(
    steps=4,
    batch_size=2,
    crop=8,
    validation_crop=12,
    validation_fraction=0.4,
    warmup=0,
    ema=0.5,
    validate_every=2,
    workers=0,
    patience=2,
)


@pytest.fixture
def settings(pictures: Path) -> SuperResRecipe:
    return SuperResRecipe("padenet-id", OPTIONS, (str(pictures),), train=TRAIN)


def train(settings: SuperResRecipe, path: Path, stop: int = 0, resume: bool = False) -> Trainer:
    def hear(progress) -> None:
        if progress.step == stop:
            trainer.request_stop()

    run = RunDirectory(path, resume=resume)
    trainer = Trainer(SuperResTask(settings), run, hear, tell=lambda text: None)
    trainer.fit()
    return trainer


@pytest.mark.parametrize("name", ["paper", "small"])
def test_presets_are_whole(name: str, pictures: Path) -> None:
    assert name in preset_names(PACKAGE)
    given = {"network": "padenet-id", "options": {}, "data": [str(pictures)]}
    made = SuperResRecipe.from_json({**read_preset(PACKAGE, name), **given})
    assert (made.alpha, made.c, made.noise) == (1.5, 2.0, 40.0)


def test_the_papers_preset_is_the_papers_recipe(pictures: Path) -> None:
    settings = read_preset(PACKAGE, "paper")
    loop = TrainConfig(**settings["train"])
    assert (loop.steps, loop.batch_size, loop.crop, settings["lr"]) == (500_000, 25, 64, 1e-3)
    assert settings["lr"] * loop.rate_factor(loop.steps) == pytest.approx(1e-6)
    assert loop.rate_factor(0) == 1


def test_the_loss_is_the_robust_one_of_the_range(settings: SuperResRecipe) -> None:
    task = SuperResTask(settings)
    data = task.data()
    low, high = (torch.stack(part) for part in zip(data[0], data[1], strict=True))
    loss, figures = task.loss(task.model, (low, high), Samples(range(2), 2, 0))
    made = task.model(low)
    assert loss.item() == pytest.approx(barron(made - to_range(high), 1.5, 2.0).mean().item())
    error = ((made - to_range(high)) / 2).square().flatten(1).mean(1)
    assert figures["psnr"] == pytest.approx((-10 * error.log10()).mean().item())


def test_it_learns(settings: SuperResRecipe, tmp_path: Path) -> None:
    """Enough to be better than the mean colour, which is at 14 dB here."""
    longer = replace(
        settings, lr=5e-3, train=replace(TRAIN, steps=60, validate_every=60, batch_size=4)
    )
    best = train(longer, tmp_path / "run").best_validation()
    assert best["psnr"] > 20
    assert best["loss"] == pytest.approx(10 ** (-best["psnr"] / 10))


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_it_learns_in_low_precision(settings, precision: str, tmp_path: Path) -> None:
    low = replace(settings, train=replace(TRAIN, precision=precision))
    trainer = train(low, tmp_path / "run")
    assert trainer.skipped == 0
    assert trainer.best_validation()["psnr"] > 5


def test_a_resumed_run_is_the_unbroken_one(settings: SuperResRecipe, tmp_path: Path) -> None:
    train(settings, tmp_path / "whole")
    train(settings, tmp_path / "parts", stop=2)
    train(settings, tmp_path / "parts", resume=True)
    whole, parts = (tmp_path / name / "last.safetensors" for name in ("whole", "parts"))
    assert whole.read_bytes() == parts.read_bytes()


def test_its_weights_are_ready_to_use(settings: SuperResRecipe, tmp_path: Path) -> None:
    trainer = train(settings, tmp_path / "run")
    model, about = load_weights(trainer.run.weights_file("best"))
    assert (about["network"], model.scale) == ("padenet-id", 2)


def test_its_pictures_are_shown(settings: SuperResRecipe) -> None:
    task = SuperResTask(settings)
    shown = task.pictures(task.model.eval())
    assert len(shown) == len(task.validation)
    for picture in shown.values():
        assert picture.shape == (3, 24, 72)
        assert (picture >= 0).all()
        assert (picture <= 1).all()


def test_validation_pictures_may_be_given(settings: SuperResRecipe, pictures: Path) -> None:
    own = replace(settings, validation=(str(pictures / "0.png"),))
    task = SuperResTask(own)
    assert [path.name for path in task.validation] == ["0.png"]
    assert len(task.training) == 6


def test_a_run_that_is_not_finite_ends(settings, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(recipe, "barron", lambda x, alpha, c: x * torch.nan)
    with pytest.raises(TrainingDiverged, match="2 times in a row"):
        train(settings, tmp_path / "run")


def test_settings_come_back_from_json(settings: SuperResRecipe) -> None:
    assert SuperResRecipe.from_json(asdict(settings)) == settings


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"lr": 0.0}, "lr 0.0"),
        ({"c": -1.0}, "c -1.0"),
        ({"start": "best"}, "start 'best'"),
        ({"alpha": float("nan")}, "alpha"),
        ({"noise": float("inf")}, "noise inf"),
        ({"data_weights": [1.0, 2.0]}, "give one for each"),
        ({"colour": 1}, "colour: no such setting"),
        ({"train": {"pace": 1}}, r"train\.pace: no such setting"),
    ],
)
def test_wrong_settings_are_refused(settings: SuperResRecipe, wrong, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        SuperResRecipe.from_json({**asdict(settings), **wrong})


def test_missing_pictures_are_refused(settings: SuperResRecipe, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file or folder"):
        SuperResTask(replace(settings, data=(str(tmp_path / "nowhere"),)))
    with pytest.raises(UsageError, match="no pictures"):
        SuperResTask(replace(settings, data=(str(tmp_path),)))
    one = str(next(Path(settings.data[0]).iterdir()))
    with pytest.raises(UsageError, match="at least two"):
        SuperResTask(replace(settings, data=(one,)))
