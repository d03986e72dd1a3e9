"""`paoncodec vision … --task classification`: from pictures to weights, figures and labels."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from paoncodec.vision.classification import PadeResNet, save_weights
from tests.vision.classification.conftest import (
    write_archive,
    write_folders,
    write_galaxies,
    write_imagenet,
)

TASK = ("--task", "classification")
SHORT = ("--batch-size", 4, "--workers", 0)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folders(tmp_path_factory.mktemp("pictures") / "Two", side=8)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    model = PadeResNet((1,), channels=4, classes=("chequered", "flat"), size=8)
    save_weights(model.eval(), path, "pade-resnet-2-2-2", {})
    return path


@pytest.fixture
def begun(run, pictures: Path, tmp_path: Path) -> Path:
    """A run of half an epoch, with settings as a user gives them."""
    path, archive = tmp_path / "run", tmp_path / "two.tar.xz"
    write_archive(archive, pictures, "w:xz")
    words = ("--network", "pade-resnet-2-2-2", "--degrees", "2/1", "--data", archive)
    words += ("--epochs", 0.3, "--seed", 5, "--json")
    outcome = run("vision", "train", *TASK, "--out", path, *SHORT, *words)
    assert outcome.exit_code == 0, outcome.stderr
    assert json.loads(outcome.stdout)["steps"] == 2
    assert "pade-resnet-2-2-2, 2 classes" in outcome.stderr
    assert "22 to train on, 2 to validate on" in outcome.stderr
    return path


def test_a_run_keeps_its_settings_and_goes_on(run, begun: Path) -> None:
    saved = json.loads((begun / "config.json").read_text())
    assert saved["network"] == "pade-resnet-2-2-2"
    assert saved["options"] == {"degrees": [2, 1], "classes": ["chequered", "flat"], "size": 8}
    assert saved["train"].items() >= {"steps": 2, "crop": 8, "seed": 5, "floor": 2e-3}.items()
    words = ("vision", "train", *TASK, "--out", begun, "--resume")
    outcome = run(*words, "--epochs", 0.5, "--json")
    assert outcome.exit_code == 0, outcome.stderr
    assert json.loads(outcome.stdout)["steps"] == 3
    assert "resumed at step 2 of 3" in outcome.stderr
    outcome = run(*words, "--steps", 4)
    assert outcome.exit_code == 0, outcome.stderr
    assert "epochs was 0.5, now null" in outcome.stderr
    outcome = run(*words, "--pure", "bfloat16")
    assert outcome.exit_code == 2
    assert 'pure was null, now "bfloat16"' in outcome.line


def test_pictures_left_out_are_named_and_the_run_goes_on(run, pictures: Path, tmp_path) -> None:
    place = shutil.copytree(pictures, tmp_path / "copy")
    (place / "train" / "flat" / "0003.png").write_text("no picture")
    words = ("--data", place, "--network", "resnet-3-3-3", "--steps", 1, "--pure", "bfloat16")
    outcome = run("vision", "train", *TASK, "--out", tmp_path / "run", *SHORT, *words)
    assert outcome.exit_code == 0, outcome.stderr
    assert "picture left out: train/flat/0003.png: " in outcome.stderr
    assert "resnet-3-3-3 in bfloat16" in outcome.stderr


def test_wrong_words_of_training(run, pictures: Path, tmp_path: Path) -> None:
    odd = shutil.copytree(pictures, tmp_path / "odd")
    Image.new("RGB", (9, 9)).save(odd / "train" / "flat" / "0003.png")
    train = ("vision", "train", *TASK, "--out", tmp_path / "run", *SHORT)
    for words, code, said in (
        ([], 2, "no --data"),
        (["--data", tmp_path / "nowhere"], 2, "no such file or folder"),
        (["--data", pictures, "--data", odd], 2, "one place is what this task takes"),
        (["--data", odd], 3, "train/flat/0003.png: 9x9 pixels, must be 8x8"),
        (["--data", pictures, "--network", "vgg"], 2, "choose one of resnet-3-3-3"),
        (["--data", pictures, "--scale", 2], 2, "--scale is of --task superres"),
        (["--data", pictures, "--steps", 2, "--epochs", 1], 2, "give one of them"),
        (["--data", pictures, "--pure", "float16", "--precision", "float16"], 2, "one of them"),
        (
            ["--data", pictures, "--preset", "huge"],
            2,
            "one of paper, pure, pure-extended, pure-galaxy10, pure-imagenet, resnet, resnet-galax",
        ),
    ):
        outcome = run(*train, *words)
        assert (outcome.exit_code, outcome.stdout) == (code, b""), words
        assert said in outcome.line
    assert not (tmp_path / "run").exists()
    other = run("vision", "train", "--task", "superres", "--out", tmp_path / "run", "--epochs", 1)
    assert "--epochs is of --task classification" in other.line


def test_a_picture_gets_a_label(run, pictures: Path, weights: Path) -> None:
    words = ("vision", "predict", *TASK, "--model", weights)
    photo = pictures / "test" / "flat" / "0000.png"
    outcome = run(*words, photo, "--json")
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    found = json.loads(outcome.stdout)
    assert found["label"] == max(found["probabilities"], key=found["probabilities"].get)
    assert sum(found["probabilities"].values()) == pytest.approx(1)
    lines = run(*words, photo).stdout.decode().splitlines()
    assert [line.split()[0] for line in lines] == list(found["probabilities"])
    assert float(lines[0].split()[1]) == pytest.approx(
        found["probabilities"][found["label"]], abs=1e-4
    )
    assert run(*words, "-", "--json", stdin=photo.read_bytes()).stdout == outcome.stdout
    assert len(run(*words, photo, "--top", 1).stdout.splitlines()) == 1


def test_wrong_words_of_prediction(run, pictures: Path, weights: Path, tmp_path: Path) -> None:
    photo = pictures / "test" / "flat" / "0000.png"
    text = tmp_path / "text.png"
    text.write_text("no picture")
    Image.new("RGBA", (8, 8)).save(tmp_path / "clear.png")
    Image.new("RGB", (30, 20)).save(tmp_path / "large.png")
    for words, code, said in (
        ([photo, "--model", text], 5, "not weights of a classification network"),
        ([text, "--model", weights], 3, "not a picture"),
        ([tmp_path / "clear.png", "--model", weights], 3, "transparency"),
        ([tmp_path / "large.png", "--model", weights], 3, "30x20 pixels"),
        (
            [photo, "--model", weights, "-o", tmp_path / "a.png"],
            2,
            "--output is of --task superres",
        ),
    ):
        outcome = run("vision", "predict", *TASK, *words)
        assert (outcome.exit_code, outcome.stdout) == (code, b""), words
        assert said in outcome.line
    resized = run(
        "vision", "predict", *TASK, tmp_path / "large.png", "--model", weights, "--resize"
    )
    assert resized.exit_code == 0
    missing = run("vision", "predict", "--task", "superres", photo, "--model", weights)
    assert (missing.exit_code, "no --output" in missing.line) == (2, True)


def test_a_network_is_measured(run, pictures: Path, weights: Path, tmp_path: Path) -> None:
    target = tmp_path / "result.json"
    words = ("vision", "eval", *TASK, "--images", pictures, "--model", weights, "--json")
    outcome = run(*words, target)
    assert outcome.exit_code == 0, outcome.stderr
    assert b"tiny on two, 8 pictures: " in outcome.stdout
    found = json.loads(target.read_text())
    assert found["command"][:3] == ["paoncodec", "vision", "eval"]
    assert len(found["images"]) == 8
    assert (
        json.loads(run(*words, "-").stdout)["results"]["accuracy"] == found["results"]["accuracy"]
    )


def test_wrong_words_of_measuring(run, pictures: Path, weights: Path, tmp_path: Path) -> None:
    other = shutil.copytree(pictures, tmp_path / "other")
    (other / "test" / "flat").rename(other / "test" / "smooth")
    for words, code, said in (
        (["--images", pictures], 2, "no --model"),
        (["--images", pictures, "--model", weights, "--bicubic", 2], 2, "of --task superres"),
        (["--images", pictures, "--images", other, "--model", weights], 2, "one place"),
        (["--images", other, "--model", weights], 2, "class smooth: the network knows chequered"),
        (["--images", tmp_path / "nowhere", "--model", weights], 2, "no such file or folder"),
    ):
        outcome = run("vision", "eval", *TASK, *words)
        assert (outcome.exit_code, outcome.stdout) == (code, b""), words
        assert said in outcome.line


def test_pictures_that_cannot_be_measured_end_in_an_error(run, pictures, weights, tmp_path) -> None:
    place = shutil.copytree(pictures, tmp_path / "copy")
    Image.new("RGB", (9, 9)).save(place / "test" / "flat" / "0001.png")
    outcome = run("vision", "eval", *TASK, "--images", place, "--model", weights)
    assert outcome.exit_code == 3
    assert "test/flat/0001.png: 9x9 pixels" in outcome.stderr
    assert "1 of 8 pictures" in outcome.stderr
    assert b"7 pictures" in outcome.stdout


def test_galaxies_from_the_file_to_the_table(run, tmp_path: Path) -> None:
    """Classes parted alike, validated each epoch, noise, and means over seeds."""
    pytest.importorskip("h5py")
    data = write_galaxies(tmp_path / "galaxy10.h5", 60)
    results: list[Path] = []
    for seed in range(2):
        path = tmp_path / f"run{seed}"
        words = ("--network", "pure-resnet20", "--preset", "pure-galaxy10", "--data", data)
        words += ("--seed", seed, "--epochs", 2, "--batch-size", 28, "--workers", 0)
        outcome = run("vision", "train", *TASK, "--out", path, *words)
        assert outcome.exit_code == 0, outcome.stderr
        assert "54 to train on, 2 to validate on" in outcome.stderr
        records = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
        assert [r["step"] for r in records if "validation_loss" in r] == [2, 4]
        assert all(
            r["validation_loss"] == r["validation_cross_entropy"]
            for r in records
            if "validation_loss" in r
        )
        for photons in ((), ("--photons", 255)):
            results.append(tmp_path / f"{seed}-{len(photons)}.json")
            measure = ("vision", "eval", *TASK, "--model", path / "best.safetensors")
            measure += ("--images", data, "--name", "pure-resnet20", "--json", results[-1])
            outcome = run(*measure, *photons)
            assert outcome.exit_code == 0, outcome.stderr
            assert (b"noise of 255 photons" in outcome.stdout) == bool(photons)
    found = json.loads(results[0].read_text())
    assert found["dataset"]["images"] == 4
    assert set(found["results"]) == {"accuracy", "top5", "cross_entropy", "seconds"}
    noisy = json.loads(results[1].read_text())
    assert noisy["photons"] == 255
    assert noisy["results"]["cross_entropy"] != found["results"]["cross_entropy"]
    runs = ("--run", tmp_path / "run0", "--run", tmp_path / "run1")
    outcome = run("vision", "table", *results, *runs)
    assert outcome.exit_code == 0, outcome.stderr
    heads, _, row = outcome.stdout.decode().splitlines()
    assert "| accuracy at 255 photons, % |" in heads
    assert "T80, s" in heads
    assert "| pure-resnet20 | galaxy10.h5 | 2 | " in row
    assert " ± " in row
    [made] = json.loads(run("vision", "table", *results, *runs, "--json").stdout)
    assert made["accuracy"]["runs"] == 2
    # After four steps it may be that none is right, and there is nothing to drop from.
    right = made["accuracy"]["mean"] > 0
    assert (made["noisy"]["255"]["drop"] is not None) == right
    assert ("| drop at 255 photons, % |" in heads) == right


def test_damaged_galaxies_are_named(run, tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    data = write_galaxies(tmp_path / "bad.h5")
    data.write_bytes(data.read_bytes()[:-100])
    words = ("--network", "pure-resnet20", "--preset", "pure-galaxy10", "--data", data)
    outcome = run("vision", "train", *TASK, "--out", tmp_path / "run", *words)
    assert (outcome.exit_code, outcome.stdout) == (3, b"")
    assert "bad.h5: not a sound HDF5 file" in outcome.line


@pytest.mark.slow  # of a network of torchvision's size
def test_imagenet_from_its_folders_to_figures(run, tmp_path: Path) -> None:
    data = write_imagenet(tmp_path / "imagenet")
    (data / "val" / "n01440764" / "n01440764_1.JPEG").write_bytes(b"none")
    words = ("--network", "pure-resnet18", "--preset", "pure-imagenet", "--data", data)
    words += ("--side", 32, "--steps", 1, *SHORT)
    outcome = run("vision", "train", *TASK, "--out", tmp_path / "run", *words)
    assert outcome.exit_code == 0, outcome.stderr
    assert "11 to train on, 1 to validate on" in outcome.stderr
    weights = tmp_path / "run" / "best.safetensors"
    measure = ("vision", "eval", *TASK, "--model", weights, "--images", data, "--json", "-")
    outcome = run(*measure)
    assert outcome.exit_code == 3
    assert "val/n01440764/n01440764_1.JPEG: " in outcome.stderr
    found = json.loads(outcome.stdout)
    assert found["dataset"] == {"name": "imagenet", "images": 3}
    assert found["classes"] == ["n01440764", "n01443537"]
