"""A toy run, for processes that are launched: `two_processes.py RUN SETTINGS [FAULT]`.

SETTINGS are those of a TrainConfig, as JSON; FAULT is what goes wrong on the way.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Callable
from typing import Any

import click
import torch
from torch import Tensor
from torch.utils.data import Dataset

from paoncodec.errors import ImageError, PaonError, PictureLeftOut
from paoncodec.training import RunDirectory, Samples, TrainConfig, Trainer, engine
from tests.training.conftest import Points, ToyTask

RANK = int(os.environ.get("RANK", "0"))


class Faulty(Points):
    """Points of which number 9 cannot be read, and 5 and 6 are reported."""

    def __getitem__(self, number: int) -> Tensor:
        if number == 9:
            raise ImageError("none of the 1 pictures can be used")
        if number in (5, 6):
            warnings.warn(
                f"picture left out: {number % 3}.png: damaged", PictureLeftOut, stacklevel=1
            )
        return super().__getitem__(number)


class Task(ToyTask):
    fault = ""
    counts = frozenset({"seen"})
    may_change = frozenset({"train.accumulate"})

    def data(self) -> Dataset[Tensor]:
        return Faulty() if self.fault == "data" else super().data()

    def loss(
        self, model: Callable[..., Any], batch: Tensor, samples: Samples
    ) -> tuple[Tensor, dict[str, float]]:
        loss, figures = super().loss(model, batch, samples)
        if self.fault == "nan" and 12 in samples.numbers:  # in the last process of step 1
            loss = loss * torch.nan
        place, seen = float(samples.numbers.start), float(len(samples.numbers))
        return loss, {**figures, "place": place, "seen": seen}


def main() -> None:
    path, settings, *fault = sys.argv[1:]
    torch.set_num_threads(1)
    engine.LOG_EVERY = 1
    engine.provenance = dict  # slower than the training
    task = Task(TrainConfig(**json.loads(settings)), dropout=0)
    task.fault = fault[0] if fault else ""
    try:
        trainer = Trainer(
            task,
            RunDirectory(path, resume=task.fault == "resume"),
            lambda progress: click.echo(f"heard {progress.step}"),
            lambda text: click.echo(f"told {text}"),
        )
        if task.fault == "stop" and RANK == 1:
            trainer.request_stop()
        complete = trainer.fit()
        trainer.processes.end()
    except PaonError as error:
        click.echo(f"raised {RANK} {type(error).__name__} {error}")
        raise SystemExit(1) from None
    click.echo(f"done {RANK} {trainer.step} {complete}")


if __name__ == "__main__":
    main()
