"""Set the comparison of recipes in paoncodec/codecs/presets/README.md.

python tools/readme_recipes.py            from docs/results/training/recipes.json
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
RESULTS = ROOT / "docs" / "results" / "training" / "recipes.json"


def main() -> int:
    """The exit code: 0 if the document is, or has been made, up to date."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 if stale")
    arguments = parser.parse_args()
    rows = table(Found.read(RESULTS))
    text = DOCUMENT.read_text(encoding="utf-8")
    return settle(DOCUMENT, with_part(text, "trials", rows + "\n"), arguments.check)


if __name__ == "__main__":
    sys.exit(main())
