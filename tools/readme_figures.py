"""Keep the results of the default weights in README.md equal to their card.

python tools/readme_figures.py            rewrite it
python tools/readme_figures.py --check    exit 1 if it is stale, write nothing
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from _documents import markdown_table, settle, with_part

from paoncodec.api import DEFAULT_MODEL
from paoncodec.errors import WeightsError
from paoncodec.zoo import WeightsCard, resolve

DOCUMENT = Path(__file__).resolve().parents[1] / "README.md"
_FIGURES = {"images": "pictures", "bytes": "bytes in all", "bpp": "bpp", "psnr": "PSNR, dB"}
_GAINS = {"jpeg_gain_db": "dB over JPEG", "webp_gain_db": "dB over WebP"}


def card_section(card: WeightsCard) -> str:
    """What weights are, what they came to, and the commands that say so again."""
    columns = {**_FIGURES, **_GAINS}
    rows = [
        [name, *(_number(key, figures) for key in columns)]
        for name, figures in card.results.items()
    ]
    table = markdown_table(["set", *columns.values()], rows)
    return (
        f"`{card.name}`, {_rates(card)}, {card.steps} steps ({card.minutes:.0f} minutes) on "
        f"{card.data}:\n\n{table}\n\nTrained and measured by\n\n"
        f"```\n{card.command}\n{card.measured_by}\n```\n"
        + (f"\n{card.note}\n" if card.note else "")
    )


def _rates(card: WeightsCard) -> str:
    if card.lmbda is not None:
        return f"λ = {card.lmbda:g}"
    (quality,) = {figures["quality"] for figures in card.results.values()}
    return f"one network for all qualities (here at {quality:g})"


def _number(key: str, figures: Mapping[str, float]) -> str:
    if key not in figures:
        return "–"
    if key in ("images", "bytes"):
        return str(int(figures[key]))
    sign = "+" if key in _GAINS else ""
    return f"{figures[key]:{sign}.{3 if key == 'bpp' else 2}f}"


def main() -> int:
    """The exit code: 0 if the document is, or has been made, up to date."""
    parser = argparse.ArgumentParser(description="Refresh the results in the README.")
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 if stale")
    arguments = parser.parse_args()
    card = resolve(DEFAULT_MODEL).card
    if card is None:
        raise WeightsError(f"{DEFAULT_MODEL}: the default weights have no card")
    fresh = with_part(DOCUMENT.read_text(encoding="utf-8"), "figures", card_section(card))
    return settle(DOCUMENT, fresh, arguments.check)


if __name__ == "__main__":
    sys.exit(main())
