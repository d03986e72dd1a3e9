"""A run in miniature, to find out whether the real one would go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

import torch

from paoncodec.errors import UsageError
from paoncodec.training.engine import Progress, Trainer
from paoncodec.training.run_directory import RunDirectory, TrainingStopped
from paoncodec.training.task import Task


@dataclass(frozen=True)
class Rehearsal:
    """What came of it.

    Args:
        figures: of the step.
        validation: of the validation after it.
        start_seconds: what the start took, data and first weights.
        step_seconds: the first step with what it waits for, and the validation.
        checkpoint_bytes: of the file to resume from.
        weights_bytes: of a weights file.
        left_out: what was told of pictures that cannot be used.
    """

    figures: dict[str, float]
    validation: dict[str, float]
    start_seconds: float
    step_seconds: float
    checkpoint_bytes: int
    weights_bytes: int
    left_out: list[str]


def rehearse(
    task: Task,
    check_weights: Callable[[Path], object],
    tell: Callable[[str], None] | None = None,
) -> Rehearsal:
    """Starts, takes a step, validates, writes a checkpoint and reads it back; leaves nothing.

    All is written into a temporary directory of its own.

    Args:
        task: validates after its first step.
        check_weights: reads a weights file as its users would, and raises where it cannot.
        tell: as for :class:`.Trainer`.

    Raises:
        UsageError: processes were launched together.
        TrainingStopped: the checkpoint that is read back is not what was written.
        PaonError: whatever would end the real run.
    """
    with TemporaryDirectory(prefix="paoncodec-") as folder:
        begun = monotonic()
        trainer = Trainer(task, RunDirectory(Path(folder) / "run"), tell=tell)
        if trainer.processes.count > 1:
            raise UsageError("a dry run is for one process: leave the launcher out")
        started = monotonic()
        seen: list[Progress] = []

        def stop(progress: Progress) -> None:
            seen.append(progress)
            trainer.request_stop()

        trainer.listener = stop
        trainer.fit()
        ended = monotonic()
        _read_back(task, trainer, tell)
        check_weights(trainer.run.weights_file("last"))
        return Rehearsal(
            figures=seen[0].figures,
            validation=seen[0].validation,
            start_seconds=started - begun,
            step_seconds=ended - started,
            checkpoint_bytes=trainer.run.checkpoint_file.stat().st_size,
            weights_bytes=trainer.run.weights_file("last").stat().st_size,
            left_out=trainer.left_out,
        )


def _read_back(task: Task, trainer: Trainer, tell: Callable[[str], None] | None) -> None:
    """Resumes as a later start would, and compares."""
    written = {name: tensor.clone() for name, tensor in task.model.state_dict().items()}
    again = Trainer(task, RunDirectory(trainer.run.path, resume=True), tell=tell)
    read = task.model.state_dict()
    same = all(torch.equal(tensor, read[name]) for name, tensor in written.items())
    if not same or again.step != trainer.step:
        raise TrainingStopped(
            f"{trainer.run.path}: a checkpoint was read back otherwise than it was written; "
            "see whether the temporary directory's disk is sound"
        )
