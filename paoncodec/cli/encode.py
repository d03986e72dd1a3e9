"""`paoncodec encode`: a picture becomes a `.bin` file."""

from __future__ import annotations

from time import perf_counter

import click

from paoncodec import api
from paoncodec.cli.files import check_output, default_output, input_file, write_output

__all__ = ["encode"]


@click.command()
@click.argument("image")
@click.option("-o", "--output", help="File to write, - for stdout.  [default: IMAGE as .bin]")
@click.option(
    "-q",
    "--quality",
    type=click.FloatRange(1, 6),
    help="1 (small) to 6 (good).  [default: that of the model]",
)
@click.option(
    "--model",
    default=api.DEFAULT_MODEL,
    show_default=True,
    help="Name of shipped weights, or a weights file.",
)
@click.option("-f", "--force", is_flag=True, help="Replace an existing output.")
def encode(image: str, output: str | None, quality: float | None, model: str, force: bool) -> None:
    """Encode IMAGE, a picture file or - for stdin.

    8-bit grey and RGB pictures of any size, in any format that Pillow reads.
    """
    source = input_file(image)
    target = output or default_output(image, ".bin")
    check_output(target, image, force)
    start = perf_counter()
    data = api.encode(source, quality, model)
    seconds = perf_counter() - start
    write_output(target, data, force)
    facts = api.info(data)
    click.echo(
        f"{facts['width']}x{facts['height']} px -> {len(data)} bytes ({facts['bpp']:.3f} bpp) "
        f"in {seconds:.2f} s",
        err=True,
    )
