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
    click.echo(
        f"{_pictures(first)}, {_pictures(other)}, and these are not the same pictures: they are "
        "compared as much as the codecs",
        err=True,
    )


def _pictures(result: Result) -> str:
    count = result.picture_count
    pictures = "" if count is None else f" ({count} picture{'' if count == 1 else 's'})"
    return f"{result.name} is of {result.dataset or 'a set'!r}{pictures}"
