"""A training run as a command carries it out, whatever the task."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from paoncodec.cli.training_talk import Bar, Lines, say

if TYPE_CHECKING:
    from pathlib import Path
    from types import FrameType

    from paoncodec.training import RunDirectory, Task, Trainer

__all__ = ["best_weights", "carry_out", "data_settings", "result"]


def carry_out(
    task: Task, run: RunDirectory, about: str, resume: bool, again: str, last: bool = True
) -> Trainer:
    """Trains to the end, or leaves with SystemExit where a signal came.

    Args:
        task: what to train.
        run: where.
        about: the first line that is said.
        resume: whether the run was to go on.
        again: the command that goes on with it.
        last: whether no other run follows: else a signal during the last step stops these.
    """
    from paoncodec.training import Trainer

    trainer = Trainer(task, run, tell=say)
    main = trainer.processes.is_main
    talk = Bar() if main and sys.stderr.isatty() else Lines()
    trainer.listener, trainer.tell = talk.hear, talk.tell
    if main:
        _say_begin(about, trainer, resume)
    with talk, _stop_on_signals(trainer) as received:
        complete = trainer.fit()
    finished = complete and (last or not trainer.processes.any(bool(received)))
    if main:
        _say_end(trainer, again, finished)
    if not finished:
        trainer.processes.end()
        raise SystemExit(128 + (received or [signal.SIGTERM])[0])
    return trainer


def data_settings(places: tuple[str, ...]) -> dict[str, Any]:
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


def _say_begin(about: str, trainer: Trainer, resume: bool) -> None:
    say(about)
    if resume:
        begun = f"resumed at step {trainer.step}" if trainer.step else "no checkpoint yet: from 0"
        say(f"{begun} of {trainer.config.steps}")
    for change in trainer.changes:
        stretched = " (the schedule stretches)" if change.name == "train.steps" else ""
        say(f"{change}{stretched}")


def _say_end(trainer: Trainer, again: str, complete: bool) -> None:
    if trainer.left_out:
        say(f"pictures left out, named above: {len(trainer.left_out)}")
    if not complete:
        say(f"stopped at step {trainer.step} of {trainer.config.steps}; to go on: {again}")


def best_weights(run: RunDirectory) -> Path:
    """Of a run that is complete.

    Raises:
        TrainingDiverged: no validation gave a number, so none are the best.
    """
    from paoncodec.training import TrainingDiverged

    weights = run.weights_file("best")
    if not weights.exists():
        raise TrainingDiverged(
            f"{run.path}: no validation gave a number, so there are no best weights; "
            f"the last are {run.weights_file('last')}"
        )
    return weights


def result(trainer: Trainer, as_json: bool) -> str:
    """What the command prints: the path of the best weights, or all that came of the run.

    Raises:
        TrainingDiverged: as :func:`best_weights`.
    """
    weights = best_weights(trainer.run)
    if not as_json:
        return str(weights)
    found = {
        "run": str(trainer.run.path),
        "steps": trainer.step,
        "skipped": trainer.skipped,
        "left_out": len(trainer.left_out),
        "best": trainer.best_validation(),
        "weights": str(weights),
    }
    return json.dumps(found)


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
