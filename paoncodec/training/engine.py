"""The training loop."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from paoncodec.errors import ImageError, UsageError, WeightsError
from paoncodec.layers.fused import can_compile, failure, is_switched_off
from paoncodec.training.changes import Change, check_changes, find_changes
from paoncodec.training.learner import Learner
from paoncodec.training.loading import Loaded, listening, load
from paoncodec.training.precision import emulates_bfloat16
from paoncodec.training.processes import Processes
from paoncodec.training.provenance import provenance
from paoncodec.training.record import Record
from paoncodec.training.run_directory import RunDirectory, TrainingStopped
from paoncodec.training.samples import Share
from paoncodec.training.task import Task

#: Steps between lines of the metrics.
LOG_EVERY = 50


def _network_of(task: Task) -> dict[str, Any]:
    """What the task's network was built with, where it says so; JSON-ready."""
    config: Any = getattr(task.model, "config", {})
    return dict(config) if isinstance(config, Mapping) else asdict(config)


class TrainingDiverged(TrainingStopped):
    """The loss stayed non-finite, or no weights file can be made of what was learned."""


@dataclass(frozen=True)
class Progress:
    """What a listener is told after each step.

    Args:
        step: steps done.
        steps: steps of the whole run.
        figures: of the step; where it was skipped those that are no counts are not finite.
        validation: figures of the validation after this step, where there was one.
        skipped: steps skipped so far.
    """

    step: int
    steps: int
    figures: dict[str, float]
    validation: dict[str, float] = field(default_factory=dict)
    skipped: int = 0


class Trainer:
    """Trains a task, step by step, so that a resumed run repeats an unbroken one bit for bit (one
    process on a CPU).

    Processes that were launched together (:class:`.Processes`) share each step's samples; the main
    one validates, writes and talks.

    Args:
        task: model, data, loss.
        run: where everything is written; a checkpoint in it is resumed from.
        listener: called after every step, in the main process.
        tell: called with each sentence that a user should read, in the main process; by default
            they are warnings.

    Attributes:
        step: optimiser steps done, skipped ones among them.
        skipped: steps whose loss or gradient was not finite.
        drops: how often the rates fell by a tenth, with the schedule ``"plateau"``.
        counted: what the task counts, since the last line of the metrics.
        learner: the model with its optimisers and its average.
        left_out: what was told of pictures that cannot be used, each once a start.
        changes: settings that a resumed run goes on with otherwise than it was begun.

    Raises:
        UsageError: the checkpoint is of a run whose settings forbid going on, the processes cannot
            share a batch evenly, or Accelerate is not installed.
        WeightsError: the checkpoint is damaged, or not of this model.
    """

    def __init__(
        self,
        task: Task,
        run: RunDirectory,
        listener: Callable[[Progress], None] | None = None,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self.task, self.run, self.config = task, run, task.config
        self.listener = listener or (lambda progress: None)
        self.tell = tell or (lambda text: warnings.warn(text, stacklevel=3))
        self.step = 0
        self.skipped = 0
        self.in_a_row = 0
        self.best = math.inf
        self.drops = 0
        self.counted: dict[str, float] = {}
        self._no_better = 0
        self.seconds = 0.0
        self.changes: list[Change] = []
        self.left_out: list[str] = []
        self._compiler_failed = failure()
        self._stopping = False
        self.processes = Processes()
        self._share = Share(
            self.config.batch_size,
            self.config.accumulate,
            self.processes.index,
            self.processes.count,
        )
        with self.processes.together():
            state = self._begin()
        self.learner = Learner(task, self.processes)
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
        about = {
            "precision": self.config.precision,
            "compiled": self._compiles and can_compile(),
            **self.processes.describe(),
        }
        with ExitStack() as held:
            record = None
            with self.processes.together():
                if self.processes.is_main:
                    record = held.enter_context(self._writing(about))
            # Closed here and not when it is collected: worker processes end with the run.
            self._run(held.enter_context(closing(self._batches())), record)
            with self.processes.together():
                if record is not None:
                    record.flush()
                    self.checkpoint()
        return self.step == self.config.steps

    def request_stop(self) -> None:
        """Makes :meth:`fit` write a checkpoint and return after the step it is in.

        May be called by the listener or a signal handler, in any of the processes.
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
                "drops": self.drops,
                "counted": self.counted,
                "network": _network_of(self.task),
                "no_better": self._no_better,
                "seconds": self.seconds,
                **self.learner.state(),
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

    def _begin(self) -> dict[str, Any] | None:
        """What to resume from; where there is nothing, the main process sets the first weights."""
        if self.processes.is_main:
            self.run.create()
        torch.manual_seed(self.config.seed)
        state = self.run.load()
        if state is not None:
            self._check(state)
        elif self.processes.is_main:
            with self._telling_left_out():
                self.task.start()
        return state

    def _check(self, state: dict[str, Any]) -> None:
        saved = self.run.load_config()
        if saved is None:
            raise UsageError(f"{self.run.path} holds a checkpoint without config.json; begin anew")
        self.changes = check_changes(
            saved, self.task.describe(), self.task.may_change, str(self.run.path)
        )
        # Settings that are not given are not in config.json: their defaults are in the network.
        for change in find_changes(state.get("network", {}), _network_of(self.task)):
            raise UsageError(
                f"{self.run.path} was begun with another network: {change}; begin a new run"
            )
        if state["step"] > self.config.steps:
            raise UsageError(
                f"steps {self.config.steps}: the run has done {state['step']} already; give more"
            )

    def _restore(self, state: dict[str, Any]) -> None:
        # Runs that were begun before there were such figures, or such a schedule, have none.
        self.counted = state.get("counted", {})
        self.drops, self._no_better = state.get("drops", 0), state.get("no_better", 0)
        try:
            self.step, self.skipped = state["step"], state["skipped"]
            self.in_a_row, self.best = state["in_a_row"], state["best"]
            self.seconds = state["seconds"]
            self.learner.restore(state)
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise WeightsError(
                f"{self.run.checkpoint_file}: its model or optimisers are not what this version "
                "makes of config.json beside it; begin a new run"
            ) from error

    @contextmanager
    def _writing(self, about: dict[str, Any]) -> Iterator[Record]:
        """Holds the run's directory, and yields its record."""
        with self.run.writer():
            self.run.write_config(self.task.describe())
            self.run.add_provenance({"first_step": self.step, **about, **provenance()})
            record = Record(self.run, self.step)
            if not record.has_board:
                self.tell("TensorBoard is not installed: metrics go to metrics.jsonl alone")
            device = self.processes.device.type
            if self.config.precision == "bfloat16" and emulates_bfloat16(device):
                self.tell(
                    "this processor has no bfloat16 arithmetic: steps take up to ten times as "
                    "long as with precision float32"
                )
            if self._compiles and not (can_compile() or is_switched_off()):
                self.tell(
                    "torch cannot compile here, for which it needs a C++ compiler: steps take a "
                    "little longer"
                )
            with closing(record):
                yield record

    @contextmanager
    def _telling_left_out(self) -> Iterator[None]:
        """Tells of pictures that are left out inside, also where an error follows.

        But not where no picture is left: the error then names one.
        """
        heard: list[str] = []
        try:
            with listening() as heard:
                yield
        except ImageError:
            heard.clear()
            raise
        finally:
            self._tell_left_out(heard)

    def _tell_left_out(self, texts: list[str]) -> None:
        for text in texts:
            if text not in self.left_out:
                self.left_out.append(text)
                self.tell(text)

    def _batches(self) -> Generator[list[tuple[range, Loaded]], None, None]:
        """This process's micro-batches of each step to come, with the numbers of their samples."""
        steps = range(self.step, self.config.steps)
        numbers = (part for step in steps for part in self._share.micro_batches(step))
        pin = self.processes.device.type == "cuda"
        loaded = load(self.task.data(), numbers, self.config.workers, pin)
        with closing(loaded):
            for step in steps:
                yield [(part, next(loaded)) for part in self._share.micro_batches(step)]

    def _run(self, batches: Iterator[list[tuple[range, Loaded]]], record: Record | None) -> None:
        begun = self._saved = time.monotonic()
        before = self.seconds
        while self.step < self.config.steps:
            with self.processes.together():
                parts = next(batches)
            figures = self.learner.step(parts, self._rate_factor(self.step))
            self.step += 1
            taken = "gradient_norm" in figures
            self.skipped += not taken
            self.in_a_row = 0 if taken else self.in_a_row + 1
            self.seconds = before + time.monotonic() - begun
            with self.processes.together():
                self._report(figures, parts, record)
            if self.config.schedule == "plateau" and self._validates:
                # The main process has validated, and says when the rates of all drop.
                self.drops = self.processes.gather(self.drops)[0]
            if self.processes.any(self._stopping):
                return

    def _report(
        self,
        figures: dict[str, float],
        parts: list[tuple[range, Loaded]],
        record: Record | None,
    ) -> None:
        """What follows a step: records, validation, a checkpoint where one is due."""
        left_out = self._gather_left_out(parts)
        if record is not None:
            self._tell_of_the_compiler()
            self._tell_left_out(left_out)
            record.left_out(self.step, self.left_out)
            for name in self.task.counts:
                self.counted[name] = self.counted.get(name, 0.0) + figures[name]
            if self.in_a_row:
                record.skipped(self.step, self.skipped, self.counted)
                self.counted = {}
            elif self.step % LOG_EVERY == 0 or self.step == self.config.steps:
                rate = self._rate_factor(self.step - 1)
                record.training(self.step, self.seconds, {**figures, **self.counted}, rate)
                self.counted = {}
        if self.in_a_row >= self.config.patience:
            raise TrainingDiverged(
                f"step {self.step}: loss or gradient not finite {self.in_a_row} times in a row; "
                "begin a new run with lower learning rates or in float32"
            )
        if record is None:
            return
        validation = {}
        if self._validates:
            validation = self._validate(record)
        self.listener(Progress(self.step, self.config.steps, figures, validation, self.skipped))
        # After each validation too, so that the best weights run ahead of the checkpoint only where
        # it cannot be written;
        # but not amid non-finite steps: the checkpoint before them is the one to look at.
        late = time.monotonic() - self._saved > 60 * self.config.checkpoint_minutes
        if (late or validation) and not self.in_a_row and not self._stopping:
            record.flush()
            self.checkpoint()
            self._saved = time.monotonic()

    def _tell_of_the_compiler(self) -> None:
        """Once, where it has failed in this run."""
        if self._compiler_failed != (found := failure()):
            self._compiler_failed = found
            self.tell(f"torch's compiler failed, the run goes on without it ({found})")

    def _gather_left_out(self, parts: list[tuple[range, Loaded]]) -> list[str]:
        """What was warned of in all processes."""
        warned = [text for _, loaded in parts for text in loaded.warned]
        if not self.processes.any(bool(warned)):
            return []
        return [text for texts in self.processes.gather(warned) for text in texts]

    def _validate(self, record: Record) -> dict[str, float]:
        model = self.learner.average.module
        model.eval()
        with self._telling_left_out(), torch.no_grad():
            figures = self.task.validate(model)
            pictures = self.task.pictures(model) if record.has_board else {}
        record.left_out(self.step, self.left_out)
        record.validation(self.step, self.seconds, figures, pictures)
        if figures["loss"] < self.best:
            self.best = figures["loss"]
            self._no_better = 0
            self._export("best")
        else:
            self._no_better += 1
        if self.config.schedule == "plateau" and self._no_better == self.config.plateau:
            self.drops, self._no_better = self.drops + 1, 0
        return figures

    @property
    def _compiles(self) -> bool:
        return self.config.compile and self.processes.device.type == "cpu"

    @property
    def _validates(self) -> bool:
        """Whether a validation follows the step that was done last."""
        return self.step % self.config.validate_every == 0 or self.step == self.config.steps

    def _rate_factor(self, step: int) -> float:
        return self.config.rate_factor(step) * 0.1**self.drops

    def _export(self, which: str) -> None:
        # No time: equal training makes equal files.
        metadata = {"step": str(self.step)}
        model = self.learner.average.module
        if self.processes.device.type != "cpu":
            model = deepcopy(model).cpu()

        def write(path: Path) -> None:
            try:
                self.task.export(model, str(path), metadata)
            except (RuntimeError, ValueError, ArithmeticError, WeightsError) as error:
                raise TrainingDiverged(
                    f"step {self.step}: no weights file can be made of what was learned "
                    f"({error}); begin a new run with lower learning rates or in float32"
                ) from error

        self.run.replace(self.run.weights_file(which), write)
