"""`paoncodec vision … --task segmentation`: from phantoms to weights, figures and labels."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
from click.testing import CliRunner

from paoncodec.cli import main
from paoncodec.vision.segmentation.volumes import (
    Volume,
    read_labels,
    read_volume,
    write_labels,
)

TASK = ("--task", "segmentation")
SHORT = ("--steps", 2, "--batch-size", 2, "--crop", 16, "--workers", 0)


def invoke(*words: object) -> str:
    outcome = CliRunner().invoke(main, [str(word) for word in words])
    assert outcome.exit_code == 0, outcome.output
    return outcome.stdout


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "phantoms"
    invoke("vision", "phantoms", folder, "--training", 2, "--validation", 2, "--size", 18)
    return folder


@pytest.fixture(scope="module")
def begun(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "run"
    words = ("vision", "train", *TASK, "--data", phantoms, "--out", path, *SHORT, "--json")
    assert json.loads(invoke(*words))["steps"] == 2
    return path


@pytest.fixture(scope="module")
def weights(begun: Path) -> Path:
    return begun / "best.safetensors"


def test_phantoms_go_into_an_empty_folder(run, phantoms: Path) -> None:
    outcome = run("vision", "phantoms", phantoms)
    assert (outcome.exit_code, outcome.stdout) == (2, b"")
    assert "not empty" in outcome.line


def test_a_run_keeps_its_settings_and_goes_on(run, begun: Path) -> None:
    saved = json.loads((begun / "config.json").read_text())
    assert saved["network"] == "pure-resunet"
    assert saved["options"]["depths"] == [1, 1, 1, 1]
    outcome = run("vision", "train", *TASK, "--out", begun, "--resume", "--steps", 3, "--json")
    assert outcome.exit_code == 0, outcome.stderr
    assert json.loads(outcome.stdout)["steps"] == 3
    assert "cases: 1 to train on, 1 to validate on" in outcome.stderr


def test_amos_by_the_papers_preset(run, phantoms: Path, tmp_path: Path) -> None:
    """The layout of AMOS with its names, MR among them, and the recipe in float16."""
    folder = shutil.copytree(phantoms, tmp_path / "amos22")
    text = (folder / "dataset.json").read_text()
    for place, number in enumerate((1, 499, 8, 507)):
        text = text.replace(f"phantom_{place:04}", f"amos_{number:04}")
        for path in list(folder.rglob(f"phantom_{place:04}.nii.gz")):
            path.rename(path.with_name(f"amos_{number:04}.nii.gz"))
    (folder / "dataset.json").write_text(text)
    words = ("--preset", "paper", "--epochs", 0.05, "--crop", 16, "--workers", 0, "--seed", 1)
    words += ("--option", "widths=[4,8]", "--option", "depths=[1,1]")
    results = []
    for network in ("resunet", "pure-resunet"):
        out = tmp_path / network
        train = ("vision", "train", *TASK, "--network", network, "--data", folder, "--out", out)
        outcome = run(*train, *words)
        assert outcome.exit_code == 0, outcome.stderr
        assert json.loads((out / "config.json").read_text())["train"]["precision"] == "float16"
        results.append(tmp_path / f"{network}.json")
        measure = ("vision", "eval", *TASK, "--images", folder, "--json", results[-1])
        against = ("--against", results[0]) if len(results) > 1 else ()
        outcome = run(*measure, "--model", out / "best.safetensors", *against)
        assert outcome.exit_code == 0, outcome.stderr
    made = json.loads(results[1].read_text())
    assert [case["case"] for case in made["cases"]] == ["amos_0008"]
    assert made["against"]["mdice"]["difference"]["cases"] == 1


def test_options_of_the_network(run, phantoms: Path, tmp_path: Path) -> None:
    train = ("vision", "train", *TASK, "--data", phantoms, *SHORT, "--out")
    sizes = ("--option", "widths=[4,8]", "--option", "depths=[1, 1]", "--option", "norm=instance")
    outcome = run(*train, tmp_path / "run", *sizes, "--option", "outer_relu=false", "--steps", 1)
    assert outcome.exit_code == 0, outcome.stderr
    saved = json.loads((tmp_path / "run" / "config.json").read_text())["options"]
    assert saved == {"widths": [4, 8], "depths": [1, 1], "norm": "instance", "outer_relu": False}
    for option, said in (
        ("widths", "--option widths: give NAME=VALUE"),
        ("=3", "--option =3: give NAME=VALUE"),
        ("colour=3", "network pure-resunet: .*colour"),
        ("widths=[4]", "levels 1|levels = 1|depths"),
    ):
        outcome = run(*train, tmp_path / "other", "--option", option)
        assert (outcome.exit_code, outcome.stdout) == (2, b""), option
        assert re.search(said, outcome.line)
    assert not (tmp_path / "other").exists()


def test_wrong_words_of_training(run, phantoms: Path, tmp_path: Path) -> None:
    train = ("vision", "train", *TASK, "--out", tmp_path / "run", *SHORT)
    for words, said in (
        ([], "no --data"),
        (["--data", tmp_path], "dataset.json: No such file"),
        (["--data", phantoms, "--data", phantoms], "one place is what this task takes"),
        (["--data", phantoms, "--network", "resnet"], "choose one of resunet, pure-resunet"),
        (["--data", phantoms, "--scale", 2], "--scale is of --task superres: leave it out"),
        (["--data", phantoms, "--shared-upsampler"], "--shared-upsampler is of --task superres"),
        (["--data", phantoms, "--pure", "float16"], "--pure is of --task classification"),
        (["--data", phantoms, "--shift", "none"], "--shift is of --task superres and classifica"),
        (["--data", phantoms, "--validation", phantoms], "--validation is of --task superres and"),
        (["--data", phantoms, "--epochs", 1], "--steps and --epochs both say how long"),
        (["--data", phantoms, "--preset", "huge"], "choose one of paper, small"),
    ):
        outcome = run(*train, *words)
        assert (outcome.exit_code, outcome.stdout) == (2, b""), words
        assert said in outcome.line
    assert not (tmp_path / "run").exists()


def test_a_volume_becomes_labels_of_its_place(run, phantoms, weights, tmp_path: Path) -> None:
    image = phantoms / "imagesVa" / "phantom_0002.nii.gz"
    target = tmp_path / "labels.nii.gz"
    words = ("vision", "predict", *TASK, "--model", weights, image, "-o", target)
    outcome = run(*words)
    assert (outcome.exit_code, outcome.stdout) == (0, b""), outcome.stderr
    assert "18x18x18 voxels, 8 classes" in outcome.line
    found, volume = read_labels(target, 8), read_volume(image)
    assert found.values.shape == (18, 18, 18)
    np.testing.assert_allclose(found.affine, volume.affine)
    assert run(*words).exit_code == 2
    assert run(*words, "--force").exit_code == 0


def test_wrong_words_of_prediction(run, phantoms, weights, begun, tmp_path: Path) -> None:
    image, out = phantoms / "imagesVa" / "phantom_0002.nii.gz", tmp_path / "a.nii.gz"
    flat = tmp_path / "flat.nii"
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4), np.float32), np.eye(4)), flat)
    for words, code, said in (
        ([image, "--model", begun / "config.json", "-o", out], 5, "not weights"),
        ([flat, "--model", weights, "-o", out], 3, "flat.nii: 2 dimensions"),
        (["-", "--model", weights, "-o", out], 2, "no streams"),
        ([image, "--model", weights, "-o", tmp_path / "a.png"], 2, ".nii or .nii.gz"),
        ([image, "--model", weights, "-o", out, "--tile", 3], 2, "--tile is of --task superres"),
        (
            [image, "--model", weights, "-o", out, "--top", 3],
            2,
            "--top is of --task classification",
        ),
        ([image, "--model", weights], 2, "no --output"),
    ):
        outcome = run("vision", "predict", *TASK, *words)
        assert (outcome.exit_code, outcome.stdout) == (code, b""), words
        assert said in outcome.line
    assert not out.exists()


def test_networks_are_measured_and_compared(run, phantoms, weights, tmp_path: Path) -> None:
    words = ("vision", "eval", *TASK, "--images", phantoms, "--model", weights)
    first = tmp_path / "first.json"
    assert run(*words, "--json", first, "--name", "first").exit_code == 0
    outcome = run(*words, "--json", "-", "--against", first)
    assert outcome.exit_code == 0, outcome.stderr
    found = json.loads(outcome.stdout)
    assert [row["case"] for row in found["cases"]] == ["phantom_0002", "phantom_0003"]
    assert found["against"]["first"] == "first"
    assert found["against"]["mdice"]["p"] == 1
    shown = run(*words, "--against", first).stdout.decode()
    assert "best on phantoms, 2 cases" in shown
    assert "difference from first" in shown.splitlines()[0]
    assert len(shown.splitlines()) == 1 + 8
    assert "p 1  q 1" in shown


def test_a_bad_case_does_not_cost_the_others(run, phantoms, weights, tmp_path: Path) -> None:
    words = ("vision", "eval", *TASK, "--model", weights)
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    assert run(*words, "--images", phantoms, "--json", first).exit_code == 0
    damaged = tmp_path / "damaged"
    shutil.copytree(phantoms, damaged)
    (damaged / "labelsVa" / "phantom_0003.nii.gz").write_bytes(b"none")
    outcome = run(*words, "--images", damaged, "--json", second, "--against", first)
    assert outcome.exit_code == 3
    assert "phantom_0003" in outcome.stderr
    found = json.loads(second.read_text())
    assert [row["case"] for row in found["failures"]] == ["phantom_0003"]
    assert found["against"]["cases"] == 1
    assert "cases in common: 1" in outcome.stdout.decode().splitlines()[0]


def test_results_that_cannot_be_compared_are_told_before_measuring(
    run, phantoms, weights, tmp_path: Path
) -> None:
    words = ("vision", "eval", *TASK, "--model", weights, "--images", phantoms)
    other = json.loads(run(*words, "--json", "-").stdout)
    other["cases"] = [{**row, "case": f"other-{row['case']}"} for row in other["cases"]]
    (tmp_path / "other.json").write_text(json.dumps(other))
    outcome = run(*words, "--against", tmp_path / "other.json")
    assert (outcome.exit_code, outcome.stdout) == (2, b"")
    assert "without a case in common" in outcome.line
    assert "phantom_0002" not in outcome.stderr


def test_cases_without_organs_cannot_validate(run, phantoms, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    shutil.copytree(phantoms, empty)
    for path in (empty / "labelsTr").iterdir():
        labels = read_labels(path, 8)
        write_labels(path, Volume(np.zeros_like(labels.values), labels.affine))
    out = tmp_path / "run"
    outcome = run("vision", "train", *TASK, "--data", empty, "--out", out, *SHORT)
    assert (outcome.exit_code, outcome.stdout) == (2, b"")
    assert "nothing to validate on" in outcome.line


def test_pictures_are_drawn(run, phantoms, weights, tmp_path: Path) -> None:
    album, result = tmp_path / "pictures", tmp_path / "a.json"
    words = ("vision", "eval", *TASK, "--images", phantoms, "--model", weights, "--json", result)
    assert run(*words, "--pictures", album).exit_code == 0
    drawn = ["boxes-dice.png", "phantom_0002.png", "phantom_0003.png"]
    assert sorted(path.name for path in album.iterdir()) == drawn
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in album.iterdir())
    kept = run(
        "vision", "eval", *TASK, "--images", phantoms, "--model", weights, "--pictures", album
    )
    assert kept.exit_code == 2
    assert "exists and is kept" in kept.line
    boxes = ("vision", "boxes", result, result, "-o", tmp_path / "boxes.svg")
    assert run(*boxes).exit_code == 0
    assert b"<svg" in (tmp_path / "boxes.svg").read_bytes()
    assert run(*boxes).exit_code == 2
    missing = run("vision", "boxes", result, "--measure", "hd95", "-o", tmp_path / "hd95.png")
    assert missing.exit_code == 2
    assert "says no hd95" in missing.line


def test_wrong_words_of_measuring(run, phantoms, weights, begun, tmp_path: Path) -> None:
    measure = ("vision", "eval", *TASK)
    for words, said in (
        (["--images", phantoms], "no --model"),
        (["--images", phantoms, "--images", phantoms, "--model", weights], "one place"),
        (["--images", phantoms, "--model", weights, "--low", "a"], "--low is of --task superres"),
        (["--images", phantoms, "--model", weights, "--against", begun / "config.json"], "result"),
        (["--images", phantoms, "--model", weights, "--tolerance", 3], "give --surfaces, too"),
        (["--images", phantoms, "--model", weights, "--pictures", weights], "cannot be made"),
    ):
        outcome = run(*measure, *words)
        assert (outcome.exit_code, outcome.stdout) == (2, b""), words
        assert said in outcome.line
    words = ("--task", "superres", "--bicubic", 2, "--images", phantoms, "--against", "a.json")
    outcome = run("vision", "eval", *words)
    assert "--against is of --task segmentation" in outcome.line


def test_cases_that_cannot_be_measured_end_in_an_error(run, weights, tmp_path: Path) -> None:
    folder = tmp_path / "p"
    invoke("vision", "phantoms", folder, "--training", 2, "--validation", 1, "--size", 16)
    (folder / "labelsVa" / "phantom_0002.nii.gz").write_bytes(b"none")
    outcome = run("vision", "eval", *TASK, "--images", folder, "--model", weights)
    assert outcome.exit_code == 3
    assert "phantom_0002: " in outcome.stderr
    assert "1 of 1 cases" in outcome.stderr
    assert b"in no case" in outcome.stdout
