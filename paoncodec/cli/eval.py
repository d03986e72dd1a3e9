"""`paoncodec eval`: how many bits a codec takes for pictures, and how good they come back."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from paoncodec import api
from paoncodec.cli.files import STREAM, check_output, write_output
from paoncodec.cli.pictures import dataset_name, named_images
from paoncodec.cli.progress import progress
from paoncodec.cli.typed import typed_command
from paoncodec.errors import ImageError, UsageError

if TYPE_CHECKING:
    from paoncodec.evaluation.coders import Coder

__all__ = ["eval"]

_PILLOW = ("jpeg", "webp", "avif", "jpeg2000")
# The table's columns: heading, figure, digits.
_COLUMNS = (
    ("quality", "quality", "g"),
    ("bytes", "bytes", ".0f"),
    ("bpp", "bpp", ".4f"),
    ("payload", "payload-bpp", ".4f"),
    ("estimate", "estimated-bpp", ".4f"),
    ("PSNR dB", "psnr-rgb", ".3f"),
    ("MS-SSIM", "ms-ssim-rgb", ".5f"),
    ("dB", "ms-ssim-rgb-db", ".3f"),
    ("LPIPS", "lpips", ".4f"),
    ("enc s", "encoding_time", ".3f"),
    ("dec s", "decoding_time", ".3f"),
)


@click.command("eval")
@click.option(
    "--model",
    "models",
    multiple=True,
    help="Name of shipped weights, or a weights file; repeat it to join files of one rate each in "
    "one curve.",
)
@click.option("--codec", type=click.Choice(_PILLOW), help="One of Pillow's codecs instead.")
@click.option(
    "--arch",
    help="The models are checkpoints of CompressAI's architecture of this name, such as mbt2018.",
)
@click.option(
    "--images", "folders", multiple=True, required=True, metavar="DIR", help="Pictures; repeatable."
)
@click.option(
    "--qualities", metavar="LIST", help="Such as 1,2.5,6.  [default: the model's or the usual ones]"
)
@click.option("--json", "output", metavar="FILE", help="Result file to write, - for stdout.")
@click.option("--name", help="Of the curve.  [default: that of the model or codec]")
@click.option("--dataset", help="What the pictures are.  [default: the folder's name]")
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Processes.")
@click.option(
    "--threads", type=click.IntRange(1), help="Of torch in each process.  [default: cores / jobs]"
)
@click.option(
    "--repeats",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Of each measurement of time, for its median.",
)
@click.option("--no-ms-ssim", is_flag=True, help="Leave MS-SSIM out: it takes longest.")
@click.option("--lpips-weights", metavar="FILE", help="Torchvision's AlexNet: adds LPIPS.")
@click.option("--keep", metavar="DIR", help="Keep files and decoded pictures, for a report.")
@click.option("-f", "--force", is_flag=True, help="Replace an existing result file.")
def eval(
    models: tuple[str, ...],
    codec: str | None,
    arch: str | None,
    folders: tuple[str, ...],
    qualities: str | None,
    output: str | None,
    name: str | None,
    dataset: str | None,
    jobs: int,
    threads: int | None,
    repeats: int,
    no_ms_ssim: bool,
    lpips_weights: str | None,
    keep: str | None,
    force: bool,
) -> None:
    """Measure a model or a classical codec on pictures: real files, decoded from disk.

    bpp counts every byte of a file, PSNR is of 8-bit RGB, all figures are means over the pictures.
    Exit code 3: some pictures could not be measured; they are named, and left out of the means.
    """
    if output not in (None, STREAM):
        check_output(str(output), STREAM, force)
    wanted = _numbers(qualities) if qualities else ()
    if keep and Path(keep).exists() and not Path(keep).is_dir():
        raise UsageError(f"--keep {keep}: not a directory")

    from paoncodec.evaluation.coders import complexity_of
    from paoncodec.evaluation.runs import Options, evaluate, settings_of

    settings = settings_of(_coders(models, codec, arch), wanted)
    images = named_images(folders)
    options = Options(
        jobs, threads or 0, repeats, not no_ms_ssim, lpips_weights, Path(keep) if keep else None
    )
    with progress(len(images) * len(settings)) as bar:

        def hear(image: str, quality: float, error: str | None) -> None:
            bar.step(f"{image} at {quality:g}")
            if error:
                bar.say(f"{image} at {quality:g}: {error}")

        result = evaluate(
            images,
            settings,
            options,
            name=name,
            dataset=dataset or dataset_name(folders),
            command=typed_command(),
            progress=hear,
        )
    result["complexity"] = complexity_of(settings[0].coder)
    if keep:
        beside = Path(output).parent if output not in (None, STREAM) else Path()
        result["pictures"] = Path(os.path.relpath(keep, beside)).as_posix()
    text = json.dumps(result, indent=1, allow_nan=False) + "\n"
    if output not in (None, STREAM):
        write_output(str(output), text.encode(), force)
    click.echo(text if output == STREAM else _table(result), nl=output != STREAM)
    failed = {row["image"] for row in result["failures"]}
    if failed:
        raise ImageError(
            f"{len(failed)} of {len(images)} pictures could not be measured and are left out of "
            "the means: they are named above"
            + (" and among the failures of the result file" if output else "")
        )


def _coders(models: tuple[str, ...], codec: str | None, arch: str | None) -> list[Coder]:
    from paoncodec.evaluation.checkpoints import CheckpointCoder
    from paoncodec.evaluation.coders import PaonCoder
    from paoncodec.evaluation.pillow import PillowCoder

    if codec and (models or arch):
        raise UsageError("--codec stands alone: leave out --model and --arch")
    if codec:
        return [PillowCoder(codec)]
    if arch and not models:
        raise UsageError("--arch says what --model is a checkpoint of: give --model")
    if arch:
        return [CheckpointCoder(arch, path, float(i)) for i, path in enumerate(models, start=1)]
    return [PaonCoder(model) for model in models or (api.DEFAULT_MODEL,)]


def _numbers(text: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(word) for word in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers or not all(map(math.isfinite, numbers)):
        raise UsageError(f"--qualities {text}: give numbers with commas, such as 1,2,3")
    return numbers


def _table(result: dict[str, Any]) -> str:
    """The means for people: figures that nothing has are left out."""
    figures = result["results"]
    rows = [
        [heading, *(_cell(value, digits) for value in figures[key])]
        for heading, key, digits in _COLUMNS
        if any(value is not None for value in figures.get(key, ()))
    ]
    if not rows:
        return f"{result['name']}: nothing was measured"
    widths = [max(map(len, column)) for column in rows]
    lines = [
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        for line in zip(*rows, strict=True)
    ]
    count = figures["images"][0]
    head = f"{result['name']} on {result['dataset']['name']}, means of {count} picture(s)"
    return "\n".join([head, *lines])


def _cell(value: float | None, digits: str) -> str:
    return "–" if value is None else f"{value:{digits}}"
