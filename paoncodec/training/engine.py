"""The training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from paoncodec.errors import UsageError, WeightsError
from paoncodec.training.changes import Change, check_changes
from paoncodec.training.provenance import provenance
from paoncodec.training.run_directory import RunDirectory, TrainingStopped
from paoncodec.training.task import Task

#: Steps between lines of the metrics.
LOG_EVERY = 50


class TrainingDiverged(TrainingStopped):
    """The loss stayed non-finite, or no weights file can be made of what was learned."""


@dataclass(frozen=True)
class Progress:
    """What a listener is told after each step.

    Args:
        step: steps done.
        steps: steps of the whole run.
        figures: of the step; not finite where it was skipped.
        validation: figures of the validation after this step, where there was one.
        skipped: steps skipped so far.
    """

    step: int
    steps: int
    figures: dict[str, float]
    validation: dict[str, float] = field(default_factory=dict)
    skipped: int = 0


class Trainer:
    """Trains a task, step by step, so that a resumed run repeats an unbroken one bit for bit (CPU).

    Args:
        task: model, data, loss.
        run: where everything is written; a checkpoint in it is resumed from.
        listener: called after every step.

    Attributes:
        step: optimiser steps done, skipped ones among them.
        skipped: steps whose loss or gradient was not finite.
        changes: settings that a resumed run goes on with otherwise than it was begun.

    Raises:
        UsageError: the checkpoint is of a run whose settings forbid going on.
        WeightsError: the checkpoint is damaged.
    """

    def __init__(
        self, task: Task, run: RunDirectory, listener: Callable[[Progress], None] | None = None
    ) -> None:
        self.task, self.run, self.config = task, run, task.config
        self.listener = listener or (lambda progress: None)
        self.step = 0
        self.skipped = 0
        self.in_a_row = 0
        self.best = math.inf
        self.seconds = 0.0
        self.changes: list[Change] = []
        self._stopping = False
        run.create()
        torch.manual_seed(self.config.seed)
        state = run.load()
        if state is None:
            task.start()
        else:
            self._check(state)
        self.optimizers = task.optimizers()
        self.average = AveragedModel(
            task.model, multi_avg_fn=get_ema_multi_avg_fn(self.config.ema), use_buffers=True
        )
        if state is not None:
            self._restore(state)

    def fit(self) -> bool:
        """Runs to the last step, or to the end of the step in which :meth:`request_stop` came.

        Returns:
            Whether the run is complete.

        Raises:
            TrainingDiverged: the loss was not finite ``patience`` times in a row, or no weights
                file can be made; the last checkpoint stays.
            TrainingStopped: a file of the run cannot be written.
            UsageError: another process trains in the directory.
        """
        with self.run.writer():
            self.run.write_config(self.task.describe())
            self.run.add_provenance({"first_step": self.step, **provenance()})
            self.run.forget_after(self.step)
            # Closed here and not when it is collected: worker processes end with the run.
            with closing(self.task.batches(self.step)) as batches:
                self._run(batches)
            self.checkpoint()
        return self.step == self.config.steps

    def request_stop(self) -> None:
        """Makes :meth:`fit` write a checkpoint and return after the step it is in.

        May be called by the listener or a signal handler.
        """
        self._stopping = True

    def checkpoint(self) -> None:
        """Writes the averaged weights, and the state to resume from."""
        # In this order: weights that cannot be exported must not take a good checkpoint's place.
        self._export("last")
        self.run.save(
            {
                "step": self.step,
                "skipped": self.skipped,
                "in_a_row": self.in_a_row,
                "best": self.best,
                "seconds": self.seconds,
                "model": self.task.model.state_dict(),
                "average": self.average.state_dict(),
                "optimizers": [o.state_dict() for o in self.optimizers],
                "random": torch.get_rng_state(),
            }
        )

    def best_validation(self) -> dict[str, float]:
        """Step and figures of the validation that ``best.safetensors`` is of; empty before one."""
        name = "validation_"
        records = [r for r in self.run.records() if r.get(f"{name}loss") is not None]
        if not records:
            return {}
        best = min(records, key=lambda r: r[f"{name}loss"])
        figures = {k.removeprefix(name): v for k, v in best.items() if k.startswith(name)}
        return {"step": best["step"], **figures}

    def _check(self, state: dict[str, Any]) -> None:
        saved = self.run.load_config()
        if saved is None:
            raise UsageError(f"{self.run.path} holds a checkpoint without config.json; begin anew")
        self.changes = check_changes(
            saved, self.task.describe(), self.task.may_change, str(self.run.path)
        )
        if state["step"] > self.config.steps:
            raise UsageError(
                f"steps {self.config.steps}: the run has done {state['step']} already; give more"
            )

    def _restore(self, state: dict[str, Any]) -> None:
        self.step, self.skipped = state["step"], state["skipped"]
        self.in_a_row, self.best = state["in_a_row"], state["best"]
        self.seconds = state["seconds"]
        self.task.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        torch.set_rng_state(state["random"])

    def _run(self, batches: Iterable[torch.Tensor]) -> None:
        saved = begun = time.monotonic()
        before = self.seconds
        for batch in batches:
            figures = self._step(batch)
            self.step += 1
            self.seconds = before + time.monotonic() - begun
            validation = {}
            if self.step % self.config.validate_every == 0 or self.step == self.config.steps:
                validation = self._validate()
            self.listener(Progress(self.step, self.config.steps, figures, validation, self.skipped))
            if self._stopping:
                return
            # After each validation too, so that the best weights never run ahead of the checkpoint;
            # but not amid non-finite steps: the checkpoint before them is the one to look at.
            late = time.monotonic() - saved > 60 * self.config.checkpoint_minutes
            if (late or validation) and not self.in_a_row:
                self.checkpoint()
                saved = time.monotonic()

    def _step(self, batch: torch.Tensor) -> dict[str, float]:
        model, config = self.task.model, self.config
        model.train()
        factor = config.rate_factor(self.step)
        for optimizer in self.optimizers:
            optimizer.zero_grad()
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor
        loss, figures = self.task.loss(batch)
        loss.backward()
        # Each optimiser's parameters by themselves: a large auxiliary gradient must not shrink the
        # others.
        norms = [
            float(torch.nn.utils.clip_grad_norm_(_parameters(optimizer), config.clip))
            for optimizer in self.optimizers
        ]
        if not all(map(math.isfinite, norms)) or not math.isfinite(float(loss.detach())):
            self._skip()
            return figures
        self.in_a_row = 0
        for optimizer in self.optimizers:
            optimizer.step()
        self.average.update_parameters(model)
        figures["gradient_norm"] = norms[0]
        if (self.step + 1) % LOG_EVERY == 0:
            self.run.log({"step": self.step + 1, "seconds": round(self.seconds, 1), **figures})
        return figures

    def _skip(self) -> None:
        """Counts a step that changes nothing: no optimiser, nor the average, sees it."""
        self.skipped += 1
        self.in_a_row += 1
        self.run.log({"step": self.step + 1, "skipped": self.skipped})
        if self.in_a_row >= self.config.patience:
            raise TrainingDiverged(
                f"step {self.step + 1}: loss or gradient not finite {self.in_a_row} times in a "
                "row; begin a new run with lower learning rates or in float32"
            )

    def _validate(self) -> dict[str, float]:
        model = self.average.module
        model.eval()
        with torch.no_grad():
            figures = self.task.validate(model)
        record = {f"validation_{name}": value for name, value in figures.items()}
        self.run.log({"step": self.step, "seconds": round(self.seconds, 1), **record})
        if figures["loss"] < self.best:
            self.best = figures["loss"]
            self._export("best")
        return figures

    def _export(self, which: str) -> None:
        # No time: equal training makes equal files.
        metadata = {"step": str(self.step)}

        def write(path: Path) -> None:
            try:
                self.task.export(self.average.module, str(path), metadata)
            except (RuntimeError, ValueError, ArithmeticError, WeightsError) as error:
                raise TrainingDiverged(
                    f"step {self.step}: no weights file can be made of what was learned "
                    f"({error}); begin a new run with lower learning rates or in float32"
                ) from error

        self.run.replace(self.run.weights_file(which), write)


def _parameters(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
