"""What a resumed run is asked to do otherwise than it was begun."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from paoncodec.errors import UsageError


@dataclass(frozen=True)
class Change:
    """A setting by its dotted name, as the run was begun with and as it is wanted now."""

    name: str
    saved: Any
    now: Any

    def __str__(self) -> str:
        return f"{self.name} was {json.dumps(self.saved)}, now {json.dumps(self.now)}"


def find_changes(saved: Mapping[str, Any], now: Mapping[str, Any]) -> list[Change]:
    """The settings that differ, by name.

    A setting that ``saved`` lacks is newer than the run and not compared; one that ``now`` lacks
    counts as None.
    """
    old = dict(_flat(json.loads(json.dumps(saved))))
    new = dict(_flat(json.loads(json.dumps(now))))  # tuples become lists, as in the file
    return [Change(k, v, new.get(k)) for k, v in sorted(old.items()) if new.get(k) != v]


def check_changes(
    saved: Mapping[str, Any], now: Mapping[str, Any], may_change: AbstractSet[str], place: str
) -> list[Change]:
    """The settings that differ, all of them in ``may_change``.

    Args:
        saved, now: settings as JSON has them, nested.
        may_change: dotted names.
        place: where the run is, for the message.

    Raises:
        UsageError: one differs that decides what a step of the run does.
    """
    changes = find_changes(saved, now)
    wrong = [str(c) for c in changes if c.name not in may_change]
    if wrong:
        raise UsageError(
            f"{place} was begun with other settings: {'; '.join(wrong)}; a resumed run may change "
            f"only {', '.join(sorted(may_change))}: leave the others out, or begin a new run"
        )
    return changes


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
