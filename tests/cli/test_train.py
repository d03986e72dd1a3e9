"""The command `train`, mostly on a tiny codec whose settings lie ready in its run's directory."""

from __future__ import annotations

import hashlib
import json
import math
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from PIL import Image

from paoncodec.cli import main

GUIDE = Path(__file__).parents[2] / "docs" / "training.md"

SETTINGS: dict[str, Any] = {
    "arch_name": "mbt-paon",
    "arch": {"N": 8, "M": 12, "shift": "none"},
    "lmbda": 0.013,
    "start": "linear",
    "train": {
        "steps": 4,
        "batch_size": 2,
        "crop": 64,
        "validation_crop": 64,
        "validation_fraction": 0.3,
        "validate_every": 4,
        "workers": 0,
        "patience": 2,
    },
}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 200, 80)[:, None, None]
    for number in range(5):
        pixels = ramp + rng.uniform(0, 50, size=(80, 1, 3)) + rng.uniform(0, 5, size=(80, 72, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    return folder


@pytest.fixture
def tiny(pictures: Path, tmp_path: Path) -> Path:
    """A run's directory that holds settings and no checkpoint yet."""
    path = tmp_path / "tiny run"
    path.mkdir()
    (path / "config.json").write_text(json.dumps({**SETTINGS, "data": [str(pictures)]}))
    return path


@pytest.fixture(scope="module")
def finished_run(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that is complete, as several tests go on from."""
    path = tmp_path_factory.mktemp("finished") / "run"
    path.mkdir()
    (path / "config.json").write_text(json.dumps({**SETTINGS, "data": [str(pictures)]}))
    with pytest.raises(SystemExit) as ended:
        main(["train", "--out", str(path), "--resume"], prog_name="paoncodec")
    assert ended.value.code == 0
    return path


@pytest.fixture
def finished(finished_run: Path, tmp_path: Path) -> Path:
    """The same run, the test's own."""
    return shutil.copytree(finished_run, tmp_path / "finished run")


def patch_loss(monkeypatch: pytest.MonkeyPatch, before: dict[int, Any], factor: float = 1) -> None:
    """Does ``before[n]()`` ahead of the n-th loss, counted from 1; multiplies losses."""
    from paoncodec.codecs.task import CodecTask

    plain, calls = CodecTask.loss, iter(range(1, 10**6))

    def loss(task, *given):
        before.get(next(calls), lambda: None)()
        value, figures = plain(task, *given)
        return value * factor, figures

    monkeypatch.setattr(CodecTask, "loss", loss)


def config(path: Path) -> dict[str, Any]:
    return json.loads((path / "config.json").read_text())


def test_a_new_run_takes_the_small_preset(run, pictures, tmp_path):
    path = tmp_path / "new"
    words = ["--lmbda", 0.02, "--data", pictures / "0.png", "--data", pictures / "1.png"]
    words += ["--steps", 1, "--batch-size", 1, "--crop", 64, "--workers", 0, "--seed", 5]
    outcome = run("train", *words, "--precision", "float32", "--out", path)
    assert outcome.exit_code == 0
    assert outcome.stdout.decode() == f"{path / 'best.safetensors'}\n"
    assert "pictures: 1 to train on, 1 to validate on" in outcome.stderr
    saved = config(path)
    assert saved["lmbda"] == 0.02
    assert saved["data"] == [str(pictures / "0.png"), str(pictures / "1.png")]
    assert saved["arch"]["widths"] == [24, 48, 96]
    asked = {"steps": 1, "batch_size": 1, "crop": 64, "workers": 0, "seed": 5}
    assert saved["train"].items() >= {**asked, "precision": "float32", "hold": 0.5}.items()


def test_the_result_is_one_object_and_a_quiet_minute_has_no_lines(run, tiny):
    outcome = run("train", "--out", tiny, "--resume", "--json")
    assert outcome.exit_code == 0
    assert len(outcome.stderr.splitlines()) == 3  # model and data, resumed, validation
    result = json.loads(outcome.stdout)
    assert outcome.stdout.count(b"\n") == 1
    assert (result["steps"], result["skipped"]) == (4, 0)
    assert Path(result["weights"]).is_file()
    assert result["best"].keys() == {"step", "loss", "bpp", "mse", "psnr"}
    assert result["best"]["step"] == 4
    said = re.search(r"step 4: validation loss ([\d.]+), ([\d.]+) bpp, ([\d.]+) dB", outcome.stderr)
    assert float(said[1]) == pytest.approx(result["best"]["loss"], abs=1e-4)
    assert float(said[3]) == pytest.approx(result["best"]["psnr"], abs=1e-2)


def test_a_run_is_begun_only_with_lambda_and_data(run, pictures, tmp_path):
    path = tmp_path / "new"
    for words, missing in (
        (["--lmbda", 0.01], "--data"),
        (["--data", pictures], "--lmbda"),
        (["--resume"], "--lmbda"),
    ):
        outcome = run("train", "--out", path, *words)
        assert (outcome.exit_code, outcome.stdout) == (2, b""), words
        assert f"no {missing}:" in outcome.line
    assert not path.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--lmbda", "-1"], "lmbda -1.0: must be > 0"),
        (["--arch", "elic"], "architecture 'elic': choose one of mbt-paon"),
        (["--preset", "big"], "preset 'big': choose one of paper, small"),
        (["--steps", "0"], "steps 0: must be"),
        (["--crop", "100"], "crop 100: must be a multiple of 64"),
        (["--data", "nowhere"], "nowhere: no such file or folder"),
        (["--data", __file__.replace("test_train.py", "conftest.py")], "at least two"),
    ],
)
def test_wrong_settings_make_no_run(run, pictures, tmp_path, words, said):
    path = tmp_path / "new"
    usual = ["--lmbda", 0.01, *([] if "--data" in words else ["--data", pictures])]
    outcome = run("train", "--out", path, *usual, *words)
    assert (outcome.exit_code, outcome.stdout) == (2, b"")
    assert said in outcome.line
    assert not path.exists()


def test_a_run_that_is_there_is_kept(run, tiny, pictures):
    outcome = run("train", "--out", tiny, "--lmbda", 0.01, "--data", pictures)
    assert outcome.exit_code == 2
    assert "--resume" in outcome.line
    assert config(tiny) == {**SETTINGS, "data": [str(pictures)]}


def test_a_complete_run_goes_on_when_more_steps_are_given(run, finished, pictures):
    words = ["--steps", 5, "--workers", 1, "--data", pictures, "--lmbda", 0.013]
    outcome = run("train", "--out", finished, "--resume", *words, "--json")
    assert outcome.exit_code == 0
    assert json.loads(outcome.stdout)["steps"] == 5
    assert "resumed at step 4 of 5\n" in outcome.stderr
    assert "train.steps was 4, now 5 (the schedule stretches)\n" in outcome.stderr
    assert "train.workers was 0, now 1\n" in outcome.stderr
    loop = config(finished)["train"]
    assert (loop["steps"], loop["workers"]) == (5, 1)


def test_other_settings_are_refused_by_name(run, finished):
    words = ["--lmbda", 0.02, "--seed", 1, "--steps", 9]
    outcome = run("train", "--out", finished, "--resume", *words)
    assert outcome.exit_code == 2
    assert "lmbda was 0.013, now 0.02; train.seed was 0, now 1;" in outcome.line
    assert "may change only data, data_weights, start_from, train.accumulate," in outcome.line
    assert config(finished)["train"]["steps"] == 4


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_writes_a_checkpoint(run, tiny, monkeypatch, number, code):
    patch_loss(monkeypatch, {2: lambda: signal.raise_signal(number)})
    handlers = signal.getsignal(number)
    outcome = run("train", "--out", tiny, "--resume")
    assert (outcome.exit_code, outcome.stdout) == (code, b"")
    assert "stopped at step 2 of 4" in outcome.stderr
    assert f"paoncodec train --out '{tiny}' --resume" in outcome.stderr
    assert signal.getsignal(number) is handlers
    monkeypatch.undo()
    outcome = run("train", "--out", tiny, "--resume", "--json")
    assert "resumed at step 2 of 4" in outcome.stderr
    assert json.loads(outcome.stdout)["steps"] == 4


def test_a_second_signal_ends_at_once(run, tiny, monkeypatch):
    def twice() -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    patch_loss(monkeypatch, {2: twice})
    outcome = run("train", "--out", tiny, "--resume")
    assert (outcome.exit_code, outcome.stdout) == (130, b"")
    assert not (tiny / "last.pt").exists()


def test_a_loss_that_stays_not_finite_says_the_step(run, tiny, monkeypatch):
    patch_loss(monkeypatch, {}, factor=math.nan)
    outcome = run("train", "--out", tiny, "--resume")
    assert (outcome.exit_code, outcome.stdout) == (1, b"")
    assert outcome.stderr.splitlines()[-1].startswith("paoncodec: step 2: loss or gradient not")


def test_lines_come_while_it_runs(run, tiny, monkeypatch):
    monkeypatch.setattr("paoncodec.cli.training_talk._LINE_EVERY", 0.0)
    outcome = run("train", "--out", tiny, "--resume")
    lines = re.findall(
        r"step (\d)/4: loss \d.*, \d.* bpp, \d\d\.\d\d dB, 0:\d\d:\d\d left", outcome.stderr
    )
    assert lines == ["1", "2", "3", "4"]


def test_a_terminal_has_a_bar(run, tiny, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    outcome = run("train", "--out", tiny, "--resume", "--json")
    assert outcome.exit_code == 0
    assert json.loads(outcome.stdout)["steps"] == 4
    assert re.search(r"4/4.* loss \d.* bpp, \d\d\.\d\d dB", outcome.stderr)
    assert "step 4: validation loss" in outcome.stderr


def test_the_guide_gives_commands_that_exist_and_names_every_file(finished):
    guide = GUIDE.read_text(encoding="utf-8")
    commands = [shlex.split(c) for c in re.findall(r"^paoncodec (.*)$", guide, re.MULTILINE)]
    assert len(commands) > 5
    for name, *words in commands:
        command = main.get_command(click.Context(main), name)
        command.make_context(name, list(words))
    named = set(re.findall(r"^\| `([\w.]+)` \|", guide, re.MULTILINE))
    assert named == {file.name for file in finished.iterdir()}


def test_pictures_that_cannot_be_read_are_named_once(run, tiny, pictures, tmp_path):
    folder = tmp_path / "mixed"
    shutil.copytree(pictures, folder)
    noise = np.random.default_rng(1).integers(0, 256, (80, 80, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "whole.jpg")
    whole = (folder / "whole.jpg").read_bytes()
    for share in (2, 3):
        (folder / f"cut{share}.jpg").write_bytes(whole[: len(whole) // share])
    (folder / "text.png").write_text("no picture at all")
    (folder / "empty.webp").touch()
    bad = ["cut2.jpg", "cut3.jpg", "empty.webp", "text.png"]
    settings = config(tiny)
    settings["train"].update(steps=8, workers=2)
    (tiny / "config.json").write_text(json.dumps({**settings, "data": [str(folder)]}))
    outcome = run("train", "--out", tiny, "--resume", "--json")
    assert outcome.exit_code == 0
    named = re.findall(r"^picture left out: .*/(\S+): ", outcome.stderr, re.MULTILINE)
    assert sorted(named) == bad
    assert "pictures left out, named above: 4\n" in outcome.stderr
    assert json.loads(outcome.stdout)["left_out"] == 4
    records = [json.loads(line) for line in (tiny / "metrics.jsonl").read_text().splitlines()]
    texts = [text for record in records for text in record.get("left_out", [])]
    assert sorted(re.search(r"/([^/:]+): ", text)[1] for text in texts) == bad


def test_a_folder_of_files_that_are_no_pictures_is_a_bad_image(run, pictures, tmp_path):
    folder = tmp_path / "texts"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.png").write_text("no picture")
    words = ["--lmbda", 0.01, "--workers", 0, "--out", tmp_path / "run"]
    outcome = run("train", "--data", folder, *words)
    assert (outcome.exit_code, outcome.stdout) == (3, b"")
    said = r"paoncodec: none of the 2 pictures can be used; one of them: .*\.png: "
    assert re.match(said, outcome.line)  # the third validates
    (folder / "notes.txt").touch()
    for number in range(3):
        (folder / f"{number}.png").unlink()
    outcome = run("train", "--data", folder, *words)
    assert outcome.exit_code == 2
    assert f"no pictures (.bmp, .jpeg, .jpg, .png, .tif, .tiff, .webp) in {folder}" in outcome.line


def test_folders_may_have_weights(run, tiny, pictures, tmp_path):
    listed = tmp_path / "list.txt"
    listed.write_text(f"# folder weight\n{pictures / '1.png'} 0.5\n{pictures / '2.png'}\n")
    words = ["--data", f"{pictures}=2", "--data", listed]
    assert run("train", "--out", tiny, "--resume", *words).exit_code == 0
    saved = config(tiny)
    assert saved["data"] == [str(pictures), str(pictures / "1.png"), str(pictures / "2.png")]
    assert saved["data_weights"] == [2.0, 0.5, 1.0]
    outcome = run("train", "--out", tiny, "--resume", "--data", f"{pictures}=much")
    assert outcome.exit_code == 2
    assert "weight 'much' must be a number above 0" in outcome.line
    outcome = run("train", "--out", tiny, "--resume", "--data", pictures)
    assert outcome.exit_code == 0
    assert (config(tiny)["data"], config(tiny)["data_weights"]) == ([str(pictures)], [])


def test_a_run_may_start_from_weights(run, finished, pictures, tmp_path):
    first = finished / "best.safetensors"
    path = tmp_path / "second"
    path.mkdir()
    settings = {**SETTINGS, "lmbda": 0.025, "data": [str(pictures)]}
    (path / "config.json").write_text(json.dumps(settings))
    assert run("train", "--out", path, "--resume", "--start-from", first).exit_code == 0
    saved = config(path)
    assert (saved["start"], saved["start_from"]) == ("weights", str(first))
    assert saved["start_sha256"] == hashlib.sha256(first.read_bytes()).hexdigest()
    assert run("train", "--out", path, "--resume", "--steps", 5).exit_code == 0
    outcome = run("train", "--out", finished, "--resume", "--steps", 5, "--start-from", first)
    assert outcome.exit_code == 2
    assert 'start was "linear", now "weights"' in outcome.line


def test_weights_to_start_from_must_fit(run, pictures, tmp_path):
    words = ["--lmbda", 0.01, "--data", pictures, "--out", tmp_path / "run", "--workers", 0]
    outcome = run("train", *words, "--start-from", "mbt-paon-tiny")
    assert outcome.exit_code == 5
    assert "no weights 'mbt-paon-tiny'" in outcome.line
    outcome = run("train", *words, "--start-from", "mbt-paon-small", "--preset", "paper")
    assert outcome.exit_code == 2
    assert "weights of a model with other sizes or options" in outcome.line
    assert not (tmp_path / "run" / "last.pt").exists()


def brief(place: Path, pictures: Path, *words: object) -> list[object]:
    """The words of a run of one small step."""
    size = ["--steps", 1, "--batch-size", 1, "--crop", 64, "--workers", 0]
    return ["--lmbda", 0.02, "--data", pictures, "--out", place, *size, *words]


def test_a_run_may_start_from_a_model_of_compressai(run, pictures, tmp_path):
    import torch
    from compressai.models import JointAutoregressiveHierarchicalPriors

    from paoncodec.codecs import load_weights

    torch.manual_seed(0)
    theirs = JointAutoregressiveHierarchicalPriors(6, 9)
    file, path = tmp_path / "mbt2018.pth.tar", tmp_path / "run"
    torch.save({"epoch": 7, "state_dict": theirs.state_dict()}, file)
    words = brief(path, pictures, "--preset", "paper", "--model", file)
    assert run("train", *words).exit_code == 0
    saved = config(path)
    assert (saved["arch_name"], saved["start_from"]) == ("mbt-paon", str(file))
    assert saved["start_sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    options = {"N": 6, "M": 9, "gdn": True, "padding": "zeros", "shift": "predicted"}
    assert saved["arch"].items() >= options.items()
    # One step of Adam moves a weight by the learning rate.
    trained, _ = load_weights(path / "last.safetensors")
    moved = trained.g_a[0].numerator - 2 * theirs.g_a[0].weight
    assert 0 < moved.abs().max() < 1.1e-4
    assert trained.g_a[0].denominator.any()
    assert run("train", "--out", path, "--resume", "--steps", 2).exit_code == 0
    words = brief(tmp_path / "other", pictures, "--start-from", file)
    outcome = run("train", *words, "--arch", "mbt-2018")
    assert outcome.exit_code == 2
    assert "weights to start mbt-paon from, not mbt-2018" in outcome.line


def test_a_run_may_start_from_a_checkpoint_of_our_models(run, pictures, tmp_path):
    import torch

    from paoncodec.codecs import build

    file = tmp_path / "elic.pth.tar"
    options = {"N": 4, "M": 6, "groups": (2, 4), "shift": "none", "blocks": 2}
    model = build("elic-paon", options)
    torch.save({"state_dict": model.state_dict(), "lmbda": 0.01}, file)
    words = brief(tmp_path / "run", pictures, "--start-from", file)
    assert run("train", *words, "--lmbda", "variable").exit_code == 0
    saved = config(tmp_path / "run")
    assert saved["arch_name"] == "elic-paon"
    options = {"N": 4, "blocks": 2, "groups": [2, 4], "variable_rate": True}
    assert saved["arch"].items() >= options.items()


def test_a_run_of_another_architecture_is_not_gone_on_with(run, finished):
    outcome = run("train", "--out", finished, "--resume", "--arch", "mbt-2018")
    assert outcome.exit_code == 2
    assert 'arch_name was "mbt-paon", now "mbt-2018"' in outcome.line


def files_of(folder: Path) -> set[Path]:
    """All but the cache that torch may make as it is loaded."""
    return {path for path in folder.rglob("*") if "torchinductor" not in str(path)}


def test_a_dry_run_finds_out_and_leaves_nothing(run, tiny, pictures, tmp_path, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    before = files_of(tmp_path), config(tiny)
    outcome = run("train", "--out", tiny, "--resume", "--dry-run", "--json")
    assert outcome.exit_code == 0, outcome.stderr
    found = json.loads(outcome.stdout)
    assert (found["training_pictures"], found["validation_pictures"], found["read"]) == (4, 1, 5)
    assert (found["left_out"], found["start"]) == ([], "linear")
    assert found["step"]["psnr"] > 20
    assert found["validation"]["psnr"] > 20
    assert found["free_bytes"] > found["needed_bytes"] > 2 * found["checkpoint_bytes"] > 0
    outcome = run("train", "--out", tiny, "--resume", "--dry-run")
    assert outcome.stdout.decode().splitlines()[-1] == "The run can begin."
    assert "4 to train on, 1 to validate on; 5 of 5 read, 0 of them left out" in (
        outcome.stdout.decode()
    )
    assert (files_of(tmp_path), config(tiny)) == before


def test_a_dry_run_names_what_would_end_the_run(run, tiny, pictures, tmp_path, monkeypatch):
    words = ["train", "--dry-run", "--lmbda", 0.01, "--data", pictures, "--workers", 0]
    outcome = run(*words, "--out", pictures / "0.png" / "run")
    assert (outcome.exit_code, outcome.stdout) == (2, b"")
    assert "cannot make this directory" in outcome.line
    outcome = run(*words, "--out", tiny)
    assert outcome.exit_code == 2
    assert "holds a run" in outcome.line
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage._replace(free=1000))
    outcome = run("train", "--out", tiny, "--resume", "--dry-run")
    assert (outcome.exit_code, outcome.stdout) == (1, b"")
    assert "0 MB free, a run takes" in outcome.stderr
    monkeypatch.undo()
    patch_loss(monkeypatch, {}, factor=math.nan)
    settings = config(tiny)
    settings["train"]["patience"] = 1
    (tiny / "config.json").write_text(json.dumps(settings))
    outcome = run("train", "--out", tiny, "--resume", "--dry-run")
    assert outcome.exit_code == 1
    assert "step 1: loss or gradient not finite" in outcome.stderr


def test_a_dry_run_names_pictures_that_cannot_be_read(run, tiny, pictures, tmp_path):
    folder = tmp_path / "mixed"
    shutil.copytree(pictures, folder)
    (folder / "text.png").write_text("no picture at all")
    outcome = run("train", "--out", tiny, "--resume", "--dry-run", "--json", "--data", folder)
    assert outcome.exit_code == 0
    assert outcome.line.startswith(f"picture left out: {folder / 'text.png'}: ")
    [fault] = json.loads(outcome.stdout)["left_out"]
    assert fault.startswith(str(folder / "text.png"))


def test_without_accelerate_the_remedy_is_named(run, pictures, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "accelerate", None)
    path = tmp_path / "run"
    outcome = run("train", "--lmbda", 0.01, "--data", pictures, "--out", path)
    assert outcome.exit_code == 2
    assert "pip install 'paoncodec[train]'" in outcome.line
    assert not path.exists()


def test_threads_are_set(run, tiny):
    import torch

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert run("train", "--out", tiny, "--resume", "--threads", 1).exit_code == 0
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_a_directory_that_cannot_be_made_is_a_usage_error(run, pictures):
    place = pictures / "0.png" / "run"
    outcome = run("train", "--out", place, "--lmbda", 0.01, "--data", pictures)
    assert outcome.exit_code == 2
    assert "cannot make this directory" in outcome.line


#: The command, killed by the system ahead of the n-th loss: argv[1].
KILLED = """
import os, signal, sys
from paoncodec.cli import main
from paoncodec.codecs.task import CodecTask
from paoncodec.training import engine

engine.provenance = dict
plain, left = CodecTask.loss, iter(range(int(sys.argv.pop(1)) - 1))

def loss(task, *given):
    if next(left, None) is None:
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(task, *given)

CodecTask.loss = loss
main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_run_that_the_system_killed_ends_with_the_same_files(run, tiny, tmp_path, monkeypatch):
    import torch

    monkeypatch.setattr("paoncodec.training.engine.provenance", dict)  # slower than the training
    settings = config(tiny)
    settings["train"].update(steps=3, validate_every=2)
    other = tmp_path / "unbroken"
    other.mkdir()
    for path in (tiny, other):
        (path / "config.json").write_text(json.dumps(settings))
    words = ["train", "--resume", "--threads", "1", "--out"]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, "3", *words, str(tiny)], capture_output=True, timeout=600
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    before = torch.get_num_threads()
    try:
        outcome = run(*words, tiny)
        assert run(*words, other).exit_code == 0
    finally:
        torch.set_num_threads(before)
    assert outcome.exit_code == 0
    assert "resumed at step 2 of 3" in outcome.stderr
    for name in ("best.safetensors", "last.safetensors"):
        assert (tiny / name).read_bytes() == (other / name).read_bytes()


# A grid


@pytest.fixture
def tiny_grid(pictures: Path, tmp_path: Path) -> Path:
    """A grid's directory that holds settings and no run yet."""
    from paoncodec.codecs.grid import Grid
    from paoncodec.codecs.recipe import CodecRecipe

    path = tmp_path / "tiny grid"
    path.mkdir()
    recipe = CodecRecipe.from_json({**SETTINGS, "data": [str(pictures)]})
    (path / "grid.json").write_text(json.dumps(Grid(recipe, (0.013, 0.05)).describe()))
    return path


def test_a_grid_is_trained_by_one_command(run, pictures, tmp_path):
    words = ["--data", pictures, "--steps", 1, "--batch-size", 1, "--crop", 64, "--workers", 0]
    path = tmp_path / "grid"
    outcome = run("train", "--lmbda", "0.013,0.025", *words, "--out", path)
    assert outcome.exit_code == 0
    weights = [path / f"lmbda-{name}" / "best.safetensors" for name in ("0.025", "0.013")]
    assert outcome.stdout.decode().splitlines() == list(map(str, weights))
    assert all(file.is_file() for file in weights)
    assert f"λ = 0.013, from lmbda-0.025: {path / 'lmbda-0.013'}" in outcome.stderr
    assert config(path / "lmbda-0.013")["start"] == "weights"
    again = run("train", "--out", path, "--resume", "--json")
    assert again.exit_code == 0
    assert again.stderr == ""
    listed = {"0.025": str(weights[0]), "0.013": str(weights[1])}
    assert json.loads(again.stdout) == {"run": str(path), "weights": listed}


def test_a_grid_that_a_signal_stops_goes_on(run, tiny_grid, monkeypatch):
    patch_loss(monkeypatch, {6: lambda: signal.raise_signal(signal.SIGTERM)})
    outcome = run("train", "--out", tiny_grid, "--resume")
    assert (outcome.exit_code, outcome.stdout) == (143, b"")
    assert f"paoncodec train --out '{tiny_grid}' --resume" in outcome.stderr
    assert_a_dry_run_reads(run, tiny_grid, tiny_grid / "lmbda-0.013" / "last.pt")
    outcome = run("train", "--out", tiny_grid, "--resume")
    assert outcome.exit_code == 0
    assert "lmbda-0.05" not in outcome.stderr.splitlines()[0].split(":")[-1]
    assert "resumed at step 2 of 4" in outcome.stderr


def test_a_signal_during_a_lambdas_last_step_stops_the_grid(run, tiny_grid, monkeypatch):
    patch_loss(monkeypatch, {4: lambda: signal.raise_signal(signal.SIGTERM)})
    outcome = run("train", "--out", tiny_grid, "--resume")
    assert (outcome.exit_code, outcome.stdout) == (143, b"")
    assert "stopped at step 4 of 4; to go on: paoncodec train" in outcome.stderr
    assert (tiny_grid / "lmbda-0.05" / "best.safetensors").is_file()
    assert not (tiny_grid / "lmbda-0.013").exists()
    assert run("train", "--out", tiny_grid, "--resume").exit_code == 0
    outcome = run("train", "--out", tiny_grid, "--resume", "--steps", 3)
    assert (outcome.exit_code, outcome.stdout) == (2, b"")
    assert "steps 3: " in outcome.line
    assert "has done 4 already; give more" in outcome.line
    (tiny_grid / "lmbda-0.013" / "best.safetensors").unlink()
    outcome = run("train", "--out", tiny_grid, "--resume")
    assert (outcome.exit_code, outcome.stdout) == (1, b"")
    assert "so there are no best weights; the last are" in outcome.line


def test_the_papers_grid_has_a_name():
    from paoncodec.cli.train import _lmbda

    assert _lmbda("grid") == (0.0018, 0.0035, 0.0067, 0.013, 0.025, 0.0483)
    assert (_lmbda("0.01"), _lmbda("variable")) == (0.01, "variable")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--lmbda", "0.01,0.01"], "a grid takes two or more, none twice"),
        (["--lmbda", "0.01,-1"], "lmbda -1.0: must be > 0"),
        (["--lmbda", "0.01,x"], "lmbda 0.01,x: must be > 0"),
        (["--lmbda", "0.01", "--from-scratch"], "--from-scratch: for a grid"),
    ],
)
def test_wrong_grids_make_no_run(run, pictures, tmp_path, words, said):
    outcome = run("train", "--out", tmp_path / "new", "--data", pictures, *words)
    assert (outcome.exit_code, outcome.stdout) == (2, b"")
    assert said in outcome.line
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("lmbda", ["0.013", "0.013,0.05"])
def test_a_grid_that_never_began_is_in_nobodys_way(run, pictures, tmp_path, lmbda):
    junk, place = tmp_path / "junk", tmp_path / "new"
    junk.mkdir()
    for name in ("a.png", "b.png"):
        (junk / name).write_bytes(b"no picture")
    outcome = run("train", "--lmbda", "0.013,0.05", "--data", junk, "--out", place)
    assert outcome.exit_code == 3
    assert (place / "grid.json").is_file()
    words = ["--steps", 2, "--batch-size", 1, "--crop", 64, "--workers", 0, "--out", place]
    outcome = run("train", "--lmbda", lmbda, "--data", pictures, *words)
    assert outcome.exit_code == 0, outcome.stderr
    assert (place / "grid.json").is_file() == ("," in lmbda)
    outcome = run("train", "--out", place, "--resume")
    assert outcome.exit_code == 0, outcome.stderr


def test_one_lambda_is_not_what_a_grid_goes_on_with(run, tiny_grid):
    outcome = run("train", "--out", tiny_grid, "--resume", "--lmbda", "0.013")
    assert outcome.exit_code == 2
    assert "a grid was begun here; leave --lmbda out" in outcome.line


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_a_grid_and_a_run_do_not_share_a_directory(run, tiny, tiny_grid, pictures, dry):
    words = ["--data", pictures, *dry]
    (tiny_grid / "lmbda-0.05").mkdir()
    (tiny_grid / "lmbda-0.05" / "config.json").write_text("{}")  # so its first run has begun
    before = files_of(tiny), files_of(tiny_grid)
    for lmbda, out, said in [
        ("0.013", tiny_grid, "holds a grid: continue it with --resume"),
        ("0.013,0.05", tiny_grid, "holds a grid: continue it with --resume"),
        ("0.013,0.05", tiny, "holds a run of one λ"),
    ]:
        outcome = run("train", "--lmbda", lmbda, "--out", out, *words)
        assert (outcome.exit_code, outcome.stdout) == (2, b"")
        assert said in outcome.line
    outcome = run("train", "--lmbda", "0.013,0.05", "--out", tiny, "--resume", *words)
    assert outcome.exit_code == 2
    assert "holds a run of one λ: give --resume and no --lmbda" in outcome.line
    assert (files_of(tiny), files_of(tiny_grid)) == before


def assert_a_dry_run_reads(run, out: Path, checkpoint: Path) -> None:
    """Also that it would go on with other settings, and that the checkpoint is damaged."""
    words = ["train", "--out", out, "--resume", "--dry-run"]
    assert run(*words).exit_code == 0
    outcome = run(*words, "--seed", 7)
    assert outcome.exit_code == 2
    assert "seed was 0, now 7" in outcome.line
    whole = checkpoint.read_bytes()
    checkpoint.write_bytes(b"damaged")
    outcome = run(*words)
    assert (outcome.exit_code, outcome.stdout) == (5, b"")
    assert "last.pt: not a checkpoint of a run, or damaged" in outcome.line
    checkpoint.write_bytes(whole)


def test_a_dry_run_reads_the_run_that_it_would_go_on_with(run, finished):
    assert_a_dry_run_reads(run, finished, finished / "last.pt")
