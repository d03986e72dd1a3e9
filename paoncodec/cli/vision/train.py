"""`paoncodec vision train`: weights of a network for a task."""

from __future__ import annotations

import json
import shlex
from typing import Any

import click

from paoncodec.cli.training_run import carry_out, result
from paoncodec.cli.vision.foreign import refuse_foreign
from paoncodec.cli.vision.kinds import KINDS, Kind, settings_of
from paoncodec.errors import UsageError

__all__ = ["train"]

#: Settings of the recipe by themselves; what is neither these nor of the network is of the loop.
_OF_RECIPE = ("network", "epochs", "pure", "side")


def _degrees(text: str) -> list[int]:
    try:
        degrees = [int(part) for part in text.split("/")]
    except ValueError:
        degrees = []
    if len(degrees) != 2:
        raise UsageError(f"--degrees {text}: give K/L, such as 1/1")
    return degrees


def _options(texts: tuple[str, ...]) -> dict[str, Any]:
    """Options of a network by their names: values are JSON, or words."""
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise UsageError(f"--option {text}: give NAME=VALUE, such as outer_relu=true")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


@click.command()
@click.option("--task", type=click.Choice(list(KINDS)), required=True, help="What it is for.")
@click.option("--network", metavar="NAME", help="Kind of network, see below.")
@click.option("--scale", type=int, help="superres: how many times larger, 2 or 4.")
@click.option("--blocks", type=int, help="superres: residual blocks.")
@click.option(
    "--degrees",
    type=_degrees,
    metavar="K/L",
    help="superres, classification: of the neurons.",
)
@click.option(
    "--shift",
    help="superres, classification: inside blocks: none, static, predicted, element-1, ...",
)
@click.option(
    "--shared-upsampler",
    is_flag=True,
    default=None,
    help="superres: ×4 is the same ×2 up-sampler twice.",
)
@click.option(
    "--option",
    "options",
    multiple=True,
    callback=lambda _, __, texts: _options(texts),
    metavar="NAME=VALUE",
    help="Of the network, as `build` of the task takes it in Python: outer_relu=true, "
    "widths=[16,32,64]; repeatable.",
)
@click.option(
    "--data",
    multiple=True,
    metavar="DIR[=W]",
    help="superres: folder of pictures, searched through; repeatable. Its pictures are drawn W "
    "times an epoch. Or a .txt file with a line `DIR W` for each. classification: a folder or tar "
    "archive with a folder for each class, CIFAR-10's Python batches, or Galaxy10's HDF5 file. "
    "segmentation: a folder with a dataset.json.",
)
@click.option(
    "--validation",
    multiple=True,
    metavar="DIR",
    help="superres, classification: pictures that only validate.  [default: a share of --data]",
)
@click.option("--out", required=True, metavar="RUN", help="Directory of the run.")
@click.option("--resume", is_flag=True, help="Go on with the run in RUN, with its settings.")
@click.option(
    "--preset",
    help="Settings to begin with: paper or small; of classification also pure, pure-extended, "
    "resnet, pure-galaxy10, resnet-galaxy10 or pure-imagenet.  [default: small]",
)
@click.option(
    "--epochs",
    type=float,
    help="classification, segmentation: length of the run, instead of --steps.",
)
@click.option("--steps", type=int, help="Optimiser steps of the whole run.")
@click.option(
    "--batch-size", type=int, help="Pictures or slices a step, in all processes together."
)
@click.option("--accumulate", type=int, help="Parts a process makes of a step, to save memory.")
@click.option(
    "--crop",
    type=int,
    help="superres: side of the small patches; segmentation: of the slices' crops. Pixels.",
)
@click.option(
    "--side",
    type=int,
    help="classification: of crops of picture files, with pure-imagenet. Pixels.",
)
@click.option("--seed", type=int, help="Of weights, patches and their order.")
@click.option(
    "--precision",
    type=click.Choice(["float32", "bfloat16-gradients", "bfloat16", "float16"]),
    help="Of the products, of gradients alone or, by autocast, of all; weights are float32.",
)
@click.option(
    "--compile/--no-compile", default=None, help="Compile quotients of Padé layers, on a CPU."
)
@click.option(
    "--pure",
    type=click.Choice(["bfloat16", "float16"]),
    help="classification: format of the network itself, without autocast.",
)
@click.option("--workers", type=int, help="Processes that prepare pictures.")
@click.option("--threads", type=click.IntRange(1), help="Threads of torch.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def train(
    task: str,
    options: dict[str, Any],
    data: tuple[str, ...],
    validation: tuple[str, ...],
    out: str,
    resume: bool,
    preset: str | None,
    threads: int | None,
    as_json: bool,
    **words: Any,
) -> None:
    """Train a network on pictures or volumes; prints the path of its best weights.

    Settings that are not given are the preset's, or with --resume those of the run. Ctrl-C writes a
    checkpoint first. Exit code 1: the run diverged, or a file could not be written.

    Networks of superres: resnet, dcn-1x1, dcn-3x3, pau-net, self-onn, super-onn, padenet,
    padenet-id (the default).

    Networks of classification: resnet-3-3-3, pade-resnet-2-2-2, pade-resnet-ii-2-2-2 (the default),
    pade-resnet-ii-1-1-2; resnet20, 32, 44, 56, 110, 272 for small pictures, resnet18, 34, 50, 101,
    152 for large ones, and each as pure-resnet20, ...

    Networks of segmentation: resunet, pure-resunet (the default).

    `accelerate launch -m paoncodec vision train ...` trains in several processes.
    """
    refuse_foreign(task, {name: kind.own for name, kind in KINDS.items()})

    import torch

    from paoncodec.training import RunDirectory
    from paoncodec.training.loading import listening
    from paoncodec.training.processes import Processes

    if threads is not None:
        torch.set_num_threads(threads)
    kind = KINDS[task]
    given = _given(kind, options, {name: v for name, v in words.items() if v is not None})
    given.update(kind.places(data, validation))
    run = RunDirectory(out, resume=resume)
    saved = run.load_config() if resume else None
    if saved is not None and not kind.has(saved):
        raise UsageError(f"{out}: holds a run of another task than {task}")
    with listening() as left_out:
        made, about = kind.make(settings_of(kind, saved, preset, given))
    again = f"paoncodec vision train --task {task} --out {shlex.quote(out)} --resume"
    trainer = carry_out(made, run, "\n".join([*left_out, about]), resume, again)
    processes = Processes()
    processes.end()
    if processes.is_main:
        click.echo(result(trainer, as_json))


def _given(kind: Kind, options: dict[str, Any], words: dict[str, Any]) -> dict[str, Any]:
    """The words of the command line as settings.

    Raises:
        UsageError: two of them contradict each other.
    """
    if "steps" in words and "epochs" in words:
        raise UsageError("--steps and --epochs both say how long: give one of them")
    loop = {n: v for n, v in words.items() if n not in kind.options and n not in _OF_RECIPE}
    given = {name: words[name] for name in _OF_RECIPE if name in words}
    if "steps" in words and "epochs" in kind.own:
        given["epochs"] = None
    options = {**options, **{name: words[name] for name in kind.options if name in words}}
    return {**given, "options": options, "train": loop}
