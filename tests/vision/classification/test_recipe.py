"""The recipe: what a step computes, that it learns, and that runs go on bit for bit."""

from __future__ import annotations

import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from paoncodec.errors import ImageError, PictureLeftOut, UsageError
from paoncodec.layers import ProductUnit2d
from paoncodec.training import RunDirectory, Samples, TrainConfig, Trainer, TrainingDiverged
from paoncodec.training.settings import preset_names, read_preset
from paoncodec.vision.classification import PadeResNet, load_weights, recipe
from paoncodec.vision.classification.recipe import ClassificationRecipe, ClassificationTask
from tests.vision.classification.conftest import write_batch, write_folders, write_imagenet

PACKAGE = recipe.__package__
OPTIONS = {"channels": 4, "blocks": [1, 1]}
TRAIN = TrainConfig(
    steps=4,
    batch_size=4,
    validation_fraction=0.25,
    warmup=0,
    ema=0.0,
    validate_every=2,
    workers=0,
    patience=2,
)


@pytest.fixture
def settings(folders: Path) -> ClassificationRecipe:
    return ClassificationRecipe("pade-resnet-2-2-2", OPTIONS, str(folders), train=TRAIN)


def train(settings, path: Path, stop: int = 0, resume: bool = False) -> Trainer:
    def hear(progress) -> None:
        if progress.step == stop:
            trainer.request_stop()

    run = RunDirectory(path, resume=resume)
    trainer = Trainer(ClassificationTask(settings), run, hear, tell=lambda text: None)
    trainer.fit()
    return trainer


@pytest.mark.parametrize(("name", "epochs"), [("paper", 600), ("small", 10)])
def test_presets_are_the_papers_recipe(name: str, epochs: int, folders: Path) -> None:
    assert name in preset_names(PACKAGE)
    given = {"network": "resnet-3-3-3", "options": {}, "data": str(folders)}
    made = ClassificationRecipe.from_json({**read_preset(PACKAGE, name), **given})
    assert (made.border, made.noise, made.lr, made.weight_decay) == (4, 40.0, 1e-3, 5e-4)
    assert (made.epochs, made.train.batch_size) == (epochs, 250)
    assert made.lr * made.train.rate_factor(made.train.steps) == pytest.approx(2e-6)
    assert made.train.rate_factor(0) == 1
    # 5,000 of CIFAR-10's 50,000 are held out, and validated on once an epoch of the others.
    assert made.train.validation_fraction * 50_000 == 5_000
    assert made.train.validate_every * 250 == 45_000


@pytest.mark.parametrize(
    ("name", "network", "lr", "decay", "epochs", "drops"),
    [
        ("pure", "pure-resnet20", 0.01, 1e-3, 160, (80, 120)),
        ("pure-extended", "pure-resnet20", 0.01, 1e-3, 220, (140, 180)),
        ("resnet", "resnet20", 0.1, 1e-4, 182, (91, 136.5)),
    ],
)
def test_presets_of_small_resnets_are_those_of_their_papers(
    name: str, network: str, lr: float, decay: float, epochs: int, drops: tuple, folders: Path
) -> None:
    given = {"network": network, "options": {"depth": 8}, "data": str(folders)}
    made = ClassificationRecipe.from_json({**read_preset(PACKAGE, name), **given})
    assert (made.upright, made.noise, made.border) == (True, None, 4)
    assert (made.epochs, made.train.batch_size) == (epochs, 128)
    loop = replace(made.train, steps=2 * epochs)
    for n, drop in enumerate(drops):
        assert loop.rate_factor(int(2 * drop) - 1) == pytest.approx(0.1**n)
        assert loop.rate_factor(int(2 * drop)) == pytest.approx(0.1 ** (n + 1))
    [optimizer] = ClassificationTask(made).optimizers()
    assert isinstance(optimizer, torch.optim.SGD)
    [group] = optimizer.param_groups
    assert (group["lr"], group["momentum"], group["weight_decay"]) == (lr, 0.9, decay)


def test_what_product_units_hold_is_counted(settings: ClassificationRecipe) -> None:
    task = ClassificationTask(replace(settings, network="pure-resnet20", options={"depth": 8}))
    batch = (torch.rand(2, 3, 32, 32), torch.tensor([0, 1]))
    assert task.loss(task.model, batch, Samples(range(2), 2, 0))[1]["guarded"] == 0
    unit = next(m for m in task.model.modules() if isinstance(m, ProductUnit2d))
    torch.nn.init.constant_(unit.bias, 1e3)
    assert task.loss(task.model, batch, Samples(range(2), 2, 0))[1]["guarded"] > 0
    assert task.loss(task.model, batch, Samples(range(2), 2, 0))[1]["guarded"] > 0


def test_epochs_are_steps(settings: ClassificationRecipe) -> None:
    """18 pictures to train on, 4 a step."""
    for epochs, steps in ((2, 9), (0.1, 1), (3, 14)):
        task = ClassificationTask(replace(settings, epochs=epochs))
        assert (len(task.training), task.config.steps) == (18, steps)
        assert task.describe()["train"]["steps"] == steps


def test_the_loss_is_cross_entropy(settings: ClassificationRecipe) -> None:
    task = ClassificationTask(settings)
    data = task.data()
    values = torch.stack([data[k][0] for k in range(4)])
    labels = torch.tensor([data[k][1] for k in range(4)])
    loss, figures = task.loss(task.model, (values, labels), Samples(range(4), 4, 0))
    logits = task.model(values)
    assert loss.item() == pytest.approx(F.cross_entropy(logits, labels).item())
    right = (logits.argmax(1) == labels).float().mean().item()
    assert figures == pytest.approx({"loss": loss.item(), "accuracy": right})


def test_validation_is_of_all_held_out_pictures(settings: ClassificationRecipe) -> None:
    task = ClassificationTask(settings)
    model = task.model.eval()
    right, entropy = 0, 0.0
    for pixels, label in zip(task.validation.pixels, task.validation.labels, strict=True):
        x = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 127.5 - 1
        logits = model(x)[0]
        right += int(logits.argmax()) == label
        entropy -= logits.log_softmax(0)[label].item()
    count = len(task.validation)
    wanted = {
        "loss": 1 - right / count,
        "accuracy": right / count,
        "cross_entropy": entropy / count,
    }
    assert task.validate(model) == pytest.approx(wanted, rel=1e-4)


def longer(settings: ClassificationRecipe, **changes: object) -> ClassificationRecipe:
    loop = replace(TRAIN, steps=60, batch_size=12, validate_every=20)
    return replace(settings, lr=1e-2, train=loop, **changes)


@pytest.mark.parametrize("network", ["resnet-3-3-3", "pade-resnet-2-2-2"])
def test_it_learns(settings: ClassificationRecipe, network: str, tmp_path: Path) -> None:
    """Flat from chequered, which takes some steps of each kind of network."""
    best = train(longer(settings, network=network), tmp_path / "run").best_validation()
    assert best["accuracy"] == 1
    assert best["loss"] == 0


@pytest.mark.parametrize("network", ["resnet20", "pure-resnet20"])
def test_small_resnets_learn_by_sgd(settings, network: str, tmp_path: Path) -> None:
    changes = {"options": {"depth": 8}, "optimizer": "sgd", "upright": True, "noise": None}
    trainer = train(longer(settings, network=network, **changes), tmp_path / "run")
    assert trainer.best_validation()["accuracy"] == 1
    model, about = load_weights(trainer.run.weights_file("best"))
    assert about["network"] == network
    assert model.config["depth"] == 8


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_it_learns_by_autocast(settings, precision: str, tmp_path: Path) -> None:
    low = replace(settings, train=replace(TRAIN, precision=precision))
    trainer = train(low, tmp_path / "run")
    assert {p.dtype for p in trainer.task.model.parameters()} == {torch.float32}
    assert trainer.skipped == 0
    assert np.isfinite(trainer.best_validation()["cross_entropy"])


@pytest.mark.parametrize("form", ["bfloat16", "float16"])
def test_it_learns_in_pure_low_precision(settings, form: str, tmp_path: Path) -> None:
    trainer = train(longer(settings, pure=form), tmp_path / "run")
    assert trainer.skipped == 0
    assert trainer.best_validation()["accuracy"] == 1
    model, _ = load_weights(trainer.run.weights_file("best"))
    assert str(model.head.bias.dtype) == f"torch.{form}"


@pytest.mark.parametrize("form", [None, "bfloat16", "float16"])
def test_a_resumed_run_is_the_unbroken_one(settings, form: str | None, tmp_path: Path) -> None:
    settings = replace(settings, pure=form)
    train(settings, tmp_path / "whole")
    train(settings, tmp_path / "parts", stop=2)
    train(settings, tmp_path / "parts", resume=True)
    whole, parts = (tmp_path / name / "last.safetensors" for name in ("whole", "parts"))
    assert whole.read_bytes() == parts.read_bytes()


def test_its_weights_are_ready_to_use(settings: ClassificationRecipe, tmp_path: Path) -> None:
    trainer = train(settings, tmp_path / "run")
    model, about = load_weights(trainer.run.weights_file("best"))
    assert about["network"] == "pade-resnet-2-2-2"
    assert (model.classes, model.size) == (("chequered", "flat"), 32)


def test_what_it_gets_wrong_is_shown(settings: ClassificationRecipe) -> None:
    task = ClassificationTask(settings)
    model = task.model.eval()
    with torch.no_grad():
        model.head.numerator.zero_()
        model.head.denominator.zero_()
        model.head.bias.copy_(torch.tensor([1.0, 0.0]))  # all are of the first class
    flat = task.validation.pixels[task.validation.labels == 1]
    shown = task.pictures(model)["wrong"]
    assert torch.equal(shown[:, :, :32], torch.from_numpy(flat[0]).permute(2, 0, 1) / 255)
    assert shown.shape == (3, 32, 32 * len(flat))
    task.validation.labels[:] = 0
    assert task.pictures(model) == {}


def test_validation_pictures_may_be_given(settings: ClassificationRecipe, folders: Path) -> None:
    task = ClassificationTask(replace(settings, validation=str(folders)))
    assert (len(task.training), len(task.validation)) == (24, 8)


def test_a_step_that_is_not_finite_leaves_no_trace(
    settings: ClassificationRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also not in batch normalisation's running means, which no later step would mend."""
    forward, calls = PadeResNet.forward, []

    def spoilt(model: PadeResNet, x: torch.Tensor) -> torch.Tensor:
        if model.training:
            calls.append(x)
        return forward(model, x * torch.nan if model.training and len(calls) == 2 else x)

    monkeypatch.setattr(PadeResNet, "forward", spoilt)
    trainer = train(settings, tmp_path / "run")
    assert trainer.skipped == 1
    assert np.isfinite(trainer.best_validation()["cross_entropy"])
    assert all(torch.isfinite(b).all() for b in trainer.task.model.buffers())


def test_a_run_that_is_not_finite_ends_and_keeps_what_it_had(
    settings: ClassificationRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(settings, tmp_path / "run", stop=2)
    kept = (tmp_path / "run" / "last.safetensors").read_bytes()
    monkeypatch.setattr(recipe.F, "cross_entropy", lambda x, labels: (x * torch.nan).mean())
    with pytest.raises(TrainingDiverged, match="2 times in a row"):
        train(settings, tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "last.safetensors").read_bytes() == kept


def test_settings_come_back_from_json(settings: ClassificationRecipe) -> None:
    assert ClassificationRecipe.from_json(asdict(settings)) == settings
    described = ClassificationTask(settings).describe()
    again = ClassificationTask(ClassificationRecipe.from_json(described))
    assert again.describe() == described


def test_classes_stay_those_of_the_run(
    settings: ClassificationRecipe, folders: Path, tmp_path: Path
) -> None:
    saved = ClassificationTask(settings).describe()
    other = shutil.copytree(folders, tmp_path / "other")
    for part in ("train", "test"):
        (other / part / "flat").rename(other / part / "smooth")
    with pytest.raises(UsageError, match="class smooth: the network knows chequered, flat"):
        ClassificationTask(ClassificationRecipe.from_json({**saved, "data": str(other)}))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"lr": 0.0}, "lr 0.0"),
        ({"weight_decay": -1.0}, "weight_decay -1.0"),
        ({"border": -1}, "border -1"),
        ({"noise": float("inf")}, "noise inf"),
        ({"epochs": 0}, "epochs 0"),
        ({"pure": "float32"}, "pure 'float32'"),
        ({"pure": "float16", "train": {"precision": "float16"}}, "give one of them"),
        ({"colour": 1}, "colour: no such setting"),
        ({"train": {"pace": 1}}, r"train\.pace: no such setting"),
    ],
)
def test_wrong_settings_are_refused(settings, wrong: dict, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        ClassificationRecipe.from_json({**asdict(settings), **wrong})


def test_missing_pictures_are_refused(settings: ClassificationRecipe, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file or folder"):
        ClassificationTask(replace(settings, data=str(tmp_path / "nowhere")))
    write_batch(tmp_path / "data_batch_1", np.zeros((1, 32, 32, 3), np.uint8), [3])
    with pytest.raises(UsageError, match="at least two"):
        ClassificationTask(replace(settings, data=str(tmp_path)))


def test_a_picture_of_another_size_ends_it_and_an_unreadable_one_does_not(
    settings: ClassificationRecipe, tmp_path: Path
) -> None:
    place = write_folders(tmp_path / "own")
    settings = replace(settings, data=str(place))
    (place / "train" / "flat" / "0003.png").write_text("no picture")
    with pytest.warns(PictureLeftOut, match=r"train/flat/0003\.png"):
        assert len(ClassificationTask(settings).training) == 17
    Image.new("RGB", (40, 32)).save(place / "train" / "flat" / "0003.png")
    with pytest.raises(ImageError, match=r"flat/0003\.png: 40x32 pixels, must be 32x32"):
        ClassificationTask(settings)


@pytest.mark.parametrize(
    ("name", "lr", "decay"), [("pure-galaxy10", 0.01, 0.01), ("resnet-galaxy10", 0.1, 0.001)]
)
def test_presets_of_galaxies_are_the_papers(
    name: str, lr: float, decay: float, folders: Path
) -> None:
    given = {"network": "pure-resnet20", "options": {"depth": 8}, "data": str(folders)}
    made = ClassificationRecipe.from_json({**read_preset(PACKAGE, name), **given})
    assert (made.lr, made.weight_decay, made.epochs, made.optimizer) == (lr, decay, 30, "sgd")
    assert (made.resized, made.rotation, made.upright, made.noise) == (True, 20, True, None)
    assert (made.stratified, made.select, made.each_epoch) == (True, "cross_entropy", True)
    assert (made.train.batch_size, made.train.schedule, made.train.plateau) == (64, "plateau", 3)
    # of the 95 % that are no test
    assert made.train.validation_fraction * 0.95 == pytest.approx(0.05)


def test_the_preset_of_imagenet_is_the_papers(tmp_path: Path) -> None:
    data = write_imagenet(tmp_path / "imagenet")
    given = {"network": "pure-resnet20", "options": {"depth": 8}, "data": str(data)}
    made = ClassificationRecipe.from_json({**read_preset(PACKAGE, "pure-imagenet"), **given})
    assert (made.lr, made.weight_decay, made.epochs, made.side) == (0.01, 1e-3, 90, 224)
    assert (made.resized, made.upright, made.optimizer) == (True, True, "sgd")
    loop = replace(made.train, steps=90)
    assert [loop.rate_factor(k) for k in (29, 30, 59, 60)] == pytest.approx([1, 0.1, 0.1, 0.01])


def test_picture_files_are_trained_on(tmp_path: Path) -> None:
    data = write_imagenet(tmp_path / "imagenet")
    bad = data / "train" / "n01440764" / "n01440764_2.JPEG"
    bad.write_bytes(b"none")
    wanted = ClassificationRecipe(
        "pure-resnet20",
        {"depth": 8},
        str(data),
        upright=True,
        noise=None,
        resized=True,
        side=16,
        select="cross_entropy",
        each_epoch=True,
        epochs=2,
        train=replace(TRAIN, validation_fraction=0.5),
    )
    heard: list[str] = []
    task = ClassificationTask(wanted)
    assert (len(task.training), len(task.validation), task.config.crop) == (6, 6, 16)
    trainer = Trainer(task, RunDirectory(tmp_path / "run"), tell=heard.append)
    trainer.fit()
    validated = [r for r in trainer.run.records() if "validation_loss" in r]
    assert [r["step"] for r in validated] == [2, 3]
    assert all(r["validation_loss"] == r["validation_cross_entropy"] for r in validated)
    assert [text for text in heard if "n01440764_2.JPEG" in text]
    network, _ = load_weights(trainer.run.weights_file("best"))
    assert (network.size, network.classes) == (16, ("n01440764", "n01443537"))


def test_resized_pictures_only_are_turned_and_of_files() -> None:
    for settings, said in (
        ({"rotation": 20.0}, "set resized"),
        ({"side": 224}, "set resized"),
        ({"rotation": -1.0, "resized": True}, "rotation -1.0: must be 0 or more"),
        ({"side": 0, "resized": True}, "side 0: must be 1 or more"),
        ({"select": "loss"}, "choose accuracy or cross_entropy"),
    ):
        with pytest.raises(UsageError, match=said):
            ClassificationRecipe("resnet20", {}, "data", **settings)
