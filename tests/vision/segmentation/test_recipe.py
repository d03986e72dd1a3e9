"""The recipe: what a step computes, that it learns, and that runs go on bit for bit."""

from __future__ import annotations

from dataclasses import asdict, replace
from math import ceil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from paoncodec.errors import UsageError, WeightsError
from paoncodec.training import RunDirectory, Samples, TrainConfig, Trainer
from paoncodec.training.settings import preset_names, read_preset
from paoncodec.vision.segmentation import recipe
from paoncodec.vision.segmentation.data import Slices
from paoncodec.vision.segmentation.loss import dice_cross_entropy
from paoncodec.vision.segmentation.networks import build
from paoncodec.vision.segmentation.pictures import beside, overlay
from paoncodec.vision.segmentation.recipe import SegmentationRecipe, SegmentationTask
from paoncodec.vision.segmentation.weights import Segmenter, load_weights, save_weights

PACKAGE = recipe.__package__
OPTIONS = {"widths": [6, 8], "depths": [1, 1]}
TRAIN = TrainConfig(
    steps=4,
    batch_size=2,
    crop=16,
    validation_fraction=0.3,
    warmup=0,
    clip=12.0,
    ema=0.5,
    validate_every=2,
    workers=0,
)


@pytest.fixture
def settings(phantoms: Path) -> SegmentationRecipe:
    return SegmentationRecipe("pure-resunet", OPTIONS, str(phantoms), train=TRAIN)


def train(settings: SegmentationRecipe, path: Path, stop: int = 0, resume: bool = False) -> Trainer:
    def hear(progress) -> None:
        if progress.step == stop:
            trainer.request_stop()

    run = RunDirectory(path, resume=resume)
    trainer = Trainer(SegmentationTask(settings), run, hear, tell=lambda text: None)
    trainer.fit()
    return trainer


@pytest.mark.parametrize("name", ["paper", "small"])
def test_presets_are_whole(name: str, phantoms: Path) -> None:
    assert name in preset_names(PACKAGE)
    given = {"network": "resunet", "options": {}, "data": str(phantoms)}
    SegmentationRecipe.from_json({**given, **read_preset(PACKAGE, name)})


def test_the_papers_preset_is_the_papers_recipe(phantoms: Path) -> None:
    given = {"options": {}, "data": str(phantoms), **read_preset(PACKAGE, "paper")}
    for network, rate in (("resunet", 2e-4), ("pure-resunet", 2e-5)):
        made = SegmentationRecipe.from_json({"network": network, **given})
        task = SegmentationTask(replace(made, options=OPTIONS))
        (optimizer,) = task.optimizers()
        assert optimizer.param_groups[0]["initial_lr"] == pytest.approx(rate)
        assert optimizer.param_groups[0]["weight_decay"] == 1e-4
        assert (task.config.batch_size, task.config.clip) == (2, 12.0)
        assert task.config.precision == "float16"
        assert task.config.steps == 300 * len(task.training) * (20 + 18 + 16) // 2


def test_the_loss_is_dice_and_cross_entropy(settings: SegmentationRecipe) -> None:
    task = SegmentationTask(settings)
    data = task.data()
    batch = [torch.stack(part) for part in zip(data[0], data[1], strict=True)]
    loss, figures = task.loss(task.model, batch, Samples(range(2), 2, 0))
    assert loss == dice_cross_entropy(task.model(batch[0]), batch[1])
    assert figures == {"loss": loss.item(), "guarded": 0}


def test_held_exponents_are_recorded(settings: SegmentationRecipe) -> None:
    task = SegmentationTask(settings)
    unit = task.model.encoder[0][0].conv2
    with torch.no_grad():
        unit.bias.fill_(50)
    data = task.data()
    batch = [part[None] for part in data[0]]
    _, figures = task.loss(task.model, batch, Samples(range(1), 1, 0))
    assert figures["guarded"] == 6 * 16 * 16


@pytest.mark.slow
def test_it_learns(settings: SegmentationRecipe, tmp_path: Path) -> None:
    loop = replace(TRAIN, steps=120, batch_size=8, ema=0.8, validate_every=120)
    easy = {"lr": 0.1, "rotation": 0.0, "noise": 0.0, "scale": 0.0, "shift": 0.0}
    trainer = train(replace(settings, **easy, train=loop), tmp_path / "run")
    untrained = SegmentationTask(settings)
    with torch.no_grad():
        before = untrained.validate(untrained.model.eval())["dice"]
    after = trainer.best_validation()
    assert after["dice"] > before + 0.1
    assert after["loss"] == pytest.approx(1 - after["dice"])


def test_a_resumed_run_repeats_an_unbroken_one(settings, tmp_path: Path) -> None:
    whole = train(settings, tmp_path / "whole")
    train(settings, tmp_path / "parts", stop=3)
    parts = train(settings, tmp_path / "parts", resume=True)
    names = [t.run.weights_file("last") for t in (whole, parts)]
    assert names[0].read_bytes() == names[1].read_bytes()


def test_weights_say_what_they_are(settings, tmp_path: Path) -> None:
    trainer = train(settings, tmp_path / "run")
    found, metadata = load_weights(trainer.run.weights_file("best"))
    assert found.classes[6] == "aorta"
    assert found.window == (-160.0, 300.0)
    assert metadata["network"] == "pure-resunet"
    assert not found.model.training
    x = torch.randn(1, 1, 16, 16)
    with safe_open(trainer.run.weights_file("best"), "pt") as file:
        assert torch.equal(file.get_tensor("head.bias"), found.model.head.bias)
    assert found.model(x).isfinite().all()
    text = tmp_path / "text"
    text.write_text("no weights")
    with pytest.raises(WeightsError, match="not weights of a segmentation network"):
        load_weights(text)
    with torch.no_grad():
        found.model.head.bias[0] = torch.nan
    with pytest.raises(ValueError, match=r"not finite in head\.bias"):
        save_weights(found, text, "pure-resunet", {})


def test_a_segmenter_knows_each_class_of_its_network() -> None:
    model = build("resunet", 3, {"widths": (4, 4), "depths": (1, 1)})
    with pytest.raises(ValueError, match="the network has 3"):
        Segmenter(model, ("air", "bone"), (0.0, 1.0))
    with pytest.raises(ValueError, match="must rise"):
        Segmenter(model, ("air", "bone", "fat"), (1.0, 1.0))


def test_epochs_are_steps_and_stay_in_the_record(settings: SegmentationRecipe) -> None:
    made = [SegmentationTask(replace(settings, epochs=epochs)) for epochs in (1, 2.5)]
    data = made[0].data()
    assert isinstance(data, Slices)
    slices = len(data.places)
    batch = settings.train.batch_size
    assert [t.config.steps for t in made] == [ceil(n * slices / batch) for n in (1, 2.5)]
    assert made[1].describe()["epochs"] == 2.5


def test_pictures_are_of_every_direction(settings: SegmentationRecipe) -> None:
    task = SegmentationTask(settings)
    with torch.no_grad():
        shown = task.pictures(task.model.eval())
    assert {name: tuple(p.shape) for name, p in shown.items()} == {
        "sagittal": (3, 18, 48),
        "coronal": (3, 20, 48),
        "axial": (3, 20, 54),
    }
    assert all(0 <= p.min() <= p.max() <= 1 for p in shown.values())


def test_overlays_colour_what_has_a_label() -> None:
    values = torch.tensor([[-1.0, 0.0, 1.0]])
    labels = torch.tensor([[0, 1, 2]], dtype=torch.uint8)
    made = overlay(values, labels)
    assert made[:, 0, 0].tolist() == [0, 0, 0]
    assert made[:, 0, 1].unique().numel() > 1
    assert not torch.equal(made[:, 0, 1], made[:, 0, 2])
    row = beside(values, labels, torch.zeros_like(labels))
    assert torch.equal(row[..., :3], row[..., 6:])
    assert torch.equal(row[..., 3:6], made)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"lr": 0.0}, "lr 0.0"),
        ({"noise": -1.0}, "noise -1.0"),
        ({"window": (3.0, 1.0)}, "window"),
        ({"epochs": 0}, "epochs 0"),
        ({"colour": 1}, "colour: no such setting"),
        ({"network": "unet"}, "choose one of resunet"),
    ],
)
def test_wrong_settings_are_refused(settings, change: dict, said: str) -> None:
    made = {**asdict(settings), **change}
    with pytest.raises(UsageError, match=said):
        SegmentationTask(SegmentationRecipe.from_json(made))
