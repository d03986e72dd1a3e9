"""A report of result files: one HTML file that needs no network and nothing beside it.

`build` puts what `content` and `pictures` make of the results into `page.html`, with `style.css`
and the scripts inside.
"""

from __future__ import annotations

import json
from html import escape
from pathlib import Path

from paoncodec.evaluation.report.content import Choice, content
from paoncodec.evaluation.results import Result

__all__ = ["Choice", "build"]

_FOLDER = Path(__file__).parent
_SCRIPTS = ("common.js", "chart.js", "compare.js", "tables.js")


def build(results: list[Result], choice: Choice | None = None) -> str:
    """The page.

    Args:
        results: files of `paoncodec eval`, and published curves beside them; at least one.
        choice: what to show of them.

    Raises:
        UsageError: a result without PSNR, a reference or quality that is not there.
    """
    choice = choice or Choice()
    found = content(results, choice)
    # "</script>" in a name must not end the script that holds the data.
    data = json.dumps(found, ensure_ascii=False, allow_nan=False).replace("</", "<\\/")
    page = _part("page.html")
    for mark, text in {
        "title": escape(choice.title),
        "style": _part("style.css"),
        "script": "\n".join(map(_part, _SCRIPTS)),
        "data": data,  # last: nothing in it is a mark any more
    }.items():
        page = page.replace("{{" + mark + "}}", text, 1)
    return page


def _part(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")
