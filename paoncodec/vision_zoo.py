"""Vision models by name: networks that ship with the package, beside the codecs' weights.

They are in the folder `zoo_data/vision` of the package: `<name>.safetensors`, and beside it its
card, `<name>.json`. Finding and verifying them takes no torch.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from paoncodec import zoo
from paoncodec.errors import WeightsError

__all__ = ["VisionCard", "list_vision_cards", "resolve_vision"]

_LEGAL_NAME = re.compile(r"[a-z0-9._-]{1,32}")


@dataclass(frozen=True)
class VisionCard:
    """What a person should know of a vision model before using it.

    Args:
        name: 1 to 32 of a-z, 0-9, `.`, `_` and `-`.
        task: what it is for, such as "superres".
        network: by its name in the task.
        config: what the network is made of.
        sha256: of the weights file, 64 hexadecimal digits.
        licence: of the weights.
        steps: how many steps of training they have seen.
        data: what they were trained on.
        command: that made them.
        results: data set → figure → value, as `paoncodec vision eval` measures them.
        minutes: wall time of training; 0 if unknown.
        measured_by: the command that measures the results.
        check: what comes of the test picture, see `paoncodec.evaluation.vision_check`.
        note: whatever else matters.

    Raises:
        ValueError: a name or sha256 that is not legal.
    """

    name: str
    task: str
    network: str
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
        if not _LEGAL_NAME.fullmatch(self.name):
            raise ValueError(f"name is {self.name!r}, legal is 1 to 32 of [a-z0-9._-]")
        if not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise ValueError(f"sha256 is {self.sha256!r}, legal are 64 digits of 0-9a-f")

    @property
    def path(self) -> Path:
        """Of the weights file."""
        return folder() / f"{self.name}.safetensors"


def folder() -> Path:
    """Where they are: in the folder of the codecs' weights."""
    return zoo.FOLDER / "vision"


def list_vision_cards(task: str | None = None) -> tuple[VisionCard, ...]:
    """The cards of all vision models that ship with the package, or of those of a task, by name.

    Raises:
        WeightsError: a card is damaged.
    """
    cards = tuple(_read_card(path) for path in sorted(folder().glob("*.json")))
    return tuple(card for card in cards if task in (None, card.task))


def resolve_vision(model: str | os.PathLike[str], task: str) -> Path:
    """The weights file of a vision model, by its name or, if there is none of that name, by a path.

    The SHA-256 of a file that ships is compared with its card.

    Raises:
        WeightsError: no such weights, damaged ones, or ones of another task.
    """
    cards = {card.name: card for card in list_vision_cards()}
    card = cards.get(os.fspath(model))
    if card is None:
        path = Path(model)
        if not path.is_file():
            names = ", ".join(name for name, c in cards.items() if c.task == task)
            raise WeightsError(
                f"no weights {os.fspath(model)!r}: give the path of a weights file or a name of "
                f"this task ({names or 'none ships'})"
            )
        return path
    if card.task != task:
        raise WeightsError(f"the weights {card.name!r} are of --task {card.task}, not {task}")
    if not card.path.is_file():
        raise WeightsError(f"{card.path}: missing; reinstall paoncodec")
    digest = sha256(card.path.read_bytes()).hexdigest()
    if digest != card.sha256:
        raise WeightsError(
            f"the weights {card.name!r} are damaged: SHA-256 of {card.path} is {digest}, its card "
            f"says {card.sha256}; reinstall paoncodec"
        )
    return card.path


def _read_card(path: Path) -> VisionCard:
    try:
        card = VisionCard(**json.loads(path.read_text(encoding="utf-8")))
        if card.name != path.stem:
            raise ValueError(f"name is {card.name!r}, the file's is {path.stem!r}")
    except (OSError, TypeError, ValueError) as error:
        raise WeightsError(f"{path}: damaged card ({error}); reinstall paoncodec") from error
    return card
