"""`paoncodec train`: weights are made from folders of pictures."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from paoncodec.cli import dry_run as trial
from paoncodec.cli.training_run import best_weights, carry_out, data_settings, result
from paoncodec.cli.training_talk import say
from paoncodec.errors import UsageError
from paoncodec.quality import LMBDA_GRID

if TYPE_CHECKING:
    from paoncodec.codecs.grid import Grid
    from paoncodec.codecs.recipe import CodecRecipe
    from paoncodec.codecs.task import CodecTask
    from paoncodec.training import RunDirectory, Trainer

__all__ = ["train"]

_PRESET = "small"
_ARCH = "mbt-paon"


def _lmbda(text: str) -> float | tuple[float, ...] | str:
    """A λ, or several, or a word that the recipe knows or refuses."""
    if text == "grid":
        return LMBDA_GRID
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        return text
    return numbers if len(numbers) > 1 else numbers[0]


@click.command()
@click.option("--arch", help=f"Architecture.  [default: {_ARCH}]")
@click.option(
    "--lmbda",
    type=_lmbda,
    metavar="L",
    help="λ in λ·255²·MSE + bpp: larger is better and bigger. `variable`: one network for all "
    "qualities. Several, parted by commas, or `grid` for the paper's six: a run for each.",
)
@click.option("--from-scratch", is_flag=True, help="No λ of a grid starts from another's weights.")
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
@click.option(
    "--preset",
    help=f"Settings to begin with: paper, small or small-variable.  [default: {_PRESET}]",
)
@click.option(
    "--start-from",
    "--model",
    "start_from",
    metavar="WEIGHTS",
    help="Weights to begin with: a file, a name of the zoo, or a checkpoint of CompressAI, which "
    "brings its sizes with it.",
)
@click.option("--steps", type=int, help="Optimiser steps of the whole run.")
@click.option("--batch-size", type=int, help="Crops a step, in all processes together.")
@click.option("--accumulate", type=int, help="Parts a process makes of a step, to save memory.")
@click.option("--crop", type=int, help="Side of the crops, a multiple of 64 pixels.")
@click.option("--seed", type=int, help="Of weights, noise, crops and their order.")
@click.option(
    "--precision",
    type=click.Choice(["float32", "bfloat16-gradients", "bfloat16", "float16"]),
    help="Of the networks; that of the latents' distributions is float32.",
)
@click.option(
    "--compile/--no-compile", default=None, help="Compile quotients of Padé layers, on a CPU."
)
@click.option("--workers", type=int, help="Processes that decode pictures.")
@click.option("--threads", type=click.IntRange(1), help="Threads of torch.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def train(
    arch: str | None,
    lmbda: float | tuple[float, ...] | str | None,
    from_scratch: bool,
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

    from paoncodec.codecs.grid import Grid
    from paoncodec.training import RunDirectory
    from paoncodec.training.processes import Processes

    if threads is not None:
        torch.set_num_threads(threads)
    place = Path(out)
    given = {"arch_name": arch, **data_settings(data), **_start(start_from, arch)}
    given = {name: value for name, value in given.items() if value is not None}
    loop = {name: value for name, value in loop.items() if value is not None}
    there = Grid.begun(place, resume)
    begun = there if resume else None
    if begun is not None or isinstance(lmbda, tuple):
        grid = _grid(begun, lmbda, from_scratch, preset, given, loop)
        grid.check(place, resume)
        recipe, runs = grid.recipe, _runs(grid, place, resume)
    else:
        if there is not None:
            raise UsageError(f"{out} holds a grid: continue it with --resume, or name another")
        if from_scratch:
            raise UsageError("--from-scratch: for a grid, whose λs start from each other's weights")
        if lmbda is not None:
            given["lmbda"] = lmbda
        grid = None
        run = RunDirectory(out, resume=resume)
        recipe = _recipe(run.load_config() if resume else None, preset, given, loop)
        runs = iter([(recipe, run, resume)])
    if dry_run:
        left = [(recipe, run, resume)] if grid is None else list(grid.runs(place))
        found = trial.dry_run(recipe, place, say, left)
        click.echo(json.dumps(found) if as_json else trial.describe(found))
        return
    processes = Processes()
    if grid is None and not resume and processes.is_main:
        Grid.forget(place)
    smallest = recipe.lmbda if grid is None else min(grid.lmbdas)
    trainers = [_carry_out(r, run, going_on, out, r.lmbda == smallest) for r, run, going_on in runs]
    processes.end()
    if not processes.is_main:
        return
    if grid is not None:
        click.echo(_listing(grid, place, as_json))
        return
    click.echo(result(trainers[-1], as_json))


def _carry_out(
    recipe: CodecRecipe, run: RunDirectory, resume: bool, out: str, last: bool
) -> Trainer:
    """Trains to the end, or leaves with SystemExit where a signal came."""
    from paoncodec.codecs.task import CodecTask

    task = CodecTask(recipe)
    again = f"paoncodec train --out {shlex.quote(out)} --resume"
    return carry_out(task, run, _about(task), resume, again, last)


def _grid(
    begun: Grid | None,
    lmbda: float | tuple[float, ...] | str | None,
    from_scratch: bool,
    preset: str | None,
    given: dict[str, Any],
    loop: dict[str, Any],
) -> Grid:
    """The grid asked for: that which was begun, and over it what is given."""
    from paoncodec.codecs.grid import Grid

    if begun is None:
        lmbdas = lmbda if isinstance(lmbda, tuple) else ()
        first = {"lmbda": max(lmbdas)}
        return Grid(_recipe(None, preset, {**given, **first}, loop), lmbdas, from_scratch)
    if lmbda is not None and not isinstance(lmbda, tuple):
        raise UsageError(
            f"lmbda {lmbda}: a grid was begun here; leave --lmbda out to go on with it"
        )
    recipe = _recipe(begun.describe()["recipe"], preset, given, loop)
    return Grid(recipe, lmbda or begun.lmbdas, from_scratch or begun.from_scratch)


def _runs(grid: Grid, out: Path, resume: bool) -> Iterator[tuple[CodecRecipe, RunDirectory, bool]]:
    """What is left to do of a grid, told as it comes."""
    from paoncodec.training.processes import Processes

    processes = Processes()
    with processes.together():
        if processes.is_main:
            grid.save(out, resume)
    for recipe, run, going_on in grid.runs(out):
        if processes.is_main:
            start = f", from {Path(recipe.start_from).parent.name}" if recipe.start_from else ""
            say(f"λ = {recipe.lmbda:g}{start}: {run.path}")
        yield recipe, run, going_on


def _listing(grid: Grid, out: Path, as_json: bool) -> str:
    """The weights of a grid, a λ a line.

    Raises:
        TrainingDiverged: as :func:`.best_weights`.
    """
    from paoncodec.training import RunDirectory

    runs = {lmbda: RunDirectory(path.parent, True) for lmbda, path in grid.weights(out).items()}
    weights = {f"{lmbda:g}": str(best_weights(run)) for lmbda, run in runs.items()}
    if as_json:
        return json.dumps({"run": str(out), "weights": weights})
    return "\n".join(weights.values())


def _start(weights: str | None, arch: str | None) -> dict[str, Any]:
    """The settings of a start from weights; none where it was not asked for.

    A checkpoint's architecture and options are settings too: no preset has them.

    Raises:
        WeightsError: there are no such weights, or they cannot be loaded.
        UsageError: a checkpoint of another architecture than ``arch``.
    """
    from paoncodec import zoo
    from paoncodec.codecs.registry import load_start, sha256_of
    from paoncodec.coding import is_checkpoint

    if weights is None:
        return {}
    if not is_checkpoint(weights):
        found = zoo.resolve(weights)
        return _start_settings(found.path, found.sha256)
    model, about = load_start(weights)
    if arch not in (None, about["arch"]):
        raise UsageError(f"{weights}: weights to start {about['arch']} from, not {arch}")
    options = {"arch_name": about["arch"], "arch": model.config.to_json()}
    return {**_start_settings(Path(weights), sha256_of(weights)), **options}


def _start_settings(path: Path, sha256: str) -> dict[str, Any]:
    return {"start": "weights", "start_from": str(path.absolute()), "start_sha256": sha256}


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


def _about(task: CodecTask) -> str:
    """The model and its pictures in a line."""
    count = sum(p.numel() for p in task.model.parameters())
    pictures = f"{len(task.training)} to train on, {len(task.validation)} to validate on"
    return f"{task.recipe.arch_name}, {count / 1e6:.2f} M parameters; pictures: {pictures}"
