"""What the commands that set results beside each other say of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from paoncodec.evaluation.results import Result

__all__ = ["warn_of_other_pictures"]


def warn_of_other_pictures(first: Result, other: Result) -> None:
    """A line on stderr if the two are of different pictures."""
    if first.has_pictures_of(other):
        return
    sets = [f"{result.name} is of {result.dataset or 'a set'!r}" for result in (first, other)]
    click.echo(
        f"{', '.join(sets)}, and these are not the same pictures: they are compared as much as the "
        "codecs",
        err=True,
    )
