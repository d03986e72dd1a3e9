"""`paoncodec plot`: result files as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from paoncodec.cli.comparing import warn_of_other_pictures
from paoncodec.cli.files import STREAM, check_output, write_output
from paoncodec.errors import UsageError

if TYPE_CHECKING:
    from paoncodec.evaluation.results import Result

__all__ = ["plot"]


@click.command()
@click.argument("results", nargs=-1, metavar="[RESULT]...")
@click.option(
    "--anchor",
    "anchors",
    multiple=True,
    help="Published curve (mbt2018, vtm, ...) or result file beside them; savings are against the "
    "first.",
)
@click.option("-o", "--output", required=True, help="Picture to write: .png, .svg or .pdf.")
@click.option(
    "--kind",
    type=click.Choice(["rd", "savings", "costs"]),
    default="rd",
    show_default=True,
    help="Quality over rate; rate saved against the anchor over quality; or over --cost.",
)
@click.option(
    "--cost",
    type=click.Choice(["decoding-time", "encoding-time", "kmac"]),
    default="decoding-time",
    show_default=True,
    help="Of --kind costs.",
)
@click.option("--metric", type=click.Choice(["psnr", "ms-ssim"]), default="psnr", show_default=True)
@click.option("--title", help="Above the plot.")
@click.option("-f", "--force", is_flag=True, help="Replace an existing output.")
def plot(
    results: tuple[str, ...],
    anchors: tuple[str, ...],
    output: str,
    kind: str,
    cost: str,
    metric: str,
    title: str | None,
    force: bool,
) -> None:
    """Draw RESULTs, files of `paoncodec eval` or of CompressAI."""
    check_output(output, STREAM, force)
    if not results and not anchors:
        raise UsageError("nothing to draw: give a result file or --anchor")

    from paoncodec.evaluation.anchors import anchor_file
    from paoncodec.evaluation.results import load_result

    measured = [load_result(path) for path in results]
    beside = [load_result(anchor_file(anchor)) for anchor in anchors]
    suffix = "png" if output == STREAM else Path(output).suffix[1:].lower()
    for result in (*measured, *beside)[1:]:
        warn_of_other_pictures((*measured, *beside)[0], result)
    content = _drawn(measured, beside, kind, cost, metric, suffix, title)
    write_output(output, content, force)
    click.echo(f"{output}: {len(content)} bytes", err=True)


def _drawn(
    measured: list[Result],
    beside: list[Result],
    kind: str,
    cost: str,
    metric: str,
    suffix: str,
    title: str | None,
) -> bytes:
    from paoncodec.evaluation.plots import costs_plot, rd_plot, savings_plot, without_cost

    if kind == "rd":
        return rd_plot([*measured, *beside], metric, suffix, title)
    if not beside:
        raise UsageError(f"--kind {kind} compares with something: give --anchor")
    anchor, others = beside[0], [*measured, *beside[1:]]
    if not others:
        raise UsageError(f"nothing to compare with {anchor.name}: give a result file")
    if kind == "savings":
        return savings_plot(others, anchor, metric, suffix, title)
    left_out = without_cost(others, cost)
    if left_out:
        click.echo(f"not drawn, as their files do not say {cost}: {', '.join(left_out)}", err=True)
    return costs_plot(others, anchor, cost, metric, suffix, title)
