"""Keep the table of results in README.md equal to the cards of the zoo.

python tools/readme_figures.py            rewrite it
python tools/readme_figures.py --check    exit 1 if it is stale, write nothing
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from paoncodec.api import DEFAULT_MODEL
from paoncodec.zoo import WeightsCard, list_cards

DOCUMENT = Path(__file__).resolve().parents[1] / "README.md"
BEGIN = "<!-- figures -->\n"
END = "<!-- /figures -->\n"
_FIGURES = {"images": "pictures", "bytes": "bytes in all", "bpp": "bpp", "psnr": "PSNR, dB"}
_GAINS = {"jpeg_gain_db": "dB over JPEG", "webp_gain_db": "dB over WebP"}


def refreshed(text: str, cards: Sequence[WeightsCard]) -> str:
    """The document with the cards' figures; ValueError if a marker is missing."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"markers {BEGIN.strip()} and {END.strip()} must both be there, in order")
    default_first = sorted(cards, key=lambda card: card.name != DEFAULT_MODEL)
    content = "\n".join(_section(card) for card in default_first)
    return f"{before}{BEGIN}{content}{END}{after}"


def _section(card: WeightsCard) -> str:
    columns = {**_FIGURES, **_GAINS}
    rows = [
        f"| {' | '.join(['set', *columns.values()])} |",
        f"|{' --- |' * (len(columns) + 1)}",
        *(
            f"| {' | '.join([name, *(_number(key, figures) for key in columns)])} |"
            for name, figures in card.results.items()
        ),
    ]
    return (
        f"`{card.name}`, {_rates(card)}, {card.steps} steps ({card.minutes:.0f} minutes) on "
        f"{card.data}:\n\n" + "\n".join(rows) + "\n\nTrained and measured by\n\n"
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
    text = DOCUMENT.read_text(encoding="utf-8")
    fresh = refreshed(text, list_cards())
    if fresh == text:
        return 0
    if arguments.check:
        print(f"{DOCUMENT.name}: stale, run tools/readme_figures.py", file=sys.stderr)
        return 1
    DOCUMENT.write_text(fresh, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
