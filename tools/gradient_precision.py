"""What number formats make of the gradient of a trained codec.

    python tools/gradient_precision.py --data DIR
    python tools/gradient_precision.py --data DIR --model mbt-paon-small-variable-v3 --batches 32

Batches of the `small-variable` recipe, each with the same crops, qualities and noise in every
precision. The gradient is that of all parameters of g_a and g_s. "Error" is how far it is from that
of float32, "of the mean" the same of the mean over all batches, which is what is left after many
steps; both are root mean squares over that of float32.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from _common import run
from _documents import markdown_table
from torch import Tensor
from torch.utils.data import default_collate

from paoncodec import zoo
from paoncodec.api import DEFAULT_MODEL
from paoncodec.codecs.recipe import CodecRecipe
from paoncodec.codecs.task import CodecTask
from paoncodec.quality import VARIABLE
from paoncodec.training import Samples
from paoncodec.training.precision import in_precision

PRESET = "small-variable"
EXACT = "float32"
#: Those of a CPU.
COMPARED = ("bfloat16-gradients", "bfloat16")


@dataclass(frozen=True)
class Batches:
    """What batches came to in a precision: (batches, parameters) gradients, and the mean loss."""

    gradients: Tensor
    loss: float

    def errors(self, exact: Batches) -> tuple[float, float]:
        """Of a batch, and of the mean over them; relative."""
        differences = self.gradients - exact.gradients
        of_one = differences.norm() / exact.gradients.norm()
        of_mean = differences.mean(0).norm() / exact.gradients.mean(0).norm()
        return float(of_one), float(of_mean)


def gradients(task: CodecTask, precision: str, batches: int) -> Batches:
    """Of the recipe's first batches, at the task's present weights."""
    transforms = [*task.model.g_a.parameters(), *task.model.g_s.parameters()]
    size, data = task.config.batch_size, task.data()

    def forward(*given: Any) -> Any:
        with in_precision(precision, "cpu"):
            return task.model(*given)

    rows, losses = [], []
    for step in range(batches):
        numbers = range(step * size, (step + 1) * size)
        batch = default_collate([data[number] for number in numbers])
        loss, figures = task.loss(forward, batch, Samples(numbers, size, task.config.seed))
        rows.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, transforms)]))
        losses.append(figures["loss"])
    return Batches(torch.stack(rows), sum(losses) / len(losses))


def table(task: CodecTask, batches: int) -> str:
    """A line for each precision."""
    task.model.train()
    exact = gradients(task, EXACT, batches)
    rows = [[EXACT, f"{exact.loss:.4f}", "", ""]]
    for precision in COMPARED:
        found = gradients(task, precision, batches)
        of_one, of_mean = found.errors(exact)
        rows.append([precision, f"{found.loss:.4f}", f"{of_one:.4f}", f"{of_mean:.4f}"])
    return markdown_table(["precision", "loss", "error", "of the mean"], rows)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="folder of training pictures")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="weights of the preset's sizes")
    parser.add_argument("--batches", type=int, default=16)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args(argv)
    torch.set_num_threads(arguments.threads)
    start: dict[str, Any] = {
        "start": "weights",
        "start_from": str(zoo.resolve(arguments.model).path),
    }
    recipe = CodecRecipe.from_preset(PRESET, "mbt-paon", VARIABLE, [arguments.data])
    task = CodecTask(replace(recipe, **start))
    task.start()
    print(table(task, arguments.batches))


if __name__ == "__main__":
    run(main)
