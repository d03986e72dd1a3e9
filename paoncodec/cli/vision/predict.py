"""`paoncodec vision predict`: what a trained network makes of a picture."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter

import click

from paoncodec.cli.files import STREAM, check_output, input_file, write_output

__all__ = ["predict"]


@click.command()
@click.argument("image")
@click.option(
    "--task", type=click.Choice(["superres", "segmentation"]), required=True, help="What it is for."
)
@click.option("--model", required=True, metavar="WEIGHTS", help="File that training has made.")
@click.option("-o", "--output", required=True, help="Picture to write, - for stdout (PNG).")
@click.option("--tile", type=click.IntRange(1), help="Side of what is computed at a time, pixels.")
@click.option("--halo", type=click.IntRange(0), help="What is seen around it, pixels.")
@click.option("--threads", type=click.IntRange(1), help="Threads of torch.")
@click.option("-f", "--force", is_flag=True, help="Replace an existing output.")
def predict(
    image: str,
    task: str,
    model: str,
    output: str,
    tile: int | None,
    halo: int | None,
    threads: int | None,
    force: bool,
) -> None:
    """Enlarge IMAGE, a picture file or - for stdin, as many times as the weights are for.

    Pictures of any size are computed in tiles, in bounded memory. Of segmentation, IMAGE is a NIfTI
    volume, and its labels are written.
    """
    if task == "segmentation":
        from paoncodec.cli.vision import segmentation

        segmentation.refuse(tile=tile, halo=halo)
        _set_threads(threads)
        segmentation.predict(image, model, output, force)
        return
    source = input_file(image)
    check_output(output, image, force)

    from paoncodec.images import image_bytes, read_image
    from paoncodec.vision.superres import load_weights, upscale
    from paoncodec.vision.superres.tiles import HALO, TILE

    _set_threads(threads)
    network, _ = load_weights(model)
    pixels = read_image(source)
    form = "png" if output == STREAM else Path(output).suffix[1:]
    image_bytes(pixels, form)  # so that a wrong format is found before the work
    begun = perf_counter()
    large = upscale(network, pixels, tile or TILE, HALO if halo is None else halo)
    seconds = perf_counter() - begun
    write_output(output, image_bytes(large, form), force)
    before, after = (f"{p.shape[1]}x{p.shape[0]}" for p in (pixels, large))
    click.echo(f"{before} -> {after} px in {seconds:.2f} s", err=True)


def _set_threads(threads: int | None) -> None:
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
