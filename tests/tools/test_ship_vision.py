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
from paoncodec.vision import classification, superres
from paoncodec.vision.classification import PadeResNet
from paoncodec.vision.classification.recipe import ClassificationRecipe
from paoncodec.vision.superres.recipe import SuperResRecipe
from paoncodec.vision_zoo import list_vision_cards
from tests.vision.classification.conftest import write_folders

CLASSES = ("chequered", "flat")


@pytest.fixture(scope="module")
def shipping(tool):
    return tool("ship_vision")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folders(tmp_path_factory.mktemp("pictures") / "Two", side=16)


def settings(task: str, **words: object) -> dict:
    """What a run writes down."""
    words = {"data": "/secret", **words} if task == "classification" else {**words, "data": ["/s"]}
    recipe = {"superres": SuperResRecipe, "classification": ClassificationRecipe}[task]
    return json.loads(
        json.dumps(asdict(recipe.from_json(settings_of(KINDS[task], None, None, words))))
    )


@pytest.fixture(params=["superres", "classification"])
def run_folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A run that validated twice; the first, at step 3, was the better."""
    place = tmp_path / "run"
    place.mkdir()
    torch.manual_seed(0)
    best = place / "best.safetensors"
    if request.param == "superres":
        model = superres.build("resnet", {"channels": 4, "blocks": 1, "scale": 2}).eval()
        superres.save_weights(model, best, "resnet", {"step": "3"})
        saved = settings("superres", options={"scale": 2, "blocks": 1})
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
    shipping, run_folder: Path, pictures: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.setattr(zoo, "FOLDER", tmp_path / "zoo")
    measured = str(pictures)
    words = ["--name", "mine", "--data-note", "noise", "--measure", measured]
    shipping.main([str(run_folder), *words, "--folder", str(tmp_path / "zoo")])
    [card] = list_vision_cards()
    assert card.sha256 in capsys.readouterr().out
    assert (card.steps, card.minutes, card.data) == (3, 3.0, "noise")
    assert "secret" not in card.command
    assert all(finding.right for finding in check_vision("mine"))
    target, photo = tmp_path / "found", pictures / "test" / "flat" / "0000.png"
    words = ["vision", "eval", "--task", card.task, "--model", "mine", "--images", measured]
    outcome = CliRunner().invoke(main, [*words, "--json", str(target)])
    assert outcome.exit_code == 0, outcome.output
    found = json.loads(target.read_text())
    assert found["name"] == "mine"
    for key, value in card.results["two"].items():
        expected = found["dataset"]["images"] if key == "images" else found["results"][key]
        assert value == pytest.approx(expected, abs=1e-5)
    words = ["vision", "predict", "--task", card.task, "--model", "mine", str(photo)]
    words += ["-o", str(tmp_path / "big.png")] if card.task == "superres" else []
    assert CliRunner().invoke(main, words).exit_code == 0
    for words in (["list"], ["list", "--json"], ["show", "mine"], ["verify", "mine"]):
        outcome = CliRunner().invoke(main, ["zoo", *words])
        assert outcome.exit_code == 0, outcome.output
        assert card.task in outcome.output or words[0] == "verify"


def test_what_is_not_as_recorded_is_found(
    shipping, run_folder: Path, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(zoo, "FOLDER", tmp_path / "zoo")
    shipping.ship(run_folder, tmp_path / "zoo", "mine", "noise", "CC0-1.0")
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
    given = (run_folder, tmp_path / "zoo", "mine", "noise", "CC0-1.0")
    shipping.ship(*given)
    with pytest.raises(UsageError, match="exists: choose another --name"):
        shipping.ship(*given)
    shipping.ship(*given, force=True)
    (tmp_path / "zoo" / "codec.json").write_text("{}")
    with pytest.raises(UsageError, match="exists: choose another --name"):
        shipping.ship(run_folder, tmp_path / "zoo", "codec", "noise", "CC0-1.0", force=True)


def test_a_folder_without_a_run_is_refused(shipping, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="holds no run"):
        shipping.ship(tmp_path / "empty", tmp_path / "zoo", "mine", "noise", "CC0-1.0")
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
    ],
)
def test_commands_repeat_the_run(shipping, task: str, words: dict, said: str) -> None:
    """With the preset that leaves the least to say; what the data decide is not said."""
    found = shipping.training_command(task, settings(task, **words))
    assert found == f"paoncodec vision train --task {task} {said} --data DIR --out RUN"


def test_settings_that_no_command_gives_are_refused(shipping) -> None:
    with pytest.raises(UsageError, match="say with --command"):
        shipping.training_command("classification", settings("classification", noise=30.0))
