"""From a run's directory to a vision model that is found by its name and does what it says."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from paoncodec import zoo
from paoncodec.cli import main
from paoncodec.cli.vision.kinds import KINDS, settings_of
from paoncodec.errors import UsageError
from paoncodec.evaluation.vision_check import check_vision
from paoncodec.vision import classification, segmentation, superres
from paoncodec.vision.classification import PadeResNet
from paoncodec.vision.classification.recipe import ClassificationRecipe
from paoncodec.vision.segmentation import phantom
from paoncodec.vision.segmentation.recipe import SegmentationRecipe
from paoncodec.vision.superres.recipe import SuperResRecipe
from paoncodec.vision_zoo import list_vision_cards
from tests.vision.classification.conftest import write_folders

CLASSES = ("chequered", "flat")


@pytest.fixture(scope="module")
def shipping(tool):
    return tool("ship_vision")


def ship(shipping, run_folder: Path, zoo_folder: Path, name: str = "mine", force: bool = False):
    shipment = shipping.Shipment(run_folder, zoo_folder, name, "noise", "CC0-1.0", force=force)
    return shipping.ship(shipment)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folders(tmp_path_factory.mktemp("pictures") / "Two", side=16)


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("volumes") / "Two"
    phantom.write_phantoms(folder, 2, 2, (16, 16, 16))
    return folder


@pytest.fixture(params=list(KINDS))
def task(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def place(task: str, pictures: Path, phantoms: Path) -> Path:
    """What a model of the task is measured on."""
    return phantoms if task == "segmentation" else pictures


def settings(task: str, preset: str | None = None, **words: object) -> dict:
    """What a run writes down."""
    words = {"data": ["/secret"] if task == "superres" else "/secret", **words}
    recipe = {
        "superres": SuperResRecipe,
        "classification": ClassificationRecipe,
        "segmentation": SegmentationRecipe,
    }[task]
    return json.loads(
        json.dumps(asdict(recipe.from_json(settings_of(KINDS[task], None, preset, words))))
    )


@pytest.fixture
def run_folder(task: str, tmp_path: Path) -> Path:
    """A run that validated twice; the first, at step 3, was the better."""
    place = tmp_path / "run"
    place.mkdir()
    torch.manual_seed(0)
    best = place / "best.safetensors"
    if task == "superres":
        model = superres.build("resnet", {"channels": 4, "blocks": 1, "scale": 2}).eval()
        superres.save_weights(model, best, "resnet", {"step": "3"})
        saved = settings("superres", options={"scale": 2, "blocks": 1})
    elif task == "segmentation":
        names = tuple(phantom.CLASSES.values())
        unet = segmentation.build("resunet", len(names), {"widths": (4, 6), "depths": (1, 1)})
        segmenter = segmentation.Segmenter(unet.eval(), names, (-160.0, 300.0))
        segmentation.save_weights(segmenter, best, "resunet", {"step": "3"})
        saved = settings("segmentation", network="resunet", train={"steps": 7})
    else:
        net = PadeResNet((1,), channels=4, classes=CLASSES, size=16).eval()
        classification.save_weights(net, best, "pade-resnet-2-2-2", {"step": "3"})
        saved = settings("classification", network="pade-resnet-2-2-2", epochs=7)
    (place / "config.json").write_text(json.dumps(saved))
    lines = [
        {"step": s, "seconds": 60.0 * s, "validation_loss": loss}
        for s, loss in ((3, 1.0), (4, 2.0))
    ]
    (place / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return place


def test_a_shipped_model_works_by_its_name(
    shipping, run_folder: Path, place: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.setattr(zoo, "FOLDER", tmp_path / "zoo")
    measured = str(place)
    words = ["--name", "mine", "--data-note", "noise", "--measure", measured]
    shipping.main([str(run_folder), *words, "--folder", str(tmp_path / "zoo")])
    [card] = list_vision_cards()
    assert card.sha256 in capsys.readouterr().out
    assert (card.steps, card.minutes, card.data) == (3, 3.0, "noise")
    assert "secret" not in card.command
    assert all(finding.right for finding in check_vision("mine"))
    target, photo = tmp_path / "found", place / "test" / "flat" / "0000.png"
    if card.task == "segmentation":
        photo = place / "imagesVa" / "phantom_0002.nii.gz"
    words = ["vision", "eval", "--task", card.task, "--model", "mine", "--images", measured]
    outcome = CliRunner().invoke(main, [*words, "--json", str(target)])
    assert outcome.exit_code == 0, outcome.output
    found = json.loads(target.read_text())
    assert found["name"] == "mine"
    for key, value in card.results["two"].items():
        expected = {**found["dataset"], **found["results"]}[key]
        if isinstance(expected, dict):
            expected = expected["mean"]
        assert value == pytest.approx(expected, abs=1e-5)
    words = ["vision", "predict", "--task", card.task, "--model", "mine", str(photo)]
    output = {"superres": "big.png", "segmentation": "labels.nii.gz"}.get(card.task)
    words += ["-o", str(tmp_path / output)] if output else []
    assert CliRunner().invoke(main, words).exit_code == 0
    for words in (["list"], ["list", "--json"], ["show", "mine"], ["verify", "mine"]):
        outcome = CliRunner().invoke(main, ["zoo", *words])
        assert outcome.exit_code == 0, outcome.output
        assert card.task in outcome.output or words[0] == "verify"


def test_what_is_not_as_recorded_is_found(
    shipping, run_folder: Path, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(zoo, "FOLDER", tmp_path / "zoo")
    ship(shipping, run_folder, tmp_path / "zoo")
    path = tmp_path / "zoo" / "vision" / "mine.json"
    saved = json.loads(path.read_text())
    key = "psnr" if saved["task"] == "superres" else "probability"
    saved["check"][key] += 0.1
    path.write_text(json.dumps(saved))
    assert [f.right for f in check_vision("mine")] == [True, True, False]
    (path.parent / "mine.safetensors").write_bytes(b"damaged")
    [finding] = check_vision("mine")
    assert "damaged" in finding.detail


def test_names_are_kept(shipping, run_folder: Path, tmp_path: Path) -> None:
    ship(shipping, run_folder, tmp_path / "zoo")
    with pytest.raises(UsageError, match="exists: choose another --name"):
        ship(shipping, run_folder, tmp_path / "zoo")
    ship(shipping, run_folder, tmp_path / "zoo", force=True)
    (tmp_path / "zoo" / "codec.json").write_text("{}")
    with pytest.raises(UsageError, match="exists: choose another --name"):
        ship(shipping, run_folder, tmp_path / "zoo", "codec", force=True)


def test_a_folder_without_a_run_is_refused(shipping, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="holds no run"):
        ship(shipping, tmp_path / "empty", tmp_path / "zoo")
    assert not (tmp_path / "zoo").exists()


@pytest.mark.parametrize(
    ("task", "words", "said"),
    [
        ("superres", {}, "--network padenet-id --preset small"),
        (
            "superres",
            {"options": {"degrees": [2, 1], "shared_upsampler": True}, "train": {"crop": 24}},
            "--network padenet-id --preset small --degrees 2/1 --shared-upsampler --crop 24",
        ),
        ("classification", {}, "--network pade-resnet-ii-2-2-2 --preset small"),
        (
            "classification",
            {"epochs": 600, "train": {"workers": 4}},
            "--network pade-resnet-ii-2-2-2 --preset paper",
        ),
        (
            "classification",
            {"epochs": 8, "pure": "bfloat16", "train": {"seed": 3, "crop": 32}},
            "--network pade-resnet-ii-2-2-2 --preset small --epochs 8 --pure bfloat16 --seed 3",
        ),
        (
            "classification",
            {"epochs": None, "train": {"steps": 90}},
            "--network pade-resnet-ii-2-2-2 --preset small --steps 90",
        ),
        (
            "classification",
            {"preset": "pure", "network": "pure-resnet20", "epochs": 9},
            "--network pure-resnet20 --preset pure --epochs 9",
        ),
        ("segmentation", {}, "--network pure-resunet --preset small"),
        (
            "segmentation",
            {"network": "resunet", "epochs": 3, "train": {"crop": 32, "seed": 1}},
            "--network resunet --preset small --epochs 3 --crop 32 --seed 1",
        ),
        (
            "segmentation",
            {"options": {"widths": [4, 8], "depths": [1, 1], "outer_relu": False}},
            "--network pure-resunet --preset small --option 'widths=[4,8]' "
            "--option 'depths=[1,1]' --option outer_relu=false",
        ),
    ],
)
def test_commands_repeat_the_run(shipping, task: str, words: dict, said: str) -> None:
    """With the preset that leaves the least to say; what the data decide is not said."""
    found = shipping.training_command(task, settings(task, **words))
    assert found == f"paoncodec vision train --task {task} {said} --data DIR --out RUN"


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("classification", {"noise": 30.0}),
        ("classification", {"validation": "/secret"}),
    ],
)
def test_settings_that_no_command_gives_are_refused(shipping, task: str, words: dict) -> None:
    with pytest.raises(UsageError, match="say with --command"):
        shipping.training_command(task, settings(task, **words))


def test_settings_of_no_task_are_refused(shipping, run_folder: Path, tmp_path: Path) -> None:
    (run_folder / "config.json").write_text('{"colour": 1}')
    with pytest.raises(UsageError, match="settings of no task"):
        ship(shipping, run_folder, tmp_path / "zoo")
