"""What several of the maintainers' scripts need: cards, whole files, errors in a line."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from paoncodec import zoo
from paoncodec.cards import Card
from paoncodec.errors import PaonError, UsageError
from paoncodec.training import RunDirectory


def shipping_parser(description: str | None) -> argparse.ArgumentParser:
    """The words that putting any weights into the package takes."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="directory of a training run")
    parser.add_argument("--name", required=True, help="of the weights from now on")
    parser.add_argument("--data-note", required=True, help="what they were trained on, in words")
    parser.add_argument("--licence", default="BSD-3-Clause", help="of the weights (%(default)s)")
    parser.add_argument("--command", help="that trained them, if the run's settings do not tell")
    parser.add_argument("--note", default="", help="what the card should add")
    parser.add_argument("--folder", type=Path, default=zoo.FOLDER, help="of the zoo (%(default)s)")
    parser.add_argument("--force", action="store_true", help="replace weights of that name")
    return parser


@dataclass(frozen=True)
class Shipment:
    """What is put into a zoo, and what its card says of it.

    Attributes:
        run: directory of the training run.
        folder: of the zoo.
        name: of the weights from now on, 1 to 32 of [a-z0-9._-].
        data: what they were trained on, in words.
        licence: of the weights.
        command: that trained them; None: made from the run's settings.
        note: what the card should add, such as changes made while the run was under way.
        force: replace weights of that name.
    """

    run: Path
    folder: Path
    name: str
    data: str
    licence: str
    command: str | None = None
    note: str = ""
    force: bool = False

    @classmethod
    def of(cls, words: argparse.Namespace) -> Shipment:
        """What :func:`shipping_parser` has read."""
        return cls(
            words.run,
            words.folder,
            words.name,
            words.data_note,
            words.licence,
            words.command,
            words.note,
            words.force,
        )


def settings_of_run(directory: RunDirectory) -> dict[str, Any]:
    """What the run was begun with.

    Raises:
        UsageError: the directory holds no run.
    """
    settings = directory.load_config()
    if settings is None:
        raise UsageError(f"{directory.path}: holds no run (config.json); give a run's directory")
    return settings


def say_shipped(card: Card, weights: Path) -> None:
    """A line about what is there now."""
    size = weights.stat().st_size
    print(f"{card.name}: {size} bytes, SHA-256 {card.sha256}, step {card.steps}")


def write_card(card: Card, folder: Path) -> None:
    """Write `<name>.json` into a zoo's folder."""
    text = json.dumps(asdict(card), indent=2, ensure_ascii=False) + "\n"
    write_whole(folder / f"{card.name}.json", text.encode())


def write_whole(path: Path, content: bytes) -> None:
    """Write beside `path`, then rename: a crash leaves the old file or the new one."""
    beside = path.with_name(f".{path.name}.part")
    beside.write_bytes(content)
    beside.replace(path)


def best_validation(directory: RunDirectory, saved: str) -> dict[str, Any]:
    """The record of the best validation, which must be that of the best weights.

    Raises:
        UsageError: the run has not validated, or file and metrics disagree.
    """
    validations = [
        record
        for record in directory.records()
        if record.get("validation_loss") is not None  # null stands for one that is not finite
    ]
    if not validations:
        raise UsageError(f"{directory.metrics_file}: no validation yet; let the run go on")
    best = min(validations, key=lambda record: record["validation_loss"])
    if best["step"] != int(saved):
        raise UsageError(
            f"{directory.weights_file('best')} is of step {saved}, the best validation of "
            f"{directory.metrics_file} of step {best['step']}: these are not files of one run"
        )
    return best


def run(main: Callable[[], None]) -> None:
    """Run a script; an error that paoncodec raises on purpose becomes its line and exit code."""
    try:
        main()
    except PaonError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
