"""The command that is running, as it was typed: result files and reports say how they were made."""

from __future__ import annotations

from typing import Any

import click
from click.core import ParameterSource

__all__ = ["typed_command"]


def typed_command() -> list[str]:
    """Program, command and all that was given to it, as words of a shell."""
    context = click.get_current_context()
    words = _path(context)
    for parameter in context.command.params:
        name = parameter.name or ""
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            words += _words(parameter, context.params[name])
    return words


def _path(context: click.Context) -> list[str]:
    """Program and command; the program may have been started under another name."""
    if context.parent is None:
        return ["paoncodec"]
    return [*_path(context.parent), context.info_name or ""]


def _words(parameter: click.Parameter, value: Any) -> list[str]:
    values = list(value) if parameter.multiple or parameter.nargs != 1 else [value]
    if isinstance(parameter, click.Argument):
        return [str(one) for one in values]
    flag = max(parameter.opts, key=len)
    if isinstance(parameter, click.Option) and parameter.is_flag:
        return [flag] if value else []
    return [word for one in values for word in (flag, str(one))]
