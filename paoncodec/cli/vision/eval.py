"""`paoncodec vision eval`: how good a network is on pictures that it has not seen."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from paoncodec.cli.files import STREAM, check_output, write_output
from paoncodec.cli.pictures import dataset_name, named_images
from paoncodec.cli.progress import progress
from paoncodec.cli.typed import typed_command
from paoncodec.errors import ImageError, UsageError

__all__ = ["eval"]

Upscaler = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.uint8]]


@click.command("eval")
@click.option(
    "--task", type=click.Choice(["superres", "segmentation"]), required=True, help="What it is for."
)
@click.option("--model", metavar="WEIGHTS", help="File that training has made.")
@click.option("--bicubic", type=click.Choice(["2", "4"]), help="Bicubic enlargement instead.")
@click.option(
    "--images",
    "folders",
    multiple=True,
    required=True,
    metavar="DIR",
    help="The large originals; repeatable. Of segmentation, one folder with a dataset.json.",
)
@click.option(
    "--low",
    metavar="DIR",
    help="The small pictures, under the same names.  [default: made by bicubic reduction]",
)
@click.option("--json", "output", metavar="FILE", help="Result file to write, - for stdout.")
@click.option("--name", help="Of the model.  [default: that of its file]")
@click.option("--dataset", help="What the pictures are.  [default: the folder's name]")
@click.option("--threads", type=click.IntRange(1), help="Threads of torch.")
@click.option("--lpips-weights", metavar="FILE", help="Torchvision's AlexNet: adds LPIPS.")
@click.option("--against", metavar="FILE", help="Segmentation: result file to compare with.")
@click.option("-f", "--force", is_flag=True, help="Replace an existing result file.")
def eval(
    task: str,
    model: str | None,
    bicubic: str | None,
    folders: tuple[str, ...],
    low: str | None,
    output: str | None,
    name: str | None,
    dataset: str | None,
    threads: int | None,
    lpips_weights: str | None,
    against: str | None,
    force: bool,
) -> None:
    """Measure enlarged pictures, or segmented volumes, against what they should be.

    PSNR of RGB, PSNR and SSIM of Y, each without a border as wide as the scale, all means over the
    pictures. Of segmentation, Dice of each class and its mean over cases, with 95% intervals, and
    with --against Wilcoxon's signed-rank test. Exit code 3: some could not be measured; they are
    named, and left out.
    """
    if output not in (None, STREAM):
        check_output(str(output), STREAM, force)
    if task == "segmentation":
        from paoncodec.cli.vision import segmentation

        segmentation.refuse(bicubic=bicubic, low=low, lpips_weights=lpips_weights)
        _set_threads(threads)
        segmentation.evaluate(model, folders, against, output, name, dataset, force)
        return
    if against is not None:
        raise UsageError("--against: only an option of --task segmentation")
    if (model is None) == (bicubic is None):
        raise UsageError("what is measured is --model or --bicubic: give one of them")
    if low is not None and not Path(low).is_dir():
        raise UsageError(f"{low}: not a folder of small pictures; leave --low out to make them")

    from paoncodec.evaluation.superres import Options, evaluate

    _set_threads(threads)
    scale, upscaler = _upscaler(model, bicubic)
    images = named_images(folders)
    with progress(len(images)) as bar:

        def hear(image: str, fault: str | None) -> None:
            bar.step(image)
            if fault:
                bar.say(f"{image}: {fault}")

        found = evaluate(
            images,
            upscaler,
            Options(scale, Path(low) if low else None, lpips_weights),
            name=name or ("bicubic" if model is None else Path(model).stem),
            dataset=dataset or dataset_name(folders),
            command=typed_command(),
            progress=hear,
        )
    text = json.dumps(found, indent=1, allow_nan=False) + "\n"
    if output not in (None, STREAM):
        write_output(str(output), text.encode(), force)
    click.echo(text if output == STREAM else _table(found), nl=output != STREAM)
    if found["failures"]:
        raise ImageError(
            f"{len(found['failures'])} of {len(images)} pictures could not be measured and are "
            "left out of the means: they are named above"
        )


def _set_threads(threads: int | None) -> None:
    import torch

    if threads is not None:
        torch.set_num_threads(threads)


def _upscaler(model: str | None, bicubic: str | None) -> tuple[int, Upscaler]:
    from paoncodec.vision.superres import load_weights, upscale
    from paoncodec.vision.superres.resize import enlarge

    if model is None:
        scale = int(bicubic or 0)
        return scale, partial(enlarge, scale=scale)
    network, _ = load_weights(model)
    return network.scale, partial(upscale, network)


def _table(found: dict[str, Any]) -> str:
    """The means for people."""
    forms = {
        "psnr-rgb": "PSNR-RGB {:.3f} dB",
        "psnr-y": "PSNR-Y {:.3f} dB",
        "ssim-y": "SSIM-Y {:.4f}",
        "lpips": "LPIPS {:.4f}",
        "seconds": "{:.1f} s",
    }
    means = found["results"]
    shown = [form.format(means[key]) for key, form in forms.items() if key in means]
    data = "{name}, means of {images} pictures".format(**found["dataset"])
    head = f"{found['name']} x{found['scale']} on {data}"
    return f"{head}: {', '.join(shown) or 'nothing was measured'}"
