"""What several of the maintainers' scripts need: cards, whole files, errors in a line."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from paoncodec.errors import PaonError, UsageError
from paoncodec.training import RunDirectory
from paoncodec.vision_zoo import VisionCard
from paoncodec.zoo import WeightsCard


def write_card(card: WeightsCard | VisionCard, folder: Path) -> None:
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
