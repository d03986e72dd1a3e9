"""Train one network by several recipes for the same time, and see what each has learned.

    python tools/compare_recipes.py --data DIR --minutes 5 --json docs/results/training/recipes.json
    python tools/compare_recipes.py --data DIR --minutes 5 --trial landed --trial "random start"
    python tools/compare_recipes.py --data DIR --minutes 5 --precision float32

Each trial is the `small` preset of MBT-Paon with a few settings of its own. Its steps are as many
as fit in the minutes, which are of processor time in one thread, decoding of pictures included:
what else the machine does meanwhile hardly matters. The schedule is stretched to them, so every
trial ends with its decay. Losses are those of the averaged weights on the same held-out crops.
With --json each trial is written as it ends, beside those that are in the file.
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
from pathlib import Path
from typing import Any

import torch
from _common import run
from _documents import markdown_table
from pytorch_optimizer import SOAP, Muon

from paoncodec.codecs.recipe import CodecRecipe
from paoncodec.codecs.task import CodecTask
from paoncodec.errors import UsageError
from paoncodec.training import RunDirectory, Trainer

PRESET = "small"
#: Steps that tell how long one takes, after as many that are not counted.
_PROBE = 8
_MOST_STEPS = 1_000_000
#: Settings of the loop; all others are the recipe's own.
_LOOP = ("batch_size", "crop", "shrink", "hold", "warmup", "ema", "precision", "clip", "seed")

#: What differs from the preset. Several parts share the time evenly, each from the last's weights.
TRIALS: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "landed": ({},),
    "landed, another seed": ({"seed": 1},),
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
    """What a trial came to: steps, processor seconds, figures of its last validation."""

    trial: str
    steps: int
    seconds: float
    loss: float
    bpp: float
    psnr: float


@dataclass(frozen=True)
class Setting:
    """What all trials share; ``precision`` None: the preset's."""

    lmbda: float
    data: str
    minutes: float
    seed: int
    precision: str | None

    def recipe(self, changes: Mapping[str, Any], steps: int) -> CodecRecipe:
        """The preset with a trial's settings, for so many steps and one validation at the end."""
        loop = {name: value for name, value in changes.items() if name in _LOOP}
        own = {name: value for name, value in changes.items() if name not in (*_LOOP, "optimizer")}
        shared = {"steps": steps, "seed": self.seed, "precision": self.precision}
        recipe = CodecRecipe.from_preset(PRESET, "mbt-paon", self.lmbda, [self.data], **shared)
        train = replace(recipe.train, **loop, workers=0, validate_every=steps)
        return replace(recipe, **own, train=replace(train, warmup=min(train.warmup, steps // 4)))

    def to_json(self) -> dict[str, Any]:
        """What must be equal for outcomes to be compared; names no folder."""
        precision = self.recipe({}, 1).train.precision
        about = {"preset": PRESET, "lmbda": self.lmbda, "minutes": self.minutes}
        return {**about, "seed": self.seed, "precision": precision}


def fitted(
    recipe: CodecRecipe, folder: Path, optimizer: str | None = None
) -> tuple[Mapping[str, float], float]:
    """The run's last validation, and the processor seconds of its training and validation."""
    task = TrialTask(recipe, optimizer) if optimizer else CodecTask(recipe)
    trainer = Trainer(task, RunDirectory(folder))
    begun = time.process_time()
    trainer.fit()
    seconds = time.process_time() - begun
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    found: Mapping[str, float] = next(
        line for line in map(json.loads, reversed(lines)) if "validation_loss" in line
    )
    return found, seconds


def seconds_a_step(recipe: CodecRecipe, folder: Path, optimizer: str | None = None) -> float:
    """Of a short run of the recipe: validation, which both of its parts have once, drops out."""
    lengths = (_PROBE, 3 * _PROBE)
    taken = [
        fitted(
            replace(recipe, train=replace(recipe.train, steps=n, warmup=0, validate_every=n)),
            folder / f"probe-{n}",
            optimizer,
        )[1]
        for n in lengths
    ]
    return (taken[1] - taken[0]) / (lengths[1] - lengths[0])


def run_trial(trial: str, setting: Setting, folder: Path) -> Outcome:
    """All parts of a trial, one after the other."""
    parts = TRIALS[trial]
    steps_in_all, seconds_in_all = 0, 0.0
    figures: Mapping[str, float] = {}
    for number, changes in enumerate(parts):
        probe = setting.recipe(changes, _PROBE)
        optimizer = changes.get("optimizer")
        each = seconds_a_step(probe, folder / f"part-{number}", optimizer)
        steps = max(1, min(_MOST_STEPS, round(60 * setting.minutes / len(parts) / each)))
        recipe = setting.recipe(changes, steps)
        if number:
            before = folder / f"part-{number - 1}" / "run" / "last.safetensors"
            recipe = replace(recipe, start="weights", start_from=str(before))
        figures, seconds = fitted(recipe, folder / f"part-{number}" / "run", optimizer)
        steps_in_all += steps
        seconds_in_all += seconds
    names = ("loss", "bpp", "psnr")
    found = {name: figures[f"validation_{name}"] for name in names}
    return Outcome(trial, steps_in_all, seconds_in_all, **found)


def outcomes_in(path: Path) -> tuple[list[Outcome], dict[str, Any]]:
    """Those that --json has written into a file, and their :meth:`Setting.to_json`."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return [Outcome(**trial) for trial in content.pop("trials")], content


def _kept(path: Path | None, setting: Setting, trials: Sequence[str]) -> list[Outcome]:
    """Those of a file, if there is one, that are not made again.

    Raises:
        UsageError: they are of another setting.
    """
    if path is None or not path.exists():
        return []
    outcomes, about = outcomes_in(path)
    if about != setting.to_json():
        raise UsageError(f"{path}: trials of {about}, not {setting.to_json()}; name another")
    return [outcome for outcome in outcomes if outcome.trial not in trials]


def table(outcomes: Sequence[Outcome]) -> str:
    """The best first."""
    head = ["recipe", "steps", "minutes", "loss", "bpp", "PSNR, dB"]
    rows = [
        [
            o.trial,
            str(o.steps),
            f"{o.seconds / 60:.1f}",
            f"{o.loss:.4f}",
            f"{o.bpp:.4f}",
            f"{o.psnr:.2f}",
        ]
        for o in sorted(outcomes, key=lambda outcome: outcome.loss)
    ]
    return markdown_table(head, rows)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="folder of training pictures")
    parser.add_argument("--lmbda", type=float, default=0.013)
    parser.add_argument("--minutes", type=float, default=5.0, help="of processor time, each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--precision", choices=("float32", "bfloat16"), help="in place of the preset's"
    )
    parser.add_argument("--trial", action="append", choices=list(TRIALS), help="only this one")
    parser.add_argument("--json", type=Path, help="file to write what was found into")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", FutureWarning)
    names = ("lmbda", "data", "minutes", "seed", "precision")
    setting = Setting(**{name: getattr(arguments, name) for name in names})
    trials = arguments.trial or list(TRIALS)
    outcomes = _kept(arguments.json, setting, trials)
    with tempfile.TemporaryDirectory() as scratch:
        for number, trial in enumerate(trials):
            print(trial, file=sys.stderr)
            outcomes.append(run_trial(trial, setting, Path(scratch) / str(number)))
            if arguments.json:
                found = {**setting.to_json(), "trials": [asdict(outcome) for outcome in outcomes]}
                arguments.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(table(outcomes))


if __name__ == "__main__":
    run(main)
