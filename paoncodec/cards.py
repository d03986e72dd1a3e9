"""Cards: what a person should know of weights before using them, as JSON beside their file."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from paoncodec.errors import WeightsError

#: What weights may be called: files carry the name.
LEGAL_NAME = re.compile(r"[a-z0-9._-]{1,32}")
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Card:
    """What cards of all kinds say.

    Args:
        name: 1 to 32 of a-z, 0-9, `.`, `_` and `-`.
        config: options of the architecture or network.
        sha256: of the weights file, 64 hexadecimal digits.
        licence: of the weights.
        steps: how many steps of training they have seen.
        data: what they were trained on.
        command: that made them.
        results: measured, data set → figure → value.
        minutes: wall time of training; 0 if unknown.
        measured_by: the command that measured the results.
        check: what came of the test picture when they were put here.
        note: in what the command would not make the very same weights, and whatever else matters.

    Raises:
        ValueError: a name or sha256 that is not legal.
    """

    name: str
    config: Mapping[str, Any]
    sha256: str
    licence: str
    steps: int
    data: str
    command: str
    results: Mapping[str, Mapping[str, float]]
    minutes: float = 0.0
    measured_by: str = ""
    check: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""

    def __post_init__(self) -> None:
        if not LEGAL_NAME.fullmatch(self.name):
            raise ValueError(f"name is {self.name!r}, legal is 1 to 32 of [a-z0-9._-]")
        if not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise ValueError(f"sha256 is {self.sha256!r}, legal are 64 digits of 0-9a-f")


AnyCard = TypeVar("AnyCard", bound=Card)


def read_card(path: Path, kind: type[AnyCard]) -> AnyCard:
    """The card in a file of its name.

    Raises:
        WeightsError: it is damaged.
    """
    try:
        card = kind(**json.loads(path.read_text(encoding="utf-8")))
        if card.name != path.stem:
            raise ValueError(f"name is {card.name!r}, the file's is {path.stem!r}")
    except (OSError, TypeError, ValueError) as error:
        raise WeightsError(f"{path}: damaged card ({error}); reinstall paoncodec") from error
    return card


def require_weights(card: Card, path: Path) -> None:
    """Refuses a file that is not the one a card is of.

    Raises:
        WeightsError: it is missing, or its SHA-256 is another.
    """
    if not path.is_file():
        raise WeightsError(f"the weights {card.name!r} are missing ({path}): reinstall paoncodec")
    digest = digest_of(path)
    if digest != card.sha256:
        raise WeightsError(
            f"the weights {card.name!r} are damaged: SHA-256 of {path} is {digest}, its card says "
            f"{card.sha256}; reinstall paoncodec"
        )


def digest_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal; read once while it stays as it is."""
    return _digest(path.resolve(), *stamp_of(path))


def stamp_of(path: Path) -> tuple[int, int, int]:
    """What changes when a file does: inode, size, time of the last change."""
    stat = path.stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


# Coding picture after picture must not read 20 MB each time; a changed file has another stamp.
@lru_cache(maxsize=16)
def _digest(path: Path, *_stamp: int) -> str:
    digest = sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
