"""`paoncodec vision … --task superres`: from pictures to weights, figures and larger pictures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from paoncodec.images import read_image, read_picture
from paoncodec.vision.superres import build, save_weights

TASK = ("--task", "superres")
SHORT = ("--steps", 2, "--batch-size", 1, "--crop", 8, "--workers", 0)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for number in range(4):
        pixels = rng.integers(0, 256, (48, 40, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    model = build("padenet-id", {"channels": 4, "blocks": 1, "scale": 2})
    save_weights(model, path, "padenet-id", {})
    return path


@pytest.fixture(scope="module")
def begun(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps, with settings as a user gives them."""
    from click.testing import CliRunner

    from paoncodec.cli import main

    path = tmp_path_factory.mktemp("runs") / "run"
    words = ["vision", "train", *TASK, "--network", "self-onn", "--scale", "2", "--blocks", "1"]
    words += [
        "--degrees",
        "3/0",
        "--data",
        pictures,
        "--out",
        path,
        *SHORT,
        "--seed",
        "5",
        "--json",
    ]
    outcome = CliRunner().invoke(main, [str(word) for word in words])
    assert outcome.exit_code == 0, outcome.output
    assert json.loads(outcome.stdout)["steps"] == 2
    assert "self-onn x2" in outcome.stderr
    return path


def test_a_run_keeps_its_settings(begun: Path) -> None:
    saved = json.loads((begun / "config.json").read_text())
    assert saved["network"] == "self-onn"
    assert saved["options"] == {"scale": 2, "blocks": 1, "degrees": [3, 0]}
    assert saved["train"].items() >= {"steps": 2, "crop": 8, "seed": 5, "floor": 1e-3}.items()


def test_a_run_goes_on(run, begun: Path) -> None:
    outcome = run("vision", "train", *TASK, "--out", begun, "--resume", "--steps", 3, "--json")
    assert outcome.exit_code == 0, outcome.stderr
    assert json.loads(outcome.stdout)["steps"] == 3
    assert "resumed at step 2 of 3" in outcome.stderr
    for task in ("classification", "segmentation"):
        outcome = run("vision", "train", "--task", task, "--out", begun, "--resume")
        assert outcome.exit_code == 2
        assert f"holds a run of another task than {task}" in outcome.line


def test_a_run_is_computed_as_it_is_told(run, pictures: Path, tmp_path: Path) -> None:
    words = ("--network", "padenet-id", "--blocks", 1, "--precision", "bfloat16-gradients")
    train = ("vision", "train", *TASK, *words, "--data", pictures, *SHORT, "--compile", "--out")
    outcome = run(*train, tmp_path / "run")
    assert outcome.exit_code == 0, outcome.stderr
    saved = json.loads((tmp_path / "run" / "config.json").read_text())["train"]
    assert saved["precision"] == "bfloat16-gradients"
    assert saved["compile"] is True
    plain = ("vision", "train", *TASK, "--out", tmp_path / "run", "--resume", "--steps", 3)
    outcome = run(*plain, "--no-compile")
    assert outcome.exit_code == 0, outcome.stderr
    assert "train.compile was" in outcome.stderr


def test_a_run_does_not_change_its_network(run, begun: Path) -> None:
    outcome = run("vision", "train", *TASK, "--out", begun, "--resume", "--scale", 4)
    assert outcome.exit_code == 2
    assert "options.scale was 2, now 4" in outcome.line


def test_wrong_words_of_training(run, pictures: Path, tmp_path: Path) -> None:
    train = ("vision", "train", *TASK, "--out", tmp_path / "run", *SHORT)
    for words, said in (
        ([], "no --data"),
        (["--data", tmp_path / "nowhere"], "no such file or folder"),
        (["--data", pictures, "--network", "vgg"], "choose one of resnet"),
        (["--data", pictures, "--scale", 3], "scale 3"),
        (["--data", pictures, "--degrees", "1"], "--degrees 1: give K/L"),
        (["--data", pictures, "--preset", "huge"], "choose one of paper, small"),
    ):
        outcome = run(*train, *words)
        assert (outcome.exit_code, outcome.stdout) == (2, b""), words
        assert said in outcome.line
    assert not (tmp_path / "run").exists()


def test_a_picture_becomes_larger(run, pictures: Path, weights: Path, tmp_path: Path) -> None:
    target = tmp_path / "big.png"
    words = ("vision", "predict", *TASK, "--model", weights, pictures / "0.png", "-o", target)
    outcome = run(*words, "--tile", 16)
    assert (outcome.exit_code, outcome.stdout) == (0, b""), outcome.stderr
    assert "40x48 -> 80x96 px" in outcome.line
    assert read_image(target).shape == (96, 80, 3)
    assert run(*words).exit_code == 2
    assert run(*words, "--force").exit_code == 0


@pytest.mark.parametrize(("words", "size"), [([], (160, 192)), (["--scale", 2], (80, 96))])
def test_what_ships_enlarges_at_once(run, pictures: Path, tmp_path: Path, words, size) -> None:
    target = tmp_path / "big.png"
    outcome = run("vision", "predict", *TASK, pictures / "0.png", "-o", target, *words)
    assert outcome.exit_code == 0, outcome.stderr
    assert read_image(target).shape[1::-1] == size


def test_what_encode_takes_becomes_larger(run, weights: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    samples = rng.integers(0, 256, (12, 10, 4), np.uint8)
    Image.fromarray(samples).save(tmp_path / "clear.png")
    Image.fromarray(samples, "CMYK").save(tmp_path / "inks.tif")
    Image.fromarray(rng.integers(0, 2**16, (12, 10), np.uint16)).save(tmp_path / "deep.png")
    frames = [Image.fromarray(samples[..., :3]), Image.fromarray(samples[..., 1:])]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    made = {}
    for name, note in (
        ("clear.png", ""),
        (
            "inks.tif",
            "note: {}: CMYK is made sRGB by a plain formula, for it has no colour profile\n",
        ),
        ("deep.png", ""),
        ("moving.gif", "note: {}: the first of 2 frames is taken\n"),
    ):
        photo, target = tmp_path / name, tmp_path / f"big-{name}.png"
        outcome = run("vision", "predict", *TASK, "--model", weights, photo, "-o", target)
        assert outcome.exit_code == 0, outcome.stderr
        assert outcome.stderr.startswith(f"{note.format(photo)}10x12 -> 20x24 px in")
        made[name] = read_picture(target)
        assert made[name].samples.shape[:2] == (24, 20)
    assert {name for name, p in made.items() if p.alpha is not None} == {"clear.png"}
    assert {name for name, p in made.items() if p.depth == 16} == {"deep.png"}


def test_pictures_stream(run, pictures: Path, weights: Path) -> None:
    data = (pictures / "0.png").read_bytes()
    outcome = run("vision", "predict", *TASK, "--model", weights, "-", "-o", "-", stdin=data)
    assert outcome.exit_code == 0
    assert outcome.stdout.startswith(b"\x89PNG")


def test_wrong_words_of_prediction(run, pictures: Path, weights: Path, tmp_path: Path) -> None:
    photo, out = pictures / "0.png", tmp_path / "big.png"
    text = tmp_path / "text.png"
    text.write_text("no picture")
    Image.new("RGBA", (4, 4)).save(tmp_path / "clear.png")
    Image.new("RGB", (8192, 1)).save(tmp_path / "wide.png")
    for words, code, said in (
        ([photo, "--model", text, "-o", out], 5, "not weights"),
        ([text, "--model", weights, "-o", out], 3, "not a picture"),
        ([tmp_path / "clear.png", "--model", weights, "-o", tmp_path / "a.jpg"], 2, "transparency"),
        ([photo, "--model", weights, "-o", tmp_path / "big.gif"], 2, "must be one of png"),
        (
            [tmp_path / "wide.png", "--model", weights, "-o", tmp_path / "a.webp"],
            3,
            "ends at 16383",
        ),
        ([photo, "--model", weights, "-o", out, "--scale", 2], 2, "give one of them"),
    ):
        outcome = run("vision", "predict", *TASK, *words)
        assert (outcome.exit_code, outcome.stdout) == (code, b""), words
        assert said in outcome.line
    assert not out.exists()


def test_a_network_is_measured(run, pictures: Path, weights: Path, tmp_path: Path) -> None:
    target = tmp_path / "result.json"
    words = ("vision", "eval", *TASK, "--images", pictures, "--json", target, "--dataset", "four")
    outcome = run(*words, "--model", weights)
    assert outcome.exit_code == 0, outcome.stderr
    assert b"tiny x2 on four, means of 4 pictures: PSNR-RGB" in outcome.stdout
    found = json.loads(target.read_text())
    assert found["command"][:3] == ["paoncodec", "vision", "eval"]
    assert len(found["images"]) == 4


def test_bicubic_is_measured_to_stdout(run, pictures: Path) -> None:
    outcome = run("vision", "eval", *TASK, "--images", pictures, "--bicubic", 4, "--json", "-")
    assert outcome.exit_code == 0
    found = json.loads(outcome.stdout)
    assert (found["name"], found["scale"]) == ("bicubic", 4)


def test_wrong_words_of_measuring(run, pictures: Path, weights: Path, tmp_path: Path) -> None:
    for words, said in (
        ([], "give one of them"),
        (["--model", weights, "--bicubic", 2], "give one of them"),
        (["--model", weights, "--low", tmp_path / "nowhere"], "not a folder"),
    ):
        outcome = run("vision", "eval", *TASK, "--images", pictures, *words)
        assert (outcome.exit_code, outcome.stdout) == (2, b""), words
        assert said in outcome.line


def test_pictures_that_cannot_be_measured_end_in_an_error(run, weights: Path, tmp_path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "tiny.png")
    outcome = run("vision", "eval", *TASK, "--images", tmp_path, "--model", weights)
    assert outcome.exit_code == 3
    assert "1 of 1 pictures" in outcome.stderr
    assert b"nothing was measured" in outcome.stdout


def test_a_task_is_asked_for(run) -> None:
    outcome = run("vision", "predict", "a.png", "--model", "b", "-o", "c.png")
    assert outcome.exit_code == 2
    assert "--task" in outcome.stderr
