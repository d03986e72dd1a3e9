"""Train one network by several recipes for the same time, and see what each has learned.

    python tools/compare_recipes.py --data DIR --minutes 5 --json docs/results/training/recipes.json
    python tools/compare_recipes.py --data DIR --minutes 5 --trial landed --trial "random start"
    python tools/compare_recipes.py --data DIR --minutes 5 --precision float32

Each trial is the `small` preset of MBT-Paon with a few settings of its own. First a step of each is
timed, in processor seconds of one thread, decoding of pictures included; all trials take turns, so
whatever else the machine does slows all alike. Then each trains for as many steps as fit in the
minutes, once for each seed. The schedule is stretched to them, so every run ends with its decay.
Losses are those of the averaged weights on the same held-out crops. With --json each run is written
as it ends, beside those that are in the file, whose times of steps stay.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import count, product, tee
from pathlib import Path
from statistics import fmean, median
from typing import Any

import torch
from _common import run
from _documents import markdown_table
from pytorch_optimizer import SOAP, Muon

from paoncodec.codecs.recipe import CodecRecipe
from paoncodec.codecs.task import CodecTask
from paoncodec.errors import UsageError
from paoncodec.training import RunDirectory, Trainer
from paoncodec.training.learner import Learner
from paoncodec.training.loading import load
from paoncodec.training.precision import PRECISIONS
from paoncodec.training.processes import Processes

PRESET = "small"
#: Turns in which steps are timed, after two that are not counted.
_TURNS = 9
_MOST_STEPS = 1_000_000
#: Settings of the loop; all others are the recipe's own.
_LOOP = ("batch_size", "crop", "shrink", "hold", "warmup", "ema", "precision", "clip")

#: Settings that leave the work of a step as it is, or very nearly: their times are one.
_FREE = ("lr_transforms", "lr_entropy", "hold", "start", "ema", "weight_decay")

#: What differs from the preset. Several parts share the time evenly, each from the last's weights.
TRIALS: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "landed": ({},),
    "random start": ({"start": "random"},),
    "learning rates 1e-4, as in the paper": ({"lr_transforms": 1e-4, "lr_entropy": 1e-4},),
    "learning rates 4e-4 for all": ({"lr_entropy": 4e-4},),
    "learning rates doubled": ({"lr_transforms": 8e-4, "lr_entropy": 3e-3},),
    "decay from the first step": ({"hold": 0.0},),
    "no average of the weights": ({"ema": 0.0},),
    "float32": ({"precision": "float32"},),
    "bfloat16": ({"precision": "bfloat16"},),
    "crops of 64, 32 a step": ({"crop": 64, "batch_size": 32},),
    "crops of 128, 8 a step": ({"crop": 128, "batch_size": 8},),
    "1 crop a step": ({"batch_size": 1},),
    "4 crops a step": ({"batch_size": 4},),
    "crops stretched and transposed": ({"stretch": True, "transpose": True},),
    "weight decay": ({"weight_decay": 0.05},),
    "pictures not reduced": ({"shrink": None},),
    "crops of 128 first, then of 256": (
        {"crop": 128, "batch_size": 8, "hold": 1.0},
        {"hold": 0.0},
    ),
    "SOAP in place of Adam": ({"optimizer": "soap"},),
    "Muon for kernels, Adam for the rest": ({"optimizer": "muon"},),
}

Groups = Sequence[dict[str, Any]]


def _soap(groups: Groups) -> torch.optim.Optimizer:
    """Adam in the eigenbasis of Shampoo's preconditioner, renewed every 10 steps."""
    return SOAP(groups, betas=(0.95, 0.95), weight_decay=0.0, max_precondition_dim=1024)


def _muon(groups: Groups) -> torch.optim.Optimizer:
    """Steps of kernels are made orthogonal and as large as Adam's are; the rest has Adam."""
    parts = []
    for group in groups:
        for kernels in (True, False):
            chosen = [p for p in group["params"] if (p.ndim > 1) == kernels]
            own = {"params": chosen, "use_muon": kernels, "use_adjusted_lr": True}
            parts.append({**own, "lr": group["lr"], "initial_lr": group["lr"]})
    return Muon([part for part in parts if part["params"]])


#: What may stand in place of Adam, given groups of parameters with their learning rates.
OPTIMIZERS: Mapping[str, Callable[[Groups], torch.optim.Optimizer]] = {
    "soap": _soap,
    "muon": _muon,
}


class TrialTask(CodecTask):
    """A codec's training with another optimiser than Adam."""

    def __init__(self, recipe: CodecRecipe, optimizer: str) -> None:
        super().__init__(recipe)
        self.optimizer = optimizer

    def optimizers(self) -> list[torch.optim.Optimizer]:
        main, quantiles = super().optimizers()
        kept = ("params", "lr", "initial_lr")
        groups = [{name: group[name] for name in kept} for group in main.param_groups]
        return [OPTIMIZERS[self.optimizer](groups), quantiles]


@dataclass(frozen=True)
class Outcome:
    """What a run of a trial came to: its steps, and figures of its last validation."""

    trial: str
    seed: int
    steps: int
    loss: float
    bpp: float
    psnr: float


@dataclass(frozen=True)
class Setting:
    """What all trials share; ``precision`` None: the preset's."""

    lmbda: float
    data: str
    minutes: float
    precision: str | None

    def recipe(self, changes: Mapping[str, Any], steps: int, seed: int = 0) -> CodecRecipe:
        """The preset with a trial's settings, for so many steps and one validation at the end."""
        loop = {name: value for name, value in changes.items() if name in _LOOP}
        own = {name: value for name, value in changes.items() if name not in (*_LOOP, "optimizer")}
        shared = {"steps": steps, "seed": seed, "precision": self.precision}
        recipe = CodecRecipe.from_preset(PRESET, "mbt-paon", self.lmbda, [self.data], **shared)
        train = replace(recipe.train, **loop, workers=0, validate_every=steps)
        return replace(recipe, **own, train=replace(train, warmup=min(train.warmup, steps // 4)))

    def to_json(self) -> dict[str, Any]:
        """What must be equal for outcomes to be compared; names no folder."""
        precision = self.recipe({}, 1).train.precision
        about = {"preset": PRESET, "lmbda": self.lmbda, "minutes": self.minutes}
        return {**about, "precision": precision}


def task_of(changes: Mapping[str, Any], recipe: CodecRecipe) -> CodecTask:
    """The task of a part of a trial, with its optimiser."""
    optimizer = changes.get("optimizer")
    return TrialTask(recipe, optimizer) if optimizer else CodecTask(recipe)


class Stepper:
    """Steps of a task's training, one at a time.

    Args:
        task: at its start.
    """

    def __init__(self, task: CodecTask) -> None:
        task.start()
        size = task.config.batch_size
        self._learner = Learner(task, Processes())
        self._numbers, numbers = tee(range(n, n + size) for n in count(0, size))
        self._batches = load(task.data(), numbers, workers=0)

    def step(self) -> float:
        """Takes the next one, and returns its processor seconds."""
        begun = time.process_time()
        batch = next(self._batches)
        self._learner.step([(next(self._numbers), batch)], 1.0)
        return time.process_time() - begun


def work_of(changes: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """What makes a step of a part of a trial take longer or shorter than others."""
    return tuple(sorted((k, v) for k, v in changes.items() if k not in _FREE))


def step_seconds(
    trials: Sequence[str], setting: Setting, known: Mapping[str, Sequence[float]]
) -> dict[str, list[float]]:
    """The median of a step, for each part of each trial; all that differ in work take turns.

    Args:
        trials: whose steps are to be timed.
        setting: of all of them.
        known: times of other trials, which hold for the same work.
    """
    times = {
        work_of(changes): each
        for trial, seconds in known.items()
        for changes, each in zip(TRIALS[trial], seconds, strict=True)
    }
    parts = [changes for trial in trials for changes in TRIALS[trial]]
    kinds = {work_of(changes): changes for changes in parts if work_of(changes) not in times}
    steppers = [Stepper(task_of(part, setting.recipe(part, 1))) for part in kinds.values()]
    rounds = [[stepper.step() for stepper in steppers] for _ in range(2 + _TURNS)]
    times.update(zip(kinds, map(median, zip(*rounds[2:], strict=True)), strict=True))
    return {trial: [times[work_of(changes)] for changes in TRIALS[trial]] for trial in trials}


def validation_of(folder: Path) -> Mapping[str, float]:
    """The last one of a run."""
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    found: Mapping[str, float] = next(
        line for line in map(json.loads, reversed(lines)) if "validation_loss" in line
    )
    return found


def run_trial(
    trial: str, seed: int, seconds: Sequence[float], setting: Setting, folder: Path
) -> Outcome:
    """All parts of a trial, one after the other, whose steps take so long."""
    parts = TRIALS[trial]
    steps_in_all = 0
    for number, (changes, each) in enumerate(zip(parts, seconds, strict=True)):
        steps = max(1, min(_MOST_STEPS, round(60 * setting.minutes / len(parts) / each)))
        recipe = setting.recipe(changes, steps, seed)
        if number:
            before = folder / f"part-{number - 1}" / "last.safetensors"
            recipe = replace(recipe, start="weights", start_from=str(before))
        Trainer(task_of(changes, recipe), RunDirectory(folder / f"part-{number}")).fit()
        steps_in_all += steps
    figures = validation_of(folder / f"part-{len(parts) - 1}")
    found = {name: figures[f"validation_{name}"] for name in ("loss", "bpp", "psnr")}
    return Outcome(trial, seed, steps_in_all, **found)


@dataclass(frozen=True)
class Found:
    """What is in a file of --json.

    Attributes:
        setting: :meth:`Setting.to_json`.
        seconds: of a step, for each part of each trial.
        outcomes: of all runs.
    """

    setting: dict[str, Any]
    seconds: dict[str, list[float]]
    outcomes: list[Outcome]

    @classmethod
    def read(cls, path: Path) -> Found:
        content = json.loads(path.read_text(encoding="utf-8"))
        outcomes = [Outcome(**run) for run in content["runs"]]
        return cls(content["setting"], content["step_seconds"], outcomes)

    def write(self, path: Path) -> None:
        runs = [asdict(outcome) for outcome in self.outcomes]
        content = {"setting": self.setting, "step_seconds": self.seconds, "runs": runs}
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    def keep_but(self, trial: str, seed: int) -> None:
        """Forgets a run that is made again."""
        self.outcomes[:] = [o for o in self.outcomes if (o.trial, o.seed) != (trial, seed)]


def begun(path: Path | None, setting: Setting, trials: Sequence[str]) -> Found:
    """What a file has, if there is one, and times of steps of all trials.

    Raises:
        UsageError: it is of another setting.
    """
    found = Found(setting.to_json(), {}, [])
    if path is not None and path.exists():
        found = Found.read(path)
        if found.setting != setting.to_json():
            raise UsageError(f"{path}: runs of {found.setting}, not {setting.to_json()}")
    if new := [trial for trial in trials if trial not in found.seconds]:
        found.seconds.update(step_seconds(new, setting, found.seconds))
    return found


def table(found: Found) -> str:
    """The best first: figures are means over the runs, and how far apart their losses are."""
    head = ["recipe", "s a step", "steps", "loss", "apart", "bpp", "PSNR, dB"]
    rows = []
    for trial in {outcome.trial: None for outcome in found.outcomes}:
        runs = [outcome for outcome in found.outcomes if outcome.trial == trial]
        losses = [run.loss for run in runs]
        apart = f"{max(losses) - min(losses):.3f}" if len(runs) > 1 else ""
        seconds = ", ".join(f"{each:.2f}" for each in found.seconds[trial])
        means = [fmean(getattr(run, name) for run in runs) for name in ("loss", "bpp", "psnr")]
        loss, bpp, psnr = means
        steps = ", ".join(str(run.steps) for run in runs)
        cells = [trial, seconds, steps, f"{loss:.3f}", apart]
        rows.append((loss, [*cells, f"{bpp:.3f}", f"{psnr:.2f}"]))
    return markdown_table(head, [cells for _, cells in sorted(rows)])


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="folder of training pictures")
    parser.add_argument("--lmbda", type=float, default=0.013)
    parser.add_argument("--minutes", type=float, default=5.0, help="of processor time, each")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--precision", choices=PRECISIONS, help="in place of the preset's")
    parser.add_argument("--trial", action="append", choices=list(TRIALS), help="only this one")
    parser.add_argument("--json", type=Path, help="file to write what was found into")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", FutureWarning)
    names = ("lmbda", "data", "minutes", "precision")
    setting = Setting(**{name: getattr(arguments, name) for name in names})
    trials = arguments.trial or list(TRIALS)
    found = begun(arguments.json, setting, trials)
    with tempfile.TemporaryDirectory() as scratch:
        for number, (seed, trial) in enumerate(product(arguments.seeds, trials)):
            print(f"{trial}, seed {seed}", file=sys.stderr)
            folder = Path(scratch) / str(number)
            outcome = run_trial(trial, seed, found.seconds[trial], setting, folder)
            found.keep_but(trial, seed)
            found.outcomes.append(outcome)
            if arguments.json:
                found.write(arguments.json)
    print(table(found))


if __name__ == "__main__":
    run(main)
