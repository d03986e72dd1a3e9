"""`paoncodec vision train`: weights of a network for a task."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import click

from paoncodec.cli.training_run import carry_out, data_settings, result
from paoncodec.errors import UsageError

if TYPE_CHECKING:
    from paoncodec.training import Trainer
    from paoncodec.vision.superres.recipe import SuperResRecipe, SuperResTask

__all__ = ["train"]

_PRESET = "small"
_NETWORK = "padenet-id"


def _degrees(text: str) -> list[int]:
    try:
        degrees = [int(part) for part in text.split("/")]
    except ValueError:
        degrees = []
    if len(degrees) != 2:
        raise UsageError(f"--degrees {text}: give K/L, such as 1/1")
    return degrees


@click.command()
@click.option(
    "--task", type=click.Choice(["superres", "segmentation"]), required=True, help="What it is for."
)
@click.option("--network", metavar="NAME", help=f"Kind of network.  [default: {_NETWORK}]")
@click.option("--scale", type=int, help="How many times larger pictures become: 2 or 4.")
@click.option("--blocks", type=int, help="Residual blocks.")
@click.option("--degrees", type=_degrees, metavar="K/L", help="Of the blocks' neurons.")
@click.option("--shift", help="Of the blocks' layers: none, static, predicted, element-1, ...")
@click.option("--shared-upsampler", is_flag=True, help="×4 is the same ×2 up-sampler twice.")
@click.option(
    "--data",
    multiple=True,
    metavar="DIR[=W]",
    help="Folder of pictures, searched through; repeatable. Its pictures are drawn W times an "
    "epoch. Or a .txt file with a line `DIR W` for each.",
)
@click.option(
    "--validation",
    multiple=True,
    metavar="DIR",
    help="Pictures that only validate.  [default: a share of --data]",
)
@click.option("--out", required=True, metavar="RUN", help="Directory of the run.")
@click.option("--resume", is_flag=True, help="Go on with the run in RUN, with its settings.")
@click.option("--preset", help=f"Settings to begin with: paper or small.  [default: {_PRESET}]")
@click.option("--steps", type=int, help="Optimiser steps of the whole run.")
@click.option("--batch-size", type=int, help="Patches a step, in all processes together.")
@click.option("--accumulate", type=int, help="Parts a process makes of a step, to save memory.")
@click.option("--crop", type=int, help="Side of the small patches in pixels.")
@click.option("--seed", type=int, help="Of weights, patches and their order.")
@click.option(
    "--precision", type=click.Choice(["float32", "bfloat16", "float16"]), help="Of the network."
)
@click.option("--workers", type=int, help="Processes that decode pictures.")
@click.option("--threads", type=click.IntRange(1), help="Threads of torch.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def train(
    task: str,
    network: str | None,
    scale: int | None,
    blocks: int | None,
    degrees: list[int] | None,
    shift: str | None,
    shared_upsampler: bool,
    data: tuple[str, ...],
    validation: tuple[str, ...],
    out: str,
    resume: bool,
    preset: str | None,
    threads: int | None,
    as_json: bool,
    **loop: Any,
) -> None:
    """Train a network on folders of pictures or volumes; prints the path of its best weights.

    Settings that are not given are the preset's, or with --resume those of the run. Ctrl-C writes a
    checkpoint first. Exit code 1: the run diverged, or a file could not be written.

    Networks: resnet, dcn-1x1, dcn-3x3, pau-net, self-onn, super-onn, padenet, padenet-id; of
    segmentation resunet, pure-resunet, and its --data is one folder with a dataset.json.

    `accelerate launch -m paoncodec vision train ...` trains in several processes.
    """
    import torch

    from paoncodec.training import RunDirectory
    from paoncodec.vision.superres.recipe import SuperResTask

    if threads is not None:
        torch.set_num_threads(threads)
    again = f"paoncodec vision train --task {task} --out {shlex.quote(out)} --resume"
    if task == "segmentation":
        from paoncodec.cli.vision import segmentation

        others = {"scale": scale, "blocks": blocks, "degrees": degrees, "shift": shift}
        segmentation.refuse(**others, shared_upsampler=shared_upsampler, validation=validation)
        loop = {name: value for name, value in loop.items() if value is not None}
        run = RunDirectory(out, resume=resume)
        saved = run.load_config() if resume else None
        chosen = segmentation.training_task(saved, preset, network, data, loop)
        _finish(carry_out(chosen, run, segmentation.about(chosen), resume, again), as_json)
        return
    options = {"scale": scale, "blocks": blocks, "degrees": degrees, "shift": shift}
    options = {name: value for name, value in options.items() if value is not None}
    if shared_upsampler:
        options["shared_upsampler"] = True
    given = {"network": network, **data_settings(data), "validation": _folders(validation)}
    given = {name: value for name, value in given.items() if value is not None}
    loop = {name: value for name, value in loop.items() if value is not None}
    run = RunDirectory(out, resume=resume)
    saved = run.load_config() if resume else None
    made = SuperResTask(_recipe(saved, preset, given, options, loop))
    _finish(carry_out(made, run, _about(made), resume, again), as_json)


def _finish(trainer: Trainer, as_json: bool) -> None:
    """Ends the processes, and prints what came of the run."""
    from paoncodec.training.processes import Processes

    processes = Processes()
    processes.end()
    if processes.is_main:
        click.echo(result(trainer, as_json))


def _folders(places: tuple[str, ...]) -> list[str] | None:
    from pathlib import Path

    return [str(Path(place).absolute()) for place in places] or None


def _recipe(
    saved: dict[str, Any] | None,
    preset: str | None,
    given: dict[str, Any],
    options: dict[str, Any],
    loop: dict[str, Any],
) -> SuperResRecipe:
    """The settings asked for: those of the saved run or of a preset, and over them those given.

    Raises:
        UsageError: a setting is missing, unknown or out of range.
    """
    from paoncodec.training.settings import read_preset
    from paoncodec.vision.superres import recipe

    if saved is None or preset is not None:
        base = read_preset(recipe.__package__ or "", preset or _PRESET)
        kept = ("network", "options", "data", "data_weights", "validation")
        base.update({name: saved[name] for name in kept if saved and name in saved})
    else:
        base = saved
    settings = {"network": _NETWORK, "options": {}, **base, **given}
    settings["options"] = {**settings["options"], **options}
    settings["train"] = {**settings.get("train", {}), **loop}
    if "data" not in settings:
        raise UsageError("no --data: beginning a run takes a folder of pictures")
    return recipe.SuperResRecipe.from_json(settings)


def _about(task: SuperResTask) -> str:
    """The network and its pictures in a line."""
    from paoncodec.vision.superres.networks import parameter_count

    network = f"{task.recipe.network} x{task.scale}"
    count = parameter_count(task.model) / 1e3
    pictures = f"{len(task.training)} to train on, {len(task.validation)} to validate on"
    return f"{network}, {count:.0f} K parameters; pictures: {pictures}"
