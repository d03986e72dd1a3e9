"""Set the comparisons of recipes in paoncodec/codecs/presets/README.md.

python tools/readme_recipes.py            from docs/results/training
python tools/readme_recipes.py --check    exit 1 if it is stale, write nothing
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from _documents import settle, with_part
from compare_recipes import Found, table

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "paoncodec" / "codecs" / "presets" / "README.md"
RESULTS = ROOT / "docs" / "results" / "training"
#: Part of the document → file of what is in it.
PARTS = {"trials": "recipes.json", "precisions": "precisions.json"}


def main() -> int:
    """The exit code: 0 if the document is, or has been made, up to date."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 if stale")
    arguments = parser.parse_args()
    text = DOCUMENT.read_text(encoding="utf-8")
    for part, file in PARTS.items():
        text = with_part(text, part, table(Found.read(RESULTS / file)) + "\n")
    return settle(DOCUMENT, text, arguments.check)


if __name__ == "__main__":
    sys.exit(main())
