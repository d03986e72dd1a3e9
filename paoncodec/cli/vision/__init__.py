"""`paoncodec vision`: the models beside the codecs, by task."""

from __future__ import annotations

import click

from paoncodec.cli.lazy import LazyGroup

__all__ = ["vision"]


@click.group(
    cls=LazyGroup,
    package=__name__,
    names=("train", "eval", "predict", "table", "boxes", "phantoms"),
)
def vision() -> None:
    """Networks of Padé neurons and product units: to enlarge, classify and segment."""
