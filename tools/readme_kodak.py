"""Set what was measured on Kodak in README.md, as a table and a plot.

    make kodak KODAK=DIR                     measure, then both
    python tools/readme_kodak.py             both, from the result files of docs/results
    python tools/readme_kodak.py --check     exit 1 if the table is stale, write nothing

Models and classical codecs are those that have a result file, published curves those that the plot
names. Rates of all are compared with Pillow's JPEG, and with WebP.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from paoncodec.errors import UsageError
from paoncodec.evaluation.anchors import anchor_file
from paoncodec.evaluation.bdrate import METHODS, compare
from paoncodec.evaluation.plots import rd_plot
from paoncodec.evaluation.results import Result, load_result

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "README.md"
RESULTS = ROOT / "docs" / "results"
PLOT = ROOT / "docs" / "images" / "kodak.png"
BEGIN = "<!-- kodak -->\n"
END = "<!-- /kodak -->\n"
#: What the codecs are held against.
ANCHORS = ("jpeg", "webp")
#: Published curves that stand beside what was measured.
PUBLISHED = ("mbt2018", "elic2022", "vtm")


def section(measured: Sequence[Result], published: Sequence[Result]) -> str:
    """Two tables: all codecs, and the points of the models.

    Raises:
        UsageError: an anchor was not measured, or curves cannot be compared.
    """
    by_name = {result.name: result for result in measured}
    missing = [name for name in ANCHORS if name not in by_name]
    if missing:
        raise UsageError(f"no result file of {', '.join(missing)}: measure these first")
    anchors = [by_name[name] for name in ANCHORS]
    models = [result for result in measured if result.is_model]
    others = [result for result in measured if not result.is_model]
    head = ["codec", *(f"BD-rate to {name}" for name in ANCHORS), "encode, s", "decode, s"]
    rows = [_codec_row(result, anchors) for result in (*models, *others, *published)]
    tables = [_table(head, rows)]
    for model in models:
        tables.append(f"`{model.name}`, point by point:\n\n{_points(model)}")
    return "\n\n".join(tables) + "\n"


def _codec_row(result: Result, anchors: Sequence[Result]) -> list[str]:
    name = f"`{result.name}`" if result.is_model else result.name
    rates = [_bd_rate(result, anchor) for anchor in anchors]
    if not result.is_measured:
        return [f"{name}, published", *rates, "–", "–"]
    return [name, *rates, _middle(result, "encoding_time"), _middle(result, "decoding_time")]


def _bd_rate(result: Result, anchor: Result) -> str:
    if result is anchor:
        return "0"
    comparison = compare(result, anchor)
    text = f"{comparison.rate[METHODS[0]]:+.1f} %"
    spread = comparison.by_image
    return f"{text} (pictures {spread.mean:+.1f} ± {spread.deviation:.1f})" if spread else text


def _middle(result: Result, figure: str) -> str:
    """Of the curve's middle point: that of the lowest or highest quality is nobody's."""
    values = result.figures[figure]
    return f"{values[len(values) // 2]:.2f}"


def _points(model: Result) -> str:
    head = [
        "quality",
        "bytes a picture",
        "bpp",
        "PSNR, dB",
        "MS-SSIM, dB",
        "encode, s",
        "decode, s",
    ]
    keys = ("quality", "bytes", "bpp", "psnr-rgb", "ms-ssim-rgb-db", "encoding_time")
    digits = ("g", ".0f", ".3f", ".2f", ".2f", ".2f", ".2f")
    columns = [model.figures[key] for key in (*keys, "decoding_time")]
    rows = [
        [format(value, spec) for value, spec in zip(point, digits, strict=True)]
        for point in zip(*columns, strict=True)
    ]
    return _table(head, rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def refreshed(text: str, content: str) -> str:
    """The document with the tables; ValueError if a marker is missing."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"markers {BEGIN.strip()} and {END.strip()} must both be there, in order")
    return f"{before}{BEGIN}{content}{END}{after}"


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 if the document is, or has been made, up to date."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 if stale")
    arguments = parser.parse_args(argv)
    measured = [load_result(path) for path in sorted(RESULTS.glob("*.json"))]
    published = [load_result(anchor_file(name)) for name in PUBLISHED]
    text = DOCUMENT.read_text(encoding="utf-8")
    fresh = refreshed(text, section(measured, published))
    if arguments.check:
        if fresh == text:
            return 0
        print(f"{DOCUMENT.name}: stale, run tools/readme_kodak.py", file=sys.stderr)
        return 1
    DOCUMENT.write_text(fresh, encoding="utf-8")
    PLOT.write_bytes(rd_plot([*measured, *published], "psnr", "png", "Kodak, 24 pictures"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
