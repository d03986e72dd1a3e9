"""Vision models by name: networks that ship with the package, beside the codecs' weights.

They are in the folder `zoo_data/vision` of the package: `<name>.safetensors`, and beside it its
card, `<name>.json`. Finding and verifying them takes no torch.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from paoncodec import zoo
from paoncodec.cards import Card, read_card, require_weights
from paoncodec.errors import UsageError, WeightsError

__all__ = ["DEFAULT_SCALE", "VisionCard", "default_vision", "list_vision_cards", "resolve_vision"]

#: How many times larger pictures become where nothing else is said.
DEFAULT_SCALE = 4
#: What is taken for super-resolution where no model is named, by scale.
_ENLARGERS = {2: "padenet-id-x2", 4: "padenet-id-x4"}


@dataclass(frozen=True, kw_only=True)
class VisionCard(Card):
    """The card of a vision model; `paoncodec.evaluation.vision_check` makes its check.

    Args:
        task: what it is for, such as "superres".
        network: by its name in the task.
        **others: those of :class:`.Card`.
    """

    task: str
    network: str

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
    cards = tuple(read_card(path, VisionCard) for path in sorted(folder().glob("*.json")))
    return tuple(card for card in cards if task in (None, card.task))


def default_vision(task: str, scale: int | None = None) -> str:
    """The name of the model that a task takes where none is named.

    Args:
        task: its name.
        scale: of super-resolution; default :data:`DEFAULT_SCALE`.

    Raises:
        UsageError: no model ships for that.
    """
    name = _ENLARGERS.get(scale or DEFAULT_SCALE) if task == "superres" else None
    if name is None:
        what = f"--task {task}" + (f" --scale {scale}" if scale else "")
        raise UsageError(f"no --model: none ships for {what}, so name one")
    return name


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
    require_weights(card, card.path)
    return card.path
