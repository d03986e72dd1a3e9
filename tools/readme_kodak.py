"""Set what was measured on Kodak in README.md, as a table and a plot.

    make kodak KODAK=DIR                     measure, then both
    python tools/readme_kodak.py             both, from the result files of docs/results
    python tools/readme_kodak.py --check     exit 1 if one of them is stale, write nothing

Models and classical codecs are those that have a result file, published curves those that the plot
names. Codecs are compared where all of them are: at one PSNR, and over the range of PSNR that all
curves cover.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from _documents import markdown_table, settle, with_part
from PIL import Image, PngImagePlugin

from paoncodec.errors import UsageError
from paoncodec.evaluation.anchors import anchor_file
from paoncodec.evaluation.bdrate import bd_rate
from paoncodec.evaluation.curves import Curve, rate_at
from paoncodec.evaluation.plots import rd_plot
from paoncodec.evaluation.results import Result, load_result

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "README.md"
RESULTS = ROOT / "docs" / "results"
PLOT = ROOT / "docs" / "images" / "kodak.png"
#: What all rates are held against.
ANCHOR = "jpeg"
#: Published curves that stand beside what was measured.
PUBLISHED = ("mbt2018", "elic2022", "vtm")
#: Where bytes and times are compared, dB.
LEVEL = 32.0
#: Points that a curve is sampled at within the common range: PCHIP through them is the curve.
_SAMPLES = 64
#: The text in the plot's file that names what it was drawn of.
_SOURCES = "Results"


def section(measured: Sequence[Result], published: Sequence[Result]) -> str:
    """Two tables: all codecs, and the points of the models.

    Raises:
        UsageError: JPEG or a model was not measured, pictures failed, the results are of different
            ones, or their curves have no range of quality in common.
    """
    models = [result for result in measured if result.is_model]
    others = [result for result in measured if not result.is_model]
    anchor = next((result for result in others if result.name == ANCHOR), None)
    if anchor is None or not models:
        raise UsageError(f"no result file of {ANCHOR if anchor is None else 'a model'}: measure it")
    tables = [codec_table([*models, *others, *published], anchor, models)]
    for model in models:
        tables.append(f"`{model.name}`, point by point:\n\n{_points(model)}")
    return "\n\n".join(tables) + "\n"


def codec_table(results: Sequence[Result], anchor: Result, models: Sequence[Result]) -> str:
    """A line a codec: bytes, times, BD-rate to the anchor, and that of each model to it.

    Raises:
        UsageError: pictures failed, the results are of different ones, or their curves have no
            range of quality in common.
    """
    for result in results:
        if not anchor.has_pictures_of(result):
            raise UsageError(f"{result.path}: of other pictures than {anchor.path}")
        if result.content.get("failures"):
            raise UsageError(f"{result.path}: of a run in which pictures failed: measure it again")
    low, high = limits = common_range(results)
    head = ["codec", f"bytes at {LEVEL:g} dB", "encode, ms", "decode, ms"]
    head += [f"BD-rate to {anchor.name}", *(f"BD-rate of `{m.name}` to it" for m in models)]
    rows = [_codec_row(result, anchor, models, limits) for result in results]
    text = f"BD-rates over {low:.2f} to {high:.2f} dB, which all curves cover:\n\n"
    return text + markdown_table(head, rows)


def common_range(results: Sequence[Result]) -> tuple[float, float]:
    """Lowest and highest PSNR that all curves cover.

    Raises:
        UsageError: there is none.
    """
    curves = [result.curve("psnr") for result in results]
    low = max(min(curve.levels) for curve in curves)
    high = min(max(curve.levels) for curve in curves)
    if not low < high:
        raise UsageError("the curves have no range of PSNR in common: measure other qualities")
    return low, high


def _codec_row(
    result: Result, anchor: Result, models: Sequence[Result], limits: tuple[float, float]
) -> list[str]:
    name = f"`{result.name}`" if result.is_model else result.name
    if not result.is_measured:
        name += ", published"
    pairs = [(result, anchor), *((model, result) for model in models)]
    rates = [_bd_rate(test, other, limits) for test, other in pairs]
    return [name, _bytes(result), *_times(result), *rates]


def _bd_rate(test: Result, anchor: Result, limits: tuple[float, float]) -> str:
    if test is anchor:
        return "–"
    ours, theirs = (_within(result.curve("psnr"), limits) for result in (test, anchor))
    return f"{bd_rate(ours, theirs):+.1f} %"


def _within(curve: Curve, limits: tuple[float, float]) -> Curve:
    """The part of a curve between two levels that it reaches, as points of PCHIP through it."""
    low, high = limits
    steps = range(_SAMPLES - 1)
    levels = [*(low + (high - low) * step / (_SAMPLES - 1) for step in steps), high]
    found = [(rate_at(level, curve), level) for level in levels]
    points = [(rate, level) for rate, level in found if rate is not None]
    return replace(curve, rates=[p[0] for p in points], levels=[p[1] for p in points])


def _bytes(result: Result) -> str:
    """Of a picture's file where the curve reaches the level; published curves have no files."""
    figures = result.figures
    if "bytes" not in figures:
        return "–"
    size = rate_at(LEVEL, replace(result.curve("psnr"), rates=figures["bytes"]))
    return "–" if size is None else f"{size:.0f}"


def _times(result: Result) -> list[str]:
    """Milliseconds to encode and to decode at the point that is nearest to the level."""
    if not result.is_measured:
        return ["–", "–"]
    distances = [abs(level - LEVEL) for level in result.curve("psnr").levels]
    nearest = distances.index(min(distances))
    keys = ("encoding_time", "decoding_time")
    times = [1000 * result.figures[key][nearest] for key in keys]
    return [f"{time:.1f}" if time < 10 else f"{time:.0f}" for time in times]


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
    return markdown_table(head, rows)


def plot_of(results: Sequence[Result]) -> bytes:
    """The plot as a PNG, which says by a digest what it was drawn of."""
    title = f"Kodak, {results[0].picture_count} pictures"
    about = PngImagePlugin.PngInfo()
    about.add_text(_SOURCES, _digest(results))
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(rd_plot(results, "psnr", "png", title))) as picture:
        picture.save(buffer, "png", pnginfo=about, optimize=True)
    return buffer.getvalue()


def is_drawn_of(plot: Path, results: Sequence[Result]) -> bool:
    """Whether a plot is there, and of these results."""
    if not plot.exists():
        return False
    with Image.open(plot) as picture:
        return bool(picture.info.get(_SOURCES) == _digest(results))


def _digest(results: Sequence[Result]) -> str:
    return sha256("".join(result.sha256 for result in results).encode()).hexdigest()


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 if the document and its plot are, or have been made, up to date."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 if stale")
    arguments = parser.parse_args(argv)
    measured = [load_result(path) for path in sorted(RESULTS.glob("*.json"))]
    published = [load_result(anchor_file(name)) for name in PUBLISHED]
    everything = [*measured, *published]
    text = DOCUMENT.read_text(encoding="utf-8")
    fresh = with_part(text, "kodak", section(measured, published))
    code = settle(DOCUMENT, fresh, arguments.check)
    if is_drawn_of(PLOT, everything):
        return code
    if arguments.check:
        print(f"{PLOT}: stale, run {sys.argv[0]}", file=sys.stderr)
        return 1
    PLOT.write_bytes(plot_of(everything))
    return code


if __name__ == "__main__":
    sys.exit(main())
