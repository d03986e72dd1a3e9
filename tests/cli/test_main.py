"""The command as a whole: its parts, what it loads, what it says of wrong words."""

from __future__ import annotations

import subprocess
import sys

import paoncodec

LOADED = "print(*(name for name in sys.modules), file=sys.stderr)"


def loaded_after(*arguments: str) -> set[str]:
    """The modules that a command has loaded when it ends."""
    code = (
        "import sys; from paoncodec.cli import main\n"
        f"try: main({list(arguments)!r})\nfinally: {LOADED}"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(run.stderr.split())


def test_help_names_the_commands(run):
    outcome = run("--help")
    assert outcome.exit_code == 0
    assert outcome.stderr == ""
    for command in ("encode", "decode", "info", "train"):
        assert f"\n  {command} ".encode() in outcome.stdout


def test_help_loads_nothing_heavy():
    loaded = loaded_after("--help")
    assert "paoncodec.cli.encode" in loaded
    assert not loaded & {"torch", "numpy", "PIL", "compressai"}


def test_a_command_loads_no_other():
    assert not loaded_after("info", "--help") & {"paoncodec.cli.encode", "paoncodec.cli.decode"}


def test_version():
    command = [sys.executable, "-m", "paoncodec", "--version"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stdout == f"paoncodec, version {paoncodec.__version__}\n"


def test_wrong_words_are_usage_errors(run):
    for words in (
        ["transcode"],
        ["encode"],
        ["encode", "a.png", "--strength", "3"],
        ["encode", "a.png", "-q", "7"],
        ["decode", "a.bin", "--max-pixels", "0"],
        ["info", "a.bin", "b.bin"],
    ):
        outcome = run(*words)
        assert (outcome.exit_code, outcome.stdout) == (2, b""), words
        assert "Error: " in outcome.stderr
