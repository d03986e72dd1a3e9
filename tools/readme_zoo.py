"""Set cards and comparisons in paoncodec/zoo_data/README.md.

python tools/readme_zoo.py            all of them, from cards and docs/results/training
python tools/readme_zoo.py --check    exit 1 if one of them is stale, write nothing
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping

from _documents import settle, with_part
from compare_neurons import points_in, table
from readme_figures import card_section
from readme_kodak import ANCHOR, RESULTS, codec_table

from paoncodec import zoo
from paoncodec.evaluation.results import load_result

DOCUMENT = zoo.FOLDER / "README.md"
TRAINING = RESULTS / "training"


def cards() -> str:
    """A section for all weights of codecs."""
    return "\n".join(f"### {card.name}\n\n{card_section(card)}" for card in zoo.list_cards())


def equal_time() -> str:
    """MBT-Paon and ELIC-Paon after the same time of training."""
    mbt, elic = (load_result(TRAINING / f"{name}-paon.json") for name in ("mbt", "elic"))
    return codec_table([mbt, elic], load_result(RESULTS / f"{ANCHOR}.json"), [elic]) + "\n"


def neurons() -> str:
    """Convolutions with GDN, Padé layers with GDN, and Padé layers alone."""
    return table(points_in(TRAINING / "neurons.json")) + "\n"


def longer() -> str:
    """Convolutions with GDN in the time of the Padé layers."""
    return table(points_in(TRAINING / "neurons-longer.json")) + "\n"


def blocks() -> str:
    """ELIC of convolutions with three residual blocks beside ELIC-Paon with one."""
    return table(points_in(TRAINING / "blocks.json")) + "\n"


#: What the document's parts are made by.
PARTS: Mapping[str, Callable[[], str]] = {
    "cards": cards,
    "equal-time": equal_time,
    "neurons": neurons,
    "neurons-longer": longer,
    "blocks": blocks,
}


def main() -> int:
    """The exit code: 0 if the document is, or has been made, up to date."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 if stale")
    arguments = parser.parse_args()
    text = DOCUMENT.read_text(encoding="utf-8")
    for name, content in PARTS.items():
        text = with_part(text, name, content())
    return settle(DOCUMENT, text, arguments.check)


if __name__ == "__main__":
    sys.exit(main())
