"""`paoncodec report`: a folder of result files as one page to look at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from paoncodec.cli.comparing import warn_of_other_pictures
from paoncodec.cli.files import STREAM, check_output, write_output
from paoncodec.cli.typed import typed_command
from paoncodec.errors import UsageError

if TYPE_CHECKING:
    from paoncodec.evaluation.results import Result

__all__ = ["report"]


@click.command()
@click.argument("folder", metavar="DIR")
@click.option("-o", "--output", required=True, help="HTML file to write, - for stdout.")
@click.option("--anchor", "anchors", multiple=True, help="Published curve to draw too; repeatable.")
@click.option(
    "--reference",
    help="What rates are compared with, by name.  [default: the first anchor, else jpeg]",
)
@click.option("--quality", type=float, help="Of the model, for the pictures.  [default: middle]")
@click.option(
    "--pictures", type=click.IntRange(0), default=8, show_default=True, help="Most to show."
)
@click.option(
    "--max-mb",
    type=click.FloatRange(min=0),
    default=16.0,
    show_default=True,
    help="That pictures may take on the page.",
)
@click.option("--title", help="Of the page.  [default: the data set's name]")
@click.option("-f", "--force", is_flag=True, help="Replace an existing output.")
def report(
    folder: str,
    output: str,
    anchors: tuple[str, ...],
    reference: str | None,
    quality: float | None,
    pictures: int,
    max_mb: float,
    title: str | None,
    force: bool,
) -> None:
    """Make a page of the result files (.json of `paoncodec eval`) in DIR.

    It is one file: it opens without a network, and can be sent by mail. Before-and-after pictures
    are of codecs that were measured with --keep.
    """
    check_output(output, STREAM, force)
    place = Path(folder)
    if not place.is_dir():
        raise UsageError(f"{folder} is not a directory: give the folder of the result files")

    from paoncodec.evaluation.anchors import anchor_file
    from paoncodec.evaluation.report import Choice, build
    from paoncodec.evaluation.results import load_result

    results: list[Result] = []
    for path in sorted(place.glob("*.json")):
        try:
            results.append(_with_points(load_result(path)))
        except UsageError as error:
            click.echo(f"passed over: {error}", err=True)
    if not results:
        raise UsageError(
            f"{folder} holds no result files of pictures: write some with `paoncodec eval --json`"
        )
    results += [load_result(anchor_file(anchor)) for anchor in anchors]
    for result in results[1:]:
        warn_of_other_pictures(results[0], result)
    choice = Choice(
        title=title or _title(results[0].dataset),
        reference=reference,
        quality=quality,
        pictures=pictures,
        megabytes=max_mb,
        command=typed_command(),
    )
    page = build(results, choice).encode()
    write_output(output, page, force)
    click.echo(f"{output}: {len(page) / 1e6:.1f} MB, {len(results)} codecs", err=True)


def _with_points(result: Result) -> Result:
    """The result; UsageError if no picture of it could be measured."""
    if not result.figures["bpp"]:
        raise UsageError(f"{result.path}: no picture of it could be measured")
    return result


def _title(dataset: str) -> str:
    return f"Codecs on {dataset}" if dataset else "Codecs compared"
