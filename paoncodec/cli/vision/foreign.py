"""Words of a command that are of some tasks only."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import click
from click.core import ParameterSource

from paoncodec.errors import UsageError

__all__ = ["refuse_foreign"]


def refuse_foreign(task: str, own: Mapping[str, Collection[str]]) -> None:
    """Checks that nothing was given to the running command that is of other tasks alone.

    Args:
        task: that was asked for.
        own: task → names of the parameters that it has and some other task lacks.

    Raises:
        UsageError: something was.
    """
    context = click.get_current_context()
    for parameter in context.command.params:
        name = parameter.name or ""
        tasks = [other for other, names in own.items() if name in names]
        given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if tasks and task not in tasks and given:
            flag = max(parameter.opts, key=len)
            raise UsageError(f"{flag} is of --task {' and '.join(tasks)}: leave it out for {task}")
