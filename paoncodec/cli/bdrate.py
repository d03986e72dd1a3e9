"""`paoncodec bdrate`: by how much one codec beats another, or does not."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from paoncodec.cli.comparing import warn_of_other_pictures
from paoncodec.cli.typed import typed_command

if TYPE_CHECKING:
    from paoncodec.evaluation.bdrate import Comparison
    from paoncodec.evaluation.results import Result

__all__ = ["bdrate"]


@click.command()
@click.argument("test")
@click.option(
    "--anchor",
    "anchors",
    multiple=True,
    required=True,
    help="What to compare with: a published curve on Kodak (mbt2018, cheng2020-anchor, vtm, ...; a "
    "wrong name lists them) or a result file; repeatable.",
)
@click.option(
    "--metric",
    type=click.Choice(["psnr", "ms-ssim"]),
    default="psnr",
    show_default=True,
    help="MS-SSIM is compared in dB.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def bdrate(test: str, anchors: tuple[str, ...], metric: str, as_json: bool) -> None:
    """Compare TEST, a result file of `paoncodec eval`, with anchors: Bjøntegaard deltas.

    A negative BD-rate means that TEST needs fewer bits for the same quality. PCHIP on log rate is
    the figure to quote; Akima and cubic say how far the interpolation matters.
    """
    from paoncodec.evaluation.anchors import anchor_file
    from paoncodec.evaluation.bdrate import compare
    from paoncodec.evaluation.results import load_result

    tested = load_result(anchor_file(test))
    against = [load_result(anchor_file(anchor)) for anchor in anchors]
    comparisons = [compare(tested, anchor, metric) for anchor in against]
    for anchor in against:
        warn_of_other_pictures(tested, anchor)
    if as_json:
        click.echo(json.dumps(_record(tested, against, comparisons, metric)))
        return
    click.echo("\n\n".join(_lines(comparison) for comparison in comparisons))


def _record(
    test: Result, against: list[Result], comparisons: list[Comparison], metric: str
) -> dict[str, Any]:
    return {
        "test": {"name": test.name, "dataset": test.dataset, "sha256": test.sha256},
        "metric": metric,
        "comparisons": [
            {
                "anchor": {"name": a.name, "dataset": a.dataset, "sha256": a.sha256},
                "bd_rate": c.rate,
                "bd_level_db": c.level,
                "overlap": c.overlap,
                "points": {"test": c.points[0], "anchor": c.points[1]},
                "by_image": asdict(c.by_image) if c.by_image else None,
            }
            for a, c in zip(against, comparisons, strict=True)
        ],
        "command": typed_command(),
    }


def _lines(comparison: Comparison) -> str:
    rates = comparison.rate
    named = {"psnr": "PSNR", "ms-ssim": "MS-SSIM"}[comparison.metric]
    lines = [
        f"{comparison.test} against {comparison.anchor}, {named}",
        f"BD-rate    {rates['pchip']:+.2f} %  (Akima {rates['akima']:+.2f}, "
        f"cubic {rates['cubic']:+.2f})",
        f"BD-{named:<7} {comparison.level:+.3f} dB",
        f"overlap    {comparison.overlap:.0%} of the joint range of quality, "
        f"{comparison.points[0]} and {comparison.points[1]} points",
    ]
    spread = comparison.by_image
    if spread:
        left_out = f", {spread.refused} could not be compared" if spread.refused else ""
        lines.append(
            f"by image   {spread.mean:+.2f} ± {spread.deviation:.2f} % "
            f"({spread.lowest:+.2f} to {spread.highest:+.2f}) over {spread.pictures}{left_out}"
        )
    return "\n".join(lines)
