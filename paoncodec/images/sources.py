"""Where training pictures come from: folders, each with a weight, or a list of them in a file."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from paoncodec.errors import UsageError

__all__ = ["Source", "parse_sources"]

_LIST_SUFFIX = ".txt"


@dataclass(frozen=True)
class Source:
    """A folder of pictures, or one picture.

    Attributes:
        path: absolute.
        weight: how often each of its pictures is drawn an epoch, on average; > 0.
    """

    path: Path
    weight: float = 1.0


def parse_sources(texts: Iterable[str]) -> list[Source]:
    """What a user names: ``DIR``, ``DIR=WEIGHT``, or a text file with a line of either for each.

    A list's lines are ``PATH`` or ``PATH WEIGHT``; empty ones and those that begin with ``#`` are
    passed over, and relative paths count from the list's own folder. Files of other suffixes than
    ``.txt`` are pictures. A name that exists as it stands is taken so, whatever ``=`` is in it.

    Raises:
        UsageError: a weight that is none, or a list that cannot be read.
    """
    return [source for text in texts for source in _named(text)]


def _named(text: str) -> list[Source]:
    path = Path(text).absolute()
    if path.is_file() and path.suffix.lower() == _LIST_SUFFIX:
        return _read_list(path)
    head, equals, tail = text.rpartition("=")
    if path.exists() or not equals:
        return [Source(path)]
    return [Source(Path(head).absolute(), _weight(tail, text))]


def _read_list(path: Path) -> list[Source]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read as a list of folders ({error})") from error
    kept = [(n, line.strip()) for n, line in enumerate(lines, 1)]
    sources = [
        _listed(line, path.parent, f"{path}, line {n}")
        for n, line in kept
        if line and not line.startswith("#")
    ]
    if not sources:
        raise UsageError(f"{path}: names no folder; give a line `PATH` or `PATH WEIGHT` for each")
    return sources


def _listed(line: str, folder: Path, place: str) -> Source:
    whole = folder / line
    words = line.rsplit(maxsplit=1)
    if whole.exists() or len(words) == 1:
        return Source(whole)
    return Source(folder / words[0], _weight(words[1], place))


def _weight(text: str, place: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not (weight > 0 and math.isfinite(weight)):
        raise UsageError(f"{place}: weight {text!r} must be a number above 0, such as 2.0")
    return weight
