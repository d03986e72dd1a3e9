"""Tables in Markdown, and the parts of documents that are made from what was measured.

Such a part stands between two comments, `<!-- name -->` and `<!-- /name -->`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lines of a table, the last without its end."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def with_part(text: str, name: str, content: str) -> str:
    """The document with other content in its part of that name.

    Raises:
        ValueError: a marker is missing.
    """
    opening, closing = f"<!-- {name} -->\n", f"<!-- /{name} -->\n"
    before, begin, rest = text.partition(opening)
    _, end, after = rest.partition(closing)
    if not (begin and end):
        raise ValueError(
            f"markers {opening.strip()} and {closing.strip()} must both be there, in order"
        )
    return f"{before}{begin}{content}{end}{after}"


def settle(document: Path, fresh: str, check: bool) -> int:
    """Writes the document if it is stale or, to check it, says on stderr that it is.

    Returns:
        The exit code of a script that does nothing else.
    """
    if fresh == document.read_text(encoding="utf-8"):
        return 0
    if check:
        print(f"{document}: stale, run {sys.argv[0]}", file=sys.stderr)
        return 1
    document.write_text(fresh, encoding="utf-8")
    return 0
