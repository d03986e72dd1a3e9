"""`paoncodec decode`: a `.bin` file becomes a picture again."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import click

from paoncodec import api
from paoncodec.cli.files import STREAM, check_output, default_output, input_file, write_output

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["decode"]


@click.command()
@click.argument("file")
@click.option(
    "-o",
    "--output",
    help="Picture to write, - for PNG on stdout; its suffix says the format: png, ppm, pgm, pnm, "
    "bmp, tif, tiff or webp, all without loss.  [default: FILE as .png]",
)
@click.option(
    "--max-pixels",
    type=click.IntRange(min=1),
    default=api.MAX_PIXELS,
    show_default=True,
    help="Refuse larger pictures.",
)
@click.option("--model", help="Name or file of the weights, if FILE was made with your own.")
@click.option("-f", "--force", is_flag=True, help="Replace an existing output.")
def decode(file: str, output: str | None, max_pixels: int, model: str | None, force: bool) -> None:
    """Decode FILE, written by `paoncodec encode`, or - for stdin."""
    data = api.file_bytes(input_file(file))
    facts = api.info(data)  # a bad file is reported before anything about the output
    target = output or default_output(file, ".png")
    check_output(target, file, force)
    picture_format = _format_of(target)
    start = perf_counter()
    image = api.decode(data, max_pixels=max_pixels, model=model)
    seconds = perf_counter() - start
    write_output(target, _encoded(image, picture_format), force)
    click.echo(
        f"{len(data)} bytes -> {facts['width']}x{facts['height']} px in {seconds:.2f} s", err=True
    )


def _format_of(target: str) -> str:
    """The format that the suffix of `target` stands for; UsageError if we cannot write it."""
    picture_format = "png" if target == STREAM else Path(target).suffix[1:]
    from PIL import Image

    # A trial with one pixel tells before seconds are spent on decoding.
    _encoded(Image.new("L", (1, 1)), picture_format)
    return picture_format


def _encoded(image: Image.Image, picture_format: str) -> bytes:
    from paoncodec.images import image_bytes, read_image

    return image_bytes(read_image(image), picture_format)
