"""What several of the maintainers' scripts need: cards, whole files, errors in a line."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from paoncodec.errors import PaonError
from paoncodec.zoo import WeightsCard


def write_card(card: WeightsCard, folder: Path) -> None:
    """Write `<name>.json` into a zoo's folder."""
    text = json.dumps(asdict(card), indent=2, ensure_ascii=False) + "\n"
    write_whole(folder / f"{card.name}.json", text.encode())


def write_whole(path: Path, content: bytes) -> None:
    """Write beside `path`, then rename: a crash leaves the old file or the new one."""
    beside = path.with_name(f".{path.name}.part")
    beside.write_bytes(content)
    beside.replace(path)


def run(main: Callable[[], None]) -> None:
    """Run a script; an error that paoncodec raises on purpose becomes its line and exit code."""
    try:
        main()
    except PaonError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
