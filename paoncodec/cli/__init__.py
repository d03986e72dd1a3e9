"""The command `paoncodec`. Commands live in a module each, which is imported when it is asked for.

stdout holds results only; all talk goes to stderr. What exit codes mean is in
`paoncodec.cli.errors`.
"""

from __future__ import annotations

from typing import Any

import click

from paoncodec import __version__
from paoncodec.cli.errors import reporting
from paoncodec.cli.lazy import LazyGroup

__all__ = ["main"]

_NAMES = (
    "encode",
    "decode",
    "info",
    "train",
    "zoo",
    "eval",
    "bdrate",
    "plot",
    "report",
    "complexity",
    "vision",
)


class _Commands(LazyGroup):
    """Errors of all commands end here."""

    def invoke(self, ctx: click.Context) -> Any:
        with reporting(traceback=ctx.params["debug"]):
            return super().invoke(ctx)


@click.group(
    cls=_Commands,
    package=__name__,
    names=_NAMES,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="paoncodec")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def main(debug: bool) -> None:
    """A learned image codec with Padé neurons.

    \b
    paoncodec encode photo.png -o photo.bin     a picture becomes a small file
    paoncodec decode photo.bin -o photo.png     and a picture again
    paoncodec COMMAND --help                    what a command does

    \b
    Completion in the shell, for good by a line in its start file:
    bash   eval "$(_PAONCODEC_COMPLETE=bash_source paoncodec)"
    zsh    eval "$(_PAONCODEC_COMPLETE=zsh_source paoncodec)"
    fish   _PAONCODEC_COMPLETE=fish_source paoncodec | source

    Exit codes: 0 done, 1 training diverged or could not write, 2 usage, 3 bad image, 4 not our
    file, damaged or cut short, 5 weights missing or other than the file's, 6 latents differ from
    the encoder's, 70 a fault of paoncodec, 130 interrupted.
    """
