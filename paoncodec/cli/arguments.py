"""Kinds of arguments: what a shell may complete them to. Checking them is the commands' work."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem

from paoncodec import zoo
from paoncodec.errors import WeightsError

__all__ = ["MODEL", "PATH"]

#: A file or a folder, there or not, or `-`.
PATH = click.Path(readable=False)


class _Model(click.types.StringParamType):
    """A name of the zoo, or the path of weights."""

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        try:
            names = [card.name for card in zoo.list_cards()]
        except WeightsError:  # a damaged card is told when it is used
            names = []
        fitting = [CompletionItem(name) for name in names if name.startswith(incomplete)]
        return fitting or [CompletionItem(incomplete, type="file")]


MODEL = _Model()
