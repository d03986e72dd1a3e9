"""`paoncodec vision table`: results of several seeds, summed up."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

__all__ = ["table"]

#: Figure → its heading, what it is multiplied by, and its form.
_COLUMNS = {
    "accuracy": ("accuracy, %", 100.0, ".2f"),
    "top5": ("top-5, %", 100.0, ".2f"),
    "cross_entropy": ("cross entropy", 1.0, ".4f"),
    "mdice": ("Dice, %", 100.0, ".2f"),
    "mhd95": ("HD95, mm", 1.0, ".2f"),
    "msurface_dice": ("surface Dice, %", 100.0, ".2f"),
}


@click.command()
@click.argument("results", nargs=-1, required=True, metavar="RESULT...")
@click.option(
    "--run",
    "runs",
    multiple=True,
    metavar="RUN",
    help="Directory of a training, for its times; repeatable. It belongs to the results that are "
    "named as its network.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the table as JSON.")
def table(results: tuple[str, ...], runs: tuple[str, ...], as_json: bool) -> None:
    """Sum up RESULTs of trainings with other seeds, files of `paoncodec vision eval`: a line for
    each name and data set, with mean ± standard deviation.

    Results of the same --name and --dataset are of one line. Those of --photons add what is right
    of the noisy pictures, and the share of the accuracy that is lost. With --run also T80, the
    seconds until 80% of the validation pictures were right, and those of the whole training.
    """
    from paoncodec.evaluation.repeats import read_repeat, summary
    from paoncodec.training import RunDirectory

    found = [read_repeat(path) for path in results]
    rows = summary(found, [RunDirectory(path, resume=True) for path in runs])
    click.echo(json.dumps(rows, indent=1) if as_json else "\n".join(_lines(rows)))


def _lines(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A table as Markdown has it."""
    cells = [_cells(row) for row in rows]
    heads = list(dict.fromkeys(name for row in cells for name in row))
    yield "| " + " | ".join(heads) + " |"
    yield "| " + " | ".join("---" for _ in heads) + " |"
    for row in cells:
        yield "| " + " | ".join(row.get(name, "-") for name in heads) + " |"


def _cells(row: Mapping[str, Any]) -> dict[str, str]:
    """Heading → what stands below it."""
    made = {"model": row["name"], "data": row["dataset"]}
    made.update(_figures(row))
    for photons, noisy in row.get("noisy", {}).items():
        if "accuracy" in noisy:
            made[f"accuracy at {photons} photons, %"] = _spread(noisy["accuracy"], 100.0, ".2f")
        if noisy.get("drop") is not None:
            made[f"drop at {photons} photons, %"] = f"{100 * noisy['drop']:.2f}"
    if "t80" in row:
        mean, reached = row["t80"]["mean"], row["t80"]["reached"]
        runs = row["seconds"]["runs"]
        partly = "" if reached == runs else f" ({reached} of {runs})"
        made["T80, s"] = "never" if mean is None else f"{mean:.1f}{partly}"
        made["training, s"] = f"{row['seconds']['mean']:.1f}"
    return made


def _figures(row: Mapping[str, Any]) -> dict[str, str]:
    there = [name for name in _COLUMNS if name in row]
    made = {"runs": str(row[there[0]]["runs"])} if there else {}
    for name in there:
        head, scale, form = _COLUMNS[name]
        made[head] = _spread(row[name], scale, form)
    return made


def _spread(figure: Mapping[str, Any], scale: float, form: str) -> str:
    deviation = "" if figure["std"] is None else f" ± {scale * figure['std']:{form}}"
    return f"{scale * figure['mean']:{form}}{deviation}"
