"""Keep the tables in docs/format.md equal to the definition in paoncodec.bitstream.header.

python tools/format_table.py            rewrite them
python tools/format_table.py --check    exit 1 if they are stale, write nothing
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from paoncodec.bitstream.fields import Field
from paoncodec.bitstream.header import FIELDS, SECTION_FIELDS

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "format.md"
BEGIN = "<!-- fields: begin -->\n"
END = "<!-- fields: end -->\n"


def table(fields: Sequence[Field]) -> str:
    """Return a Markdown table with a row for each field."""
    rows = [("field", "layout", "legal values", "meaning", "since version"), ("---",) * 5]
    for field in fields:
        codec = field.codec
        row = (f"`{field.name}`", codec.layout, codec.legal, field.meaning, str(field.since))
        rows.append(row)
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def refreshed(text: str) -> str:
    """Return the document with new tables; ValueError if a marker is missing."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"markers {BEGIN.strip()} and {END.strip()} must both be there, in order")
    entries = f"Each entry of `sections`:\n\n{table(SECTION_FIELDS)}"
    return f"{before}{BEGIN}{table(FIELDS)}\n{entries}{END}{after}"


def main() -> int:
    """Return the exit code: 0 if the document is, or has been made, up to date."""
    parser = argparse.ArgumentParser(description="Refresh the field tables of the format document.")
    parser.add_argument("document", nargs="?", type=Path, default=DOCUMENT)
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 if stale")
    arguments = parser.parse_args()
    text = arguments.document.read_text(encoding="utf-8")
    fresh = refreshed(text)
    if fresh == text:
        return 0
    if arguments.check:
        print(f"{arguments.document}: stale, run tools/format_table.py", file=sys.stderr)
        return 1
    arguments.document.write_text(fresh, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
