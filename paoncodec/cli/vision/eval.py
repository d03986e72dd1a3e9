"""`paoncodec vision eval`: how good a network is on what it has not seen."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
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
from paoncodec.cli.vision.foreign import refuse_foreign
from paoncodec.cli.vision.tables import TABLES
from paoncodec.errors import ImageError, UsageError
from paoncodec.vision_zoo import resolve_vision

__all__ = ["eval"]

_OWN = {
    "superres": ("bicubic", "low", "lpips_weights"),
    "classification": ("photons",),
    "segmentation": ("against", "surfaces", "tolerance", "pictures"),
}

Upscaler = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.uint8]]


@click.command("eval")
@click.option("--task", type=click.Choice(list(_OWN)), required=True, help="What it is for.")
@click.option("--model", metavar="MODEL", help="Name in the zoo, or file that training has made.")
@click.option(
    "--bicubic", type=click.Choice(["2", "4"]), help="superres: bicubic enlargement instead."
)
@click.option(
    "--images",
    "folders",
    multiple=True,
    required=True,
    metavar="DIR",
    help="superres: the large originals; repeatable. classification: as --data of training; its "
    "test part, if it has parts. segmentation: as --data of training; its validation cases.",
)
@click.option(
    "--low",
    metavar="DIR",
    help="superres: the small pictures, under the same names.  [default: made by bicubic "
    "reduction]",
)
@click.option("--json", "output", metavar="FILE", help="Result file to write, - for stdout.")
@click.option("--name", help="Of the model.  [default: that of its file]")
@click.option("--dataset", help="What the pictures are.  [default: the folder's name]")
@click.option("--threads", type=click.IntRange(1), help="Threads of torch.")
@click.option(
    "--lpips-weights", metavar="FILE", help="superres: torchvision's AlexNet: adds LPIPS."
)
@click.option(
    "--against", metavar="RESULT", help="segmentation: result file of another network to compare."
)
@click.option(
    "--photons",
    type=float,
    metavar="N",
    help="classification: of pictures with Poisson noise, white being N photons.",
)
@click.option(
    "--surfaces", is_flag=True, help="segmentation: HD95 and surface Dice, too; takes MONAI."
)
@click.option(
    "--tolerance",
    type=float,
    metavar="MM",
    help="segmentation: of surface Dice; with --surfaces.  [default: 2]",
)
@click.option(
    "--pictures",
    metavar="DIR",
    help="segmentation: folder, made where it is not there, to draw each case in three planes in, "
    "and the box plots of the organs, with --against beside those of RESULT.",
)
@click.option("-f", "--force", is_flag=True, help="Replace existing result files and pictures.")
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
    photons: float | None,
    surfaces: bool,
    tolerance: float | None,
    pictures: str | None,
    force: bool,
) -> None:
    """Measure enlarged pictures against their originals, or labels of pictures and voxels against
    the true ones.

    superres: PSNR of RGB, PSNR and SSIM of Y, each without a border as wide as the scale, all means
    over the pictures. classification: the share of right labels, and the mean cross entropy.
    segmentation: Dice of each class and its mean over the cases, with 95% intervals; with --against
    also the differences, tested by Wilcoxon's signed ranks. A class that a case does not have is
    left out of it; HD95 of a class that was not found is the diagonal of the volume.

    Exit code 3: some pictures or cases could not be measured; they are named, and left out.
    """
    refuse_foreign(task, _OWN)
    if output not in (None, STREAM):
        check_output(str(output), STREAM, force)

    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    called = name or ("bicubic" if model is None else Path(model).name.removesuffix(".safetensors"))
    if task == "superres":
        found = _superres(model, bicubic, folders, low, lpips_weights, called, dataset)
    elif task == "classification":
        found = _classification(model, folders, photons, called, dataset)
    else:
        found = _segmentation(
            model, folders, against, surfaces, tolerance, pictures, called, dataset, force
        )
    text = json.dumps(found, indent=1, allow_nan=False) + "\n"
    if output not in (None, STREAM):
        write_output(str(output), text.encode(), force)
    click.echo(text if output == STREAM else TABLES[task](found), nl=output != STREAM)
    count = len(found["failures"])
    if count:
        rows, what = ("cases", "cases") if "cases" in found else ("images", "pictures")
        raise ImageError(
            f"{count} of {count + len(found[rows])} {what} could not be measured and are "
            "left out of the means: they are named above"
        )


def _superres(
    model: str | None,
    bicubic: str | None,
    folders: tuple[str, ...],
    low: str | None,
    lpips_weights: str | None,
    name: str,
    dataset: str | None,
) -> dict[str, Any]:
    if (model is None) == (bicubic is None):
        raise UsageError("what is measured is --model or --bicubic: give one of them")
    if low is not None and not Path(low).is_dir():
        raise UsageError(f"{low}: not a folder of small pictures; leave --low out to make them")

    from paoncodec.evaluation.superres import Options, evaluate

    scale, upscaler = _upscaler(model, bicubic)
    images = named_images(folders)
    with progress(len(images)) as bar:

        def hear(image: str, fault: str | None) -> None:
            bar.step(image)
            if fault:
                bar.say(f"{image}: {fault}")

        return evaluate(
            images,
            upscaler,
            Options(scale, Path(low) if low else None, lpips_weights),
            name=name,
            dataset=dataset or dataset_name(folders),
            command=typed_command(),
            progress=hear,
        )


def _classification(
    model: str | None,
    folders: tuple[str, ...],
    photons: float | None,
    name: str,
    dataset: str | None,
) -> dict[str, Any]:
    place = _place(folders)

    from paoncodec.evaluation.classification import evaluate
    from paoncodec.vision.classification import load_weights
    from paoncodec.vision.classification.files import read_test

    network, _ = load_weights(_weights(model, "classification"))
    images = read_test(place, network)
    with progress(len(images)) as bar:
        found = evaluate(
            images,
            network,
            name=name,
            dataset=dataset or dataset_name(folders),
            command=typed_command(),
            progress=bar.step,
            photons=photons,
        )
        for failure in found["failures"]:
            bar.say(failure["error"])
        return found


def _segmentation(
    model: str | None,
    folders: tuple[str, ...],
    against: str | None,
    surfaces: bool,
    tolerance: float | None,
    pictures: str | None,
    name: str,
    dataset: str | None,
    force: bool,
) -> dict[str, Any]:
    if tolerance is not None and not surfaces:
        raise UsageError("--tolerance is of surface Dice: give --surfaces, too")
    place = _place(folders)

    from paoncodec.evaluation import segmentation as measuring
    from paoncodec.vision.segmentation import load_weights
    from paoncodec.vision.segmentation.data import validation_cases

    segmenter, _ = load_weights(_weights(model, "segmentation"))
    first = None if against is None else measuring.read_result(against)
    cases = validation_cases(place, segmenter.classes)
    if first is not None:  # before hours of measuring
        measuring.shared_cases(first, segmenter.classes[1:], [case.name for case in cases])
    album = None
    if pictures is not None:
        from paoncodec.cli.vision.album import Album

        album = Album(Path(pictures), segmenter.classes, segmenter.window, force)
        album.check([case.name for case in cases])
    options = measuring.Options(surfaces=surfaces)
    if tolerance is not None:
        options = replace(options, tolerance=tolerance)
    with progress(len(cases)) as bar:

        def hear(case: str, fault: str | None) -> None:
            bar.step(case)
            if fault:
                bar.say(f"{case}: {fault}")

        found = measuring.evaluate(
            cases,
            segmenter,
            options,
            name=name,
            dataset=dataset or dataset_name(folders),
            command=typed_command(),
            progress=hear,
            look=None if album is None else album.add,
        )
    if first is not None and found["cases"]:
        found["against"] = measuring.comparison(first, found)
    if album is not None:
        album.add_boxes([found] if first is None else [first, found])
    return found


def _place(folders: tuple[str, ...]) -> Path:
    """The only one.

    Raises:
        UsageError: there are several.
    """
    if len(folders) > 1:
        raise UsageError(f"--images {' '.join(folders)}: one place is what this task takes")
    return Path(folders[0])


def _weights(model: str | None, task: str) -> Path:
    """The file of a model that must be named.

    Raises:
        UsageError: it is not.
        WeightsError: there is none of this name.
    """
    if model is None:
        raise UsageError("no --model: give a file that training has made")
    return resolve_vision(model, task)


def _upscaler(model: str | None, bicubic: str | None) -> tuple[int, Upscaler]:
    from paoncodec.vision.superres import load_weights, upscale
    from paoncodec.vision.superres.resize import enlarge

    if model is None:
        scale = int(bicubic or 0)
        return scale, partial(enlarge, scale=scale)
    network, _ = load_weights(resolve_vision(model, "superres"))
    return network.scale, partial(upscale, network)
