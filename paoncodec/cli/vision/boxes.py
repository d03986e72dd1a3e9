"""`paoncodec vision boxes`: results of segmentation as a box plot."""

from __future__ import annotations

from pathlib import Path

import click

from paoncodec.cli.files import STREAM, check_output, write_output

__all__ = ["boxes"]


@click.command()
@click.argument("results", nargs=-1, required=True, metavar="RESULT...")
@click.option("-o", "--output", required=True, help="Picture to write: .png, .svg or .pdf.")
@click.option(
    "--measure",
    type=click.Choice(["dice", "hd95", "surface-dice"]),
    default="dice",
    show_default=True,
)
@click.option("--title", help="Above the plot.")
@click.option("-f", "--force", is_flag=True, help="Replace an existing output.")
def boxes(
    results: tuple[str, ...], output: str, measure: str, title: str | None, force: bool
) -> None:
    """Draw RESULTs, files of `paoncodec vision eval --task segmentation`, beside each other: a box
    of the cases for each organ and network."""
    check_output(output, STREAM, force)

    from paoncodec.evaluation.segmentation import read_result
    from paoncodec.evaluation.segmentation_plots import box_plot

    suffix = "png" if output == STREAM else Path(output).suffix[1:].lower()
    found = [read_result(path) for path in results]
    content = box_plot(found, measure.replace("-", "_"), suffix, title)
    write_output(output, content, force)
    click.echo(f"{output}: {len(content)} bytes", err=True)
