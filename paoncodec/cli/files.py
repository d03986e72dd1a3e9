"""Input and output of commands: `-` streams, and files are complete or not there.

Nothing is overwritten unasked.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from paoncodec.errors import UsageError

__all__ = ["STREAM", "check_output", "default_output", "input_file", "write_output"]

STREAM = "-"


def input_file(name: str) -> Path | BinaryIO:
    """The path of an input that is there, or standard input for `-`.

    Raises:
        UsageError: there is no such file.
    """
    if name == STREAM:
        return sys.stdin.buffer
    path = Path(name)
    if path.is_dir():
        raise UsageError(f"{name} is a directory: give a file, or - for standard input")
    if not path.exists():
        raise UsageError(f"{name} does not exist: give a file, or - for standard input")
    if not os.access(path, os.R_OK):
        raise UsageError(f"{name} may not be read: check its permissions")
    return path


def default_output(source: str, suffix: str) -> str:
    """Beside the input, with `suffix`; standard output if the input is standard input."""
    return STREAM if source == STREAM else str(Path(source).with_suffix(suffix))


def check_output(target: str, source: str, force: bool) -> None:
    """Make sure, before any work is done, that `target` can be written.

    Raises:
        UsageError: it exists and `force` is not set, it is the input or a directory, its
            directory is missing or read-only, or it is a terminal.
    """
    if target == STREAM:
        if sys.stdout.buffer.isatty():
            raise UsageError("binary output does not go to a terminal: name a file with -o")
        return
    path = Path(target)
    if path.is_dir():
        raise UsageError(f"{target} is a directory: name a file with -o")
    if not path.parent.is_dir():
        raise UsageError(f"{path.parent} is not a directory: make it, or choose another output")
    if _is_special(path):
        return
    if path.exists():
        if source != STREAM and path.samefile(source):
            raise UsageError(f"{target} is the input: choose another output with -o")
        if not force:
            raise UsageError(f"{target} exists and is kept: give --force or another output")
    if not os.access(path.resolve().parent, os.W_OK):
        raise UsageError(f"{path.parent} may not be written to: choose another output")


def write_output(target: str, content: bytes, force: bool) -> None:
    """Write a file that is either complete or not there, or stream to standard output.

    Raises:
        UsageError: it cannot be written, or has come to exist since `check_output`.
    """
    if target == STREAM:
        _stream(content)
        return
    try:
        _replace(Path(target), content, force)
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {error.strerror}") from error


def _stream(content: bytes) -> None:
    stdout = sys.stdout.buffer
    try:
        stdout.write(content)
        stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UsageError(f"standard output cannot be written: {error.strerror}") from error


def _replace(path: Path, content: bytes, force: bool) -> None:
    if _is_special(path):
        path.write_bytes(content)
        return
    path = path.resolve()  # a symbolic link stays one
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if path.exists() and not force:
            raise UsageError(f"{path} has come to exist and is kept: give --force")
        part.replace(path)
    finally:
        with suppress(FileNotFoundError):
            part.unlink()


def _is_special(path: Path) -> bool:
    """A device or a named pipe: written to, never replaced."""
    return path.exists() and not path.is_file() and not path.is_dir()
