"""`paoncodec encode`: a picture becomes a `.bin` file."""

from __future__ import annotations

from time import perf_counter

import click

from paoncodec import api
from paoncodec.cli.errors import noting
from paoncodec.cli.files import check_output, default_output, input_file, write_output

__all__ = ["encode"]


@click.command()
@click.argument("image")
@click.option("-o", "--output", help="File to write, - for stdout.  [default: IMAGE as .bin]")
@click.option(
    "-q",
    "--quality",
    type=click.FloatRange(1, 6),
    help="1 (small) to 6 (good).  [default: that of the model, or 4]",
)
@click.option("--target-bpp", type=float, help="At most so many bits per pixel.")
@click.option("--target-size", type=int, metavar="BYTES", help="At most so many bytes.")
@click.option("--target-psnr", type=float, metavar="DB", help="At least so good.")
@click.option(
    "--model",
    "models",
    multiple=True,
    help="Name of shipped weights, or a weights file. With a target it may be given several times, "
    f"for models of one quality each.  [default: {api.DEFAULT_MODEL}]",
)
@click.option("--strip", is_flag=True, help="Leave out the colour profile, EXIF and XMP.")
@click.option("-f", "--force", is_flag=True, help="Replace an existing output.")
def encode(
    image: str,
    output: str | None,
    quality: float | None,
    target_bpp: float | None,
    target_size: int | None,
    target_psnr: float | None,
    models: tuple[str, ...],
    strip: bool,
    force: bool,
) -> None:
    """Encode IMAGE, a picture file or - for stdin.

    Pictures of any size, in any format that Pillow reads: grey, RGB, palettes and CMYK (made sRGB),
    transparency, 16 bits of PNG and TIFF. Colour profile, EXIF and XMP are kept, and so is
    transparency, without loss. Of an animation the first frame is taken.

    A target is met by a search over the qualities of the model, or among several models.
    """
    source = input_file(image)
    target = output or default_output(image, ".bin")
    check_output(target, image, force)
    start = perf_counter()
    with noting() as notes:
        data = api.encode(
            source,
            quality,
            models or api.DEFAULT_MODEL,
            target_bpp=target_bpp,
            target_psnr=target_psnr,
            target_size=target_size,
            strip=strip,
        )
    seconds = perf_counter() - start
    write_output(target, data, force)
    for note in notes:
        click.echo(f"note: {note}", err=True)
    facts = api.info(data)
    if len(models) > 1:
        click.echo(f"nearest of {len(models)} models: {facts['model']}", err=True)
    click.echo(
        f"{facts['width']}x{facts['height']} px -> {len(data)} bytes ({facts['bpp']:.3f} bpp, "
        f"quality {facts['quality']:g}) in {seconds:.2f} s",
        err=True,
    )
