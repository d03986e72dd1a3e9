"""`paoncodec vision phantoms`: an example data set to segment."""

from __future__ import annotations

import click

__all__ = ["phantoms"]


@click.command()
@click.argument("folder")
@click.option("--training", type=click.IntRange(2), default=24, show_default=True)
@click.option("--validation", type=click.IntRange(0), default=8, show_default=True)
@click.option(
    "--size", type=click.IntRange(16), default=64, show_default=True, help="Of a side, voxels."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def phantoms(folder: str, training: int, validation: int, size: int, seed: int) -> None:
    """Draw CT phantoms into FOLDER: a data set in the layout of AMOS, of no patients.

    Ellipsoids and tubes that overlap, with the intensities of organs, partial volume and noise.
    """
    from paoncodec.vision.segmentation.phantom import write_phantoms

    write_phantoms(folder, training, validation, (size, size, size), seed)
    click.echo(f"{training} training and {validation} validation cases in {folder}", err=True)
