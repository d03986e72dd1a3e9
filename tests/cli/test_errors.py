"""How errors end."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

import click
import pytest

from paoncodec.cli.errors import reporting
from paoncodec.errors import (
    DecodeDesync,
    ImageError,
    NotOurFile,
    PaonError,
    TablesMade,
    UsageError,
    WeightsError,
)


def ended(error: BaseException, traceback: bool = False) -> object:
    with pytest.raises(SystemExit) as caught, reporting(traceback):
        raise error
    return caught.value.code


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (UsageError("what"), 2),
        (ImageError("what"), 3),
        (NotOurFile(b"what"), 4),
        (WeightsError("what"), 5),
        (DecodeDesync("what"), 6),
        (PaonError("what"), 70),
        (RuntimeError("what"), 70),
        (MemoryError("what"), 70),
        (KeyboardInterrupt(), 130),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_is_one_line_and_an_exit_code(error, exit_code, capsys):
    assert ended(error) == exit_code
    captured = capsys.readouterr()
    [line] = captured.err.splitlines()
    assert captured.out == ""
    assert line.startswith("paoncodec: ")
    assert line.endswith("interrupted") or "what" in line


@pytest.mark.filterwarnings("default::paoncodec.errors.TablesMade")
def test_what_a_user_should_know_is_said_once(capsys):
    with reporting(False):
        for name in ("a", "b", "a"):
            warnings.warn(f"{name}: no tables", TablesMade, stacklevel=1)
    assert capsys.readouterr().err == "paoncodec: a: no tables\npaoncodec: b: no tables\n"


def test_a_message_of_several_lines_becomes_one(capsys):
    ended(ImageError("one\n  two\nthree"))
    assert capsys.readouterr().err == "paoncodec: one two three\n"


def test_a_fault_of_ours_says_how_to_see_more(capsys):
    ended(KeyError("nowhere"))
    assert "paoncodec --debug" in capsys.readouterr().err


def test_debug_shows_the_traceback(capsys):
    assert ended(ZeroDivisionError("what"), traceback=True) == 70
    captured = capsys.readouterr()
    assert captured.err.startswith("Traceback")
    assert captured.err.splitlines()[-1].startswith("paoncodec: ")


@pytest.mark.parametrize(
    "error", [click.UsageError("what"), click.exceptions.Exit(0), click.Abort(), SystemExit(3)]
)
def test_what_click_handles_passes(error):
    with pytest.raises(type(error)) as caught, reporting(traceback=False):
        raise error
    assert caught.value is error


@pytest.mark.parametrize("words", [["info", "--json"], ["info"], ["--help"]])
def test_a_closed_pipe_is_no_reason_to_complain(tmp_path: Path, sound_file: bytes, words):
    (tmp_path / "a.bin").write_bytes(sound_file)
    reader, writer = os.pipe()
    os.close(reader)
    file = [tmp_path / "a.bin"] if "info" in words else []
    with os.fdopen(writer, "wb") as stdout:
        run = subprocess.run(
            [sys.executable, "-m", "paoncodec", *words, *file],
            stdout=stdout,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert run.stderr == b""
    assert run.returncode == (141 if file else 1)
