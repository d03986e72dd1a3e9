"""README and docs are true: their commands run, in the order they stand, their figures are those of
the cards, and their links lead somewhere."""

from __future__ import annotations

import io
import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from compressai.models import JointAutoregressiveHierarchicalPriors
from PIL import Image

from paoncodec.cli import main

ROOT = Path(__file__).parents[1]
ZOO_PAGE = ROOT / "paoncodec" / "zoo_data" / "README.md"
RECIPES_PAGE = ROOT / "paoncodec" / "codecs" / "presets" / "README.md"
PAGES = [ROOT / "README.md", ZOO_PAGE, RECIPES_PAGE, *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")

# A training run of the length that a page recommends takes hours: here it takes a step or two.
SHORT = {"--steps": "2", "--batch-size": "1", "--crop": "64", "--workers": "0"}


def blocks(page: Path, language: str) -> list[str]:
    return [text for kind, text in BLOCK.findall(page.read_text()) if kind == language]


def commands(page: Path) -> list[str]:
    text = "\n".join(blocks(page, "bash")).replace("\\\n", " ")
    lines = (line.split(" #")[0].strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder: a photograph, a small one, two in `photos`, some of two classes in
    `cifar10`, weights of CompressAI's mbt2018, and the checkout's tools."""
    photo = ROOT / "paoncodec" / "demo" / "photo.png"
    shutil.copy(photo, tmp_path / "photo.png")
    with Image.open(photo) as picture:
        picture.resize((48, 48)).save(tmp_path / "small.png")
        (tmp_path / "photos").mkdir()
        for name, corner in {"a": (0, 0), "b": (256, 256)}.items():
            part = picture.crop((*corner, *(side + 256 for side in corner)))
            part.save(tmp_path / "photos" / f"{name}.png")
    for number, place in enumerate(("train/cat", "train/dog", "test/cat", "test/dog")):
        (tmp_path / "cifar10" / place).mkdir(parents=True)
        for name in "ab":
            colour = (60 * number, 0, ord(name))
            Image.new("RGB", (32, 32), colour).save(tmp_path / "cifar10" / place / f"{name}.png")
    torch.manual_seed(0)
    published = JointAutoregressiveHierarchicalPriors(8, 12).state_dict()
    torch.save(published, tmp_path / "mbt2018.pth.tar")
    (tmp_path / "tools").symlink_to(ROOT / "tools")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def shortened(words: list[str]) -> list[str]:
    """The words of a training command, with what makes a run long made short."""
    if "train" not in (words[0], *words[1:2]):
        return words
    kept = iter(words)
    plain = [word for word in kept if not (word in SHORT and next(kept))]
    options = SHORT
    if "--resume" in words:  # only its length may be given anew: one step more than SHORT's
        options = {"--steps": "3"} if "--steps" in words else {}
    elif "classification" in words:  # its crops are as large as the pictures
        options = {name: value for name, value in SHORT.items() if name != "--crop"}
    return [*plain, *(word for option in options.items() for word in option)]


def run(command: str) -> tuple[int, str]:
    """Exit code and what was said."""
    words = shlex.split(command)
    if words[:3] == ["accelerate", "launch", "-m"]:
        words = words[3:]  # launching is tested with the training
    if words[:2] == ["pip", "install"]:
        return 0, ""  # this is about to be tested in the environment that it made
    if words[0] == "paoncodec":
        result = CliRunner().invoke(main, shortened(words[1:]))
        return result.exit_code, result.output
    if words[0] == "python" and words[1].startswith("tools/"):
        # They measure for minutes: what is checked is that they start.
        return told_by(ROOT / words[1], "--help")
    if words[0] == "python":
        words = [sys.executable, *words[1:], "--help"]
    if words[0] == "make":
        words = ["make", "-n", "-C", str(ROOT), *words[1:]]
    done = subprocess.run(words, env=environment(), capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


@cache
def told_by(script: Path, option: str) -> tuple[int, str]:
    """Exit code of a script and what it said, in this process: another would import torch anew."""
    said, code = io.StringIO(), None
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(said), redirect_stderr(said):
        patch.setattr(sys, "argv", [str(script), option])
        patch.setattr(sys, "path", [str(script.parent), *sys.path])
        try:
            runpy.run_path(str(script), run_name="__main__")
        except SystemExit as end:
            code = end.code
    return code or 0, said.getvalue()


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
@pytest.mark.usefixtures("workplace")
def test_commands_run(page: Path) -> None:
    for command in commands(page):
        code, said = run(command)
        assert code == 0, f"{command}\n{said}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_runs(page: Path, workplace: Path) -> None:
    script = workplace / "script.py"
    script.write_text("\n".join(blocks(page, "python")))
    runpy.run_path(str(script), run_name="__main__")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    missing = [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize(
    "tool", ["readme_figures.py", "readme_kodak.py", "readme_recipes.py", "readme_zoo.py"]
)
def test_figures_in_the_readme_are_those_of_cards_and_result_files(tool: str) -> None:
    code, said = told_by(ROOT / "tools" / tool, "--check")
    assert code == 0, said


def test_commands_of_result_files_can_be_typed_elsewhere() -> None:
    """They name nothing by a path of the machine that measured."""
    files = sorted((ROOT / "docs" / "results").rglob("*.json"))
    typed = {path: json.loads(path.read_text()).get("command", []) for path in files}
    assert any(typed.values())
    named = [(path.name, word) for path in files for word in typed[path] if word.startswith("/")]
    assert not named
