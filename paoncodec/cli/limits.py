"""Options that say how much is taken and made: memory, and a part of a picture."""

from __future__ import annotations

import click

from paoncodec.memory import FREE_SHARE, parse_size
from paoncodec.region import Region

__all__ = ["max_memory_option", "region_option"]


def _size(context: click.Context, option: click.Parameter, value: str | None) -> int | None:
    """Bytes."""
    if value is None:
        return None
    try:
        return parse_size(value)
    except ValueError as error:
        hint = "give bytes, or a number with K, M or G, such as 2.5GiB"
        raise click.BadParameter(f"{value!r}: {hint}") from error


def _region(context: click.Context, option: click.Parameter, value: str | None) -> Region | None:
    if value is None:
        return None
    try:
        return Region(*(int(number) for number in value.split(",")))
    except (TypeError, ValueError) as error:
        hint = "give four whole numbers, such as 0,0,640,480"
        raise click.BadParameter(f"{value!r}: {hint}") from error


#: `--region`, handed over as a `Region`.
region_option = click.option(
    "--region",
    metavar="X,Y,W,H",
    callback=_region,
    help="Only the part of W x H pixels whose upper left corner is at X,Y.",
)

#: `--max-memory`, handed over as `max_memory` in bytes.
max_memory_option = click.option(
    "--max-memory",
    metavar="SIZE",
    callback=_size,
    help="What the process may take in all, such as 2.5GiB: large pictures are worked on in "
    f"smaller pieces, or refused.  [default: {FREE_SHARE:.0%} of what is free]",
)
