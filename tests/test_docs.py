"""README and docs are true: their commands run, in the order they stand, and their links lead
somewhere."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")
# What sets up an environment, or takes minutes: that it exists is checked, not what it does.
INSTALLS = ("pip install",)


def blocks(page: Path, language: str) -> list[str]:
    return [text for kind, text in BLOCK.findall(page.read_text()) if kind == language]


def commands(page: Path) -> list[str]:
    text = "\n".join(blocks(page, "bash")).replace("\\\n", " ")
    lines = (line.split(" #")[0].strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


@pytest.fixture
def workplace(tmp_path: Path) -> Path:
    """A user's folder: a photograph, a few more in `photos`, and the tools of the checkout."""
    photo = ROOT / "paoncodec" / "demo" / "photo.png"
    shutil.copy(photo, tmp_path / "photo.png")
    (tmp_path / "photos").mkdir()
    for name in "abcd":
        shutil.copy(photo, tmp_path / "photos" / f"{name}.png")
    (tmp_path / "tools").symlink_to(ROOT / "tools")
    return tmp_path


def run(command: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    words = shlex.split(command)
    if words[0] == "paoncodec":
        words[:1] = [sys.executable, "-m", "paoncodec"]
    if words[0] == "python":
        # The tools measure for minutes: what is checked is that they start.
        words = [sys.executable, *words[1:], *(options or ("--help",))]
    if words[0] == "make":
        words = ["make", "-n", "-C", str(ROOT), *words[1:]]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        words, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_run(page: Path, workplace: Path) -> None:
    for command in commands(page):
        if command.startswith(INSTALLS):
            continue
        result = run(command, workplace)
        assert result.returncode == 0, f"{command}\n{result.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_runs(page: Path, workplace: Path) -> None:
    script = "\n".join(blocks(page, "python"))
    if not script:
        return
    result = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", script],
        cwd=workplace,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    missing = [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()]
    assert not missing


def test_figures_in_the_readme_are_those_of_the_cards() -> None:
    result = run("python tools/readme_figures.py", ROOT, "--check")
    assert result.returncode == 0, result.stderr
