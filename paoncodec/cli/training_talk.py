"""How a training run talks on stderr: a progress bar on a terminal, elsewhere a line a minute."""

from __future__ import annotations

import math
from time import monotonic
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from paoncodec.training import Progress

__all__ = ["Bar", "Lines", "Talk", "say"]

#: Seconds between lines where there is no terminal.
_LINE_EVERY = 60.0
#: What tasks report beside their loss.
_FORMS = {"bpp": "{:.4f} bpp", "psnr": "{:.2f} dB", "accuracy": "{:.2%} right"}


def say(text: str) -> None:
    click.echo(text, err=True)


class Talk:
    """Tells on stderr how the run goes: figures smoothed over some fifty steps."""

    def __init__(self) -> None:
        self._means: dict[str, float] = {}

    def __enter__(self) -> Talk:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing to close."""

    def hear(self, progress: Progress) -> None:
        for name, value in progress.figures.items():
            if math.isfinite(value):
                self._means[name] = 0.98 * self._means.get(name, value) + 0.02 * value
        self._show(progress)
        if progress.validation:
            self.tell(f"step {progress.step}: validation {_figures(progress.validation)}")

    def _show(self, progress: Progress) -> None:
        raise NotImplementedError

    def tell(self, text: str) -> None:
        say(text)

    def _state(self, progress: Progress) -> str:
        skipped = f", {progress.skipped} skipped" if progress.skipped else ""
        return _figures(self._means) + skipped


class Lines(Talk):
    """A line a minute."""

    def __init__(self) -> None:
        super().__init__()
        self._steps = 0
        self._begun = self._last = monotonic()

    def __enter__(self) -> Talk:
        self._begun = self._last = monotonic()
        return self

    def _show(self, progress: Progress) -> None:
        self._steps += 1
        now = monotonic()
        if now - self._last < _LINE_EVERY:
            return
        self._last = now
        left = (now - self._begun) / self._steps * (progress.steps - progress.step)
        say(f"step {progress.step}/{progress.steps}: {self._state(progress)}, {_clock(left)} left")


class Bar(Talk):
    """A progress bar."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        super().__init__()
        self._console = Console(stderr=True, highlight=False)
        self._bar = Progress(
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[state]}"),
            TimeRemainingColumn(),
            console=self._console,
            redirect_stdout=False,
        )
        self._task = self._bar.add_task("", total=None, state="")

    def __enter__(self) -> Talk:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def _show(self, progress: Progress) -> None:
        self._bar.update(
            self._task,
            total=progress.steps,
            completed=progress.step,
            state=self._state(progress),
        )

    def tell(self, text: str) -> None:
        self._console.print(text, markup=False)


def _figures(figures: dict[str, float]) -> str:
    found = [f"loss {figures.get('loss', math.nan):.4f}"]
    found += [form.format(figures[name]) for name, form in _FORMS.items() if name in figures]
    return ", ".join(found)


def _clock(seconds: float) -> str:
    minutes, whole = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{whole:02}"
