"""How errors end: one line on stderr and an exit code."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from traceback import print_exc
from typing import TextIO

import click

from paoncodec.errors import PaonError, PictureWarning, TablesMade, TargetMissed

__all__ = ["noting", "reporting"]

_INTERNAL = PaonError.exit_code
# As shells report a process that SIGINT or SIGPIPE has ended.
_INTERRUPTED = 128 + 2
_PIPE_CLOSED = 128 + 13


@contextmanager
def reporting(traceback: bool) -> Iterator[None]:
    """Turn an exception into one line on stderr and SystemExit with its exit code.

    Click's own exceptions pass: it reports those of usage by itself, with exit code 2.

    Args:
        traceback: print the traceback before the line.
    """
    try:
        with _saying_warnings():
            yield
    except (click.ClickException, click.exceptions.Exit, click.Abort):
        raise
    except PaonError as error:
        _end(str(error), error.exit_code, traceback)
    except KeyboardInterrupt:
        _end("interrupted", _INTERRUPTED, traceback)
    except BrokenPipeError:
        # Whoever read our output has had enough: no reason to talk.
        _forget_stdout()
        raise SystemExit(_PIPE_CLOSED) from None
    except Exception as error:  # noqa: BLE001 - the last line of defence
        what = f"{type(error).__name__}: {error}"
        remedy = "run `paoncodec --debug ...` and report what it says"
        _end(f"internal error ({what}); {remedy}", _INTERNAL, traceback)


@contextmanager
def _saying_warnings() -> Iterator[None]:
    """What a user should know is said as errors are: in one line without source, and once."""
    said: set[str] = set()

    def say_once(message: str) -> None:
        if message not in said:  # a command may read a file more than once
            said.add(message)
            _say(message)

    with _telling(TablesMade, say_once):
        yield


@contextmanager
def noting() -> Iterator[list[str]]:
    """Collect what is not as it was asked for, in place of warnings with a line of code."""
    notes: list[str] = []
    with _telling(PictureWarning, notes.append), _telling(TargetMissed, notes.append):
        yield notes


@contextmanager
def _telling(kind: type[Warning], tell: Callable[[str], None]) -> Iterator[None]:
    """Hand every warning of a kind to `tell`; all others are shown as usual."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", kind)
        usual = warnings.showwarning

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if issubclass(category, kind):
                tell(str(message))
            else:
                usual(message, category, filename, lineno, file, line)

        warnings.showwarning = show
        yield


def _say(message: str) -> None:
    click.echo(f"paoncodec: {' '.join(message.split())}", err=True)


def _end(message: str, exit_code: int, traceback: bool) -> None:
    if traceback:
        print_exc()
    # Processes that were launched together raise what one of them did: one a machine says it.
    if exit_code == _INTERNAL or os.environ.get("LOCAL_RANK", "0") == "0":
        _say(message)
    raise SystemExit(exit_code)


def _forget_stdout() -> None:
    """Keep the interpreter from flushing to the closed pipe as it ends, which would complain."""
    with suppress(OSError, ValueError):  # a replaced stdout has no file number
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
