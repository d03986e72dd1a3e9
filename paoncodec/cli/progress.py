"""How far a command is, told on stderr: a bar on a terminal, otherwise a line a minute."""

from __future__ import annotations

import sys
from time import monotonic
from typing import Protocol

import click

__all__ = ["Progress", "progress"]

# Seconds between lines where there is no terminal.
_LINE_EVERY = 60.0


class Progress(Protocol):
    """What a command tells; to be used as a context."""

    def __enter__(self) -> Progress: ...

    def __exit__(self, *error: object) -> None: ...

    def step(self, what: str) -> None:
        """One more is done, which is called `what`."""
        ...

    def say(self, text: str) -> None:
        """A line that stays."""
        ...


def progress(total: int) -> Progress:
    """For `total` steps."""
    return _Bar(total) if sys.stderr.isatty() else _Lines(total)


class _Lines:
    def __init__(self, total: int) -> None:
        self._total, self._done, self._last = total, 0, monotonic()
        self._start = self._last

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing to close."""

    def step(self, what: str) -> None:
        self._done += 1
        if monotonic() - self._last >= _LINE_EVERY:
            self._last = monotonic()
            left = (self._last - self._start) / self._done * (self._total - self._done)
            self.say(f"{self._done}/{self._total}, {_duration(left)} left: {what}")

    def say(self, text: str) -> None:
        click.echo(text, err=True)


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


class _Bar:
    def __init__(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        self._console = Console(stderr=True, highlight=False, markup=False)
        self._bar = Progress(
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[what]}", markup=False),
            TimeRemainingColumn(),
            console=self._console,
            redirect_stdout=False,
            transient=True,
        )
        self._task = self._bar.add_task("", total=total, what="")

    def __enter__(self) -> _Bar:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def step(self, what: str) -> None:
        self._bar.update(self._task, advance=1, what=what)

    def say(self, text: str) -> None:
        self._console.print(text)
