"""`paoncodec train`: weights are made from folders of pictures."""

from __future__ import annotations

import json
import math
import os
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import click

from paoncodec.cli import dry_run as trial
from paoncodec.errors import UsageError

if TYPE_CHECKING:
    from types import FrameType

    from paoncodec.codecs.recipe import CodecRecipe, CodecTask
    from paoncodec.training import Progress, Trainer

__all__ = ["train"]

_PRESET = "small"
_ARCH = "mbt-paon"
#: Seconds between lines where there is no terminal.
_LINE_EVERY = 60.0


def _lmbda(text: str) -> float | str:
    """A number; or the word that stands for many, which the recipe knows or refuses."""
    try:
        return float(text)
    except ValueError:
        return text


@click.command()
@click.option("--arch", help=f"Architecture.  [default: {_ARCH}]")
@click.option(
    "--lmbda",
    type=_lmbda,
    metavar="L",
    help="λ in λ·255²·MSE + bpp: larger is better and bigger; or `variable`: one network for all "
    "qualities.",
)
@click.option(
    "--data",
    multiple=True,
    metavar="DIR[=W]",
    help="Folder of pictures, searched through; repeatable. Its pictures are drawn W times an "
    "epoch. Or a .txt file with a line `DIR W` for each.",
)
@click.option("--out", required=True, metavar="RUN", help="Directory of the run.")
@click.option("--dry-run", is_flag=True, help="Try all of it for a minute, and leave RUN alone.")
@click.option("--resume", is_flag=True, help="Go on with the run in RUN, with its settings.")
@click.option("--preset", help=f"Settings to begin with: paper or small.  [default: {_PRESET}]")
@click.option(
    "--start-from",
    metavar="WEIGHTS",
    help="Weights to begin with: a file, or a name of the zoo.",
)
@click.option("--steps", type=int, help="Optimiser steps of the whole run.")
@click.option("--batch-size", type=int, help="Crops a step, in all processes together.")
@click.option("--accumulate", type=int, help="Parts a process makes of a step, to save memory.")
@click.option("--crop", type=int, help="Side of the crops, a multiple of 64 pixels.")
@click.option("--seed", type=int, help="Of weights, noise, crops and their order.")
@click.option(
    "--precision",
    type=click.Choice(["float32", "bfloat16", "float16"]),
    help="Of the networks; that of the latents' distributions is float32.",
)
@click.option("--workers", type=int, help="Processes that decode pictures.")
@click.option("--threads", type=click.IntRange(1), help="Threads of torch.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def train(
    arch: str | None,
    lmbda: float | str | None,
    data: tuple[str, ...],
    out: str,
    dry_run: bool,
    resume: bool,
    preset: str | None,
    start_from: str | None,
    threads: int | None,
    as_json: bool,
    **loop: Any,
) -> None:
    """Train a codec on folders of pictures; prints the path of its best weights.

    Settings that are not given are the preset's, or with --resume those of the run. Ctrl-C writes a
    checkpoint first. Exit code 1: the run diverged, or a file could not be written.

    `accelerate launch -m paoncodec train ...` trains in several processes.
    """
    import torch

    from paoncodec.codecs.recipe import CodecTask
    from paoncodec.training import RunDirectory, Trainer

    if threads is not None:
        torch.set_num_threads(threads)
    run = RunDirectory(out, resume=resume)
    saved = run.load_config() if resume else None
    given = {"arch_name": arch, "lmbda": lmbda, **_data(data), **_start(start_from)}
    given = {name: value for name, value in given.items() if value is not None}
    loop = {name: value for name, value in loop.items() if value is not None}
    recipe = _recipe(saved, preset, given, loop)
    if dry_run:
        found = trial.dry_run(recipe, Path(out), _say)
        click.echo(json.dumps(found) if as_json else trial.describe(found))
        return
    task = CodecTask(recipe)
    trainer = Trainer(task, run, tell=_say)
    main = trainer.processes.is_main
    talk = _Bar() if main and sys.stderr.isatty() else _Lines()
    trainer.listener, trainer.tell = talk.hear, talk.tell
    if main:
        _say_begin(task, trainer, resume)
    with talk, _stop_on_signals(trainer) as received:
        complete = trainer.fit()
    trainer.processes.end()
    if main:
        _say_end(trainer, out, complete)
    if not complete:
        raise SystemExit(128 + (received or [signal.SIGTERM])[0])
    if main:
        click.echo(_result(trainer, as_json))


def _data(places: tuple[str, ...]) -> dict[str, Any]:
    """The settings that name the pictures; none where none were given."""
    from paoncodec.images.sources import parse_sources

    if not places:
        return {}
    sources = parse_sources(places)
    weights = [source.weight for source in sources]
    return {
        "data": [str(source.path) for source in sources],
        "data_weights": weights if any(weight != 1 for weight in weights) else [],
    }


def _start(weights: str | None) -> dict[str, Any]:
    """The settings of a start from weights; none where it was not asked for."""
    from paoncodec import zoo

    if weights is None:
        return {}
    found = zoo.resolve(weights)
    return {
        "start": "weights",
        "start_from": str(found.path.absolute()),
        "start_sha256": found.sha256,
    }


def _recipe(
    saved: dict[str, Any] | None, preset: str | None, given: dict[str, Any], loop: dict[str, Any]
) -> CodecRecipe:
    """The settings asked for: those of the saved run or of a preset, and over them those given.

    Raises:
        UsageError: a setting is missing, unknown or out of range.
    """
    from paoncodec.codecs.recipe import CodecRecipe

    if saved is not None and preset is None:
        return CodecRecipe.from_json(
            {**saved, **given, "train": {**saved.get("train", {}), **loop}}
        )
    kept = ("arch_name", "lmbda", "data", "data_weights")
    known = {**{k: saved[k] for k in kept if saved and k in saved}, **given}
    for name in ("lmbda", "data"):
        if name not in known:
            raise UsageError(f"no --{name}: beginning a run takes --lmbda and --data")
    first = {k: known.pop(k) for k in ("lmbda", "data")}
    arch = known.pop("arch_name", _ARCH)
    begun = CodecRecipe.from_preset(preset or _PRESET, arch, **first, **loop)
    return CodecRecipe.from_json({**asdict(begun), "train": asdict(begun.train), **known})


def _say(text: str) -> None:
    click.echo(text, err=True)


def _say_begin(task: CodecTask, trainer: Trainer, resume: bool) -> None:
    count = sum(p.numel() for p in task.model.parameters())
    pictures = f"{len(task.training)} to train on, {len(task.validation)} to validate on"
    _say(f"{task.recipe.arch_name}, {count / 1e6:.2f} M parameters; pictures: {pictures}")
    if resume:
        begun = f"resumed at step {trainer.step}" if trainer.step else "no checkpoint yet: from 0"
        _say(f"{begun} of {task.config.steps}")
    for change in trainer.changes:
        stretched = " (the schedule stretches)" if change.name == "train.steps" else ""
        _say(f"{change}{stretched}")


def _say_end(trainer: Trainer, out: str, complete: bool) -> None:
    if trainer.left_out:
        _say(f"pictures left out, named above: {len(trainer.left_out)}")
    if not complete:
        again = f"paoncodec train --out {shlex.quote(out)} --resume"
        _say(f"stopped at step {trainer.step} of {trainer.config.steps}; to go on: {again}")


def _result(trainer: Trainer, as_json: bool) -> str:
    weights = trainer.run.weights_file("best")
    if not as_json:
        return str(weights)
    result = {
        "run": str(trainer.run.path),
        "steps": trainer.step,
        "skipped": trainer.skipped,
        "left_out": len(trainer.left_out),
        "best": trainer.best_validation(),
        "weights": str(weights),
    }
    return json.dumps(result)


@contextmanager
def _stop_on_signals(trainer: Trainer) -> Iterator[list[int]]:
    """Signals that ask to end let the step in progress finish; a second one ends at once.

    Yields:
        The signals' numbers, as they come.
    """
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)
        trainer.request_stop()
        # Not through Python's stderr, which the signal may have found in the middle of a write.
        if trainer.processes.is_main:
            os.write(2, b"\nwriting a checkpoint after this step; once more to end at once\n")

    previous = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class _Talk:
    """Tells on stderr how the run goes: figures smoothed over some fifty steps."""

    def __init__(self) -> None:
        self._means: dict[str, float] = {}

    def __enter__(self) -> _Talk:
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
        _say(text)

    def _state(self, progress: Progress) -> str:
        skipped = f", {progress.skipped} skipped" if progress.skipped else ""
        return _figures(self._means) + skipped


class _Lines(_Talk):
    """A line a minute."""

    def __init__(self) -> None:
        super().__init__()
        self._steps = 0
        self._begun = self._last = monotonic()

    def __enter__(self) -> _Talk:
        self._begun = self._last = monotonic()
        return self

    def _show(self, progress: Progress) -> None:
        self._steps += 1
        now = monotonic()
        if now - self._last < _LINE_EVERY:
            return
        self._last = now
        left = (now - self._begun) / self._steps * (progress.steps - progress.step)
        _say(f"step {progress.step}/{progress.steps}: {self._state(progress)}, {_clock(left)} left")


class _Bar(_Talk):
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

    def __enter__(self) -> _Talk:
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
    return (
        f"loss {figures.get('loss', math.nan):.4f}, {figures.get('bpp', math.nan):.4f} bpp, "
        f"{figures.get('psnr', math.nan):.2f} dB"
    )


def _clock(seconds: float) -> str:
    minutes, whole = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{whole:02}"
