"""Keep the tables in docs/format.md equal to the definition in paoncodec.bitstream.header.

python tools/format_table.py            rewrite them
python tools/format_table.py --check    exit 1 if they are stale, write nothing
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from _documents import markdown_table, settle, with_part

from paoncodec.bitstream.fields import Field
from paoncodec.bitstream.header import FIELDS, SECTION_FIELDS

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "format.md"


def table(fields: Sequence[Field]) -> str:
    """Return a Markdown table with a row for each field."""
    head = ["field", "layout", "legal values", "meaning", "since version"]
    rows = [[f"`{f.name}`", f.codec.layout, f.codec.legal, f.meaning, str(f.since)] for f in fields]
    return markdown_table(head, rows)


def refreshed(text: str) -> str:
    """Return the document with new tables; ValueError if a marker is missing."""
    entries = f"Each entry of `sections`:\n\n{table(SECTION_FIELDS)}\n"
    return with_part(text, "fields", f"{table(FIELDS)}\n\n{entries}")


def main() -> int:
    """Return the exit code: 0 if the document is, or has been made, up to date."""
    parser = argparse.ArgumentParser(description="Refresh the field tables of the format document.")
    parser.add_argument("document", nargs="?", type=Path, default=DOCUMENT)
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 if stale")
    arguments = parser.parse_args()
    fresh = refreshed(arguments.document.read_text(encoding="utf-8"))
    return settle(arguments.document, fresh, arguments.check)


if __name__ == "__main__":
    sys.exit(main())
