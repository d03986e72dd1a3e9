"""Plots of result files, for papers and pages: rate-distortion, savings, and what they cost.

Curves tell apart in grey too: each has a marker and a dash of its own, measured ones are heavy and
published ones thin, and a codec looks the same on every plot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

from paoncodec.errors import UsageError
from paoncodec.evaluation.bdrate import savings
from paoncodec.evaluation.curves import Curve, rate_at
from paoncodec.evaluation.results import METRICS, Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "COSTS",
    "FORMATS",
    "Style",
    "costs_plot",
    "figure_file",
    "labels",
    "rd_plot",
    "savings_plot",
    "styles",
    "without_cost",
]

#: Formats that `paoncodec plot` writes, by suffix.
FORMATS = ("png", "svg", "pdf")


@dataclass(frozen=True)
class Style:
    """How a codec is drawn: colour, dash and marker in matplotlib's words."""

    colour: str
    dash: str
    marker: str


# Colours of Okabe and Ito ("Color Universal Design", 2008), apart for every kind of sight.
_BLUE, _VERMILION, _GREEN, _PURPLE, _ORANGE, _SKY = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#A04D82",
    "#E69F00",
    "#56B4E9",
)
_BLACK, _GREY, _LIGHT = "#111111", "#6F6F6F", "#9A9A9A"

# Codecs that are drawn often: classical ones dashed, learned ones solid.
_KNOWN: Mapping[str, Style] = {
    "jpeg": Style(_LIGHT, "--", "x"),
    "jpeg2000": Style(_LIGHT, "-.", "+"),
    "webp": Style(_ORANGE, "--", "v"),
    "avif": Style(_GREEN, "--", "^"),
    "av1": Style(_GREEN, ":", "^"),
    "bpg444": Style(_SKY, "--", "<"),
    "hm": Style(_SKY, "-.", ">"),
    "vtm": Style(_BLACK, "--", "*"),
    "bmshj2018-factorized": Style(_LIGHT, "-", "1"),
    "bmshj2018-hyperprior": Style(_GREY, "-", "2"),
    "mbt2018-mean": Style(_PURPLE, ":", "p"),
    "mbt2018": Style(_PURPLE, "-", "h"),
    "cheng2020-anchor": Style(_GREY, "-", "D"),
    "cheng2020-attn": Style(_GREY, ":", "d"),
    "elic2022": Style(_GREEN, "-", "P"),
}
_OTHERS = (
    Style(_VERMILION, "-", "o"),
    Style(_BLUE, "-", "s"),
    Style(_BLACK, "-", "X"),
    Style(_ORANGE, "-", "8"),
    Style(_SKY, "-", "H"),
    Style(_PURPLE, "--", "o"),
    Style(_VERMILION, "--", "s"),
)

#: What a codec can cost: its key → (axis, the costs of a result's points, None where unknown).
COSTS: Mapping[str, tuple[str, Callable[[Result], Sequence[float | None]]]] = {
    "decoding-time": (
        "Decoding, seconds per picture",
        lambda result: result.figures.get("decoding_time", ()),
    ),
    "encoding-time": (
        "Encoding, seconds per picture",
        lambda result: result.figures.get("encoding_time", ()),
    ),
    "kmac": (
        "Decoder, kMAC per pixel",
        lambda result: [_decoder_kmac(result)] * len(result.figures["bpp"]),
    ),
}


def _decoder_kmac(result: Result) -> float | None:
    """Of a result file that says it; docs/evaluation.md, "Schema"."""
    complexity: Mapping[str, Any] = result.content.get("complexity") or {}
    kmac: float | None = complexity.get("decoder_kmac_per_pixel")
    return kmac


def styles(names: Sequence[str]) -> list[Style]:
    """A style for each name: a known codec's own, and for others one after another."""
    free = iter(_OTHERS * (1 + len(names) // len(_OTHERS)))
    return [_KNOWN.get(name) or next(free) for name in names]


def labels(results: Sequence[Result]) -> list[str]:
    """Names for a legend: those of published curves say so where a measured one is there too."""
    measured = {result.name for result in results if result.is_measured}
    return [
        f"{result.name} (published)"
        if result.name in measured and not result.is_measured
        else result.name
        for result in results
    ]


def rd_plot(
    results: Sequence[Result], metric: str, picture_format: str, title: str | None = None
) -> bytes:
    """Quality over rate, as a picture file.

    The axes show the curves of models whole; those of classical codecs and published ones are cut
    where they go far beyond them.

    Args:
        results: the curves, at least one.
        metric: one of `METRICS`.
        picture_format: one of `FORMATS`.
        title: above it.

    Raises:
        UsageError: a result lacks the metric, or another format.
    """
    curves = [result.curve(metric) for result in results]
    with _axes(picture_format, title) as (axes, content):
        looks = zip(results, _styles_of(results), labels(results), curves, strict=True)
        for result, style, label, curve in looks:
            # Models are what a plot is about: peers must not cover them.
            depth = 2.0 + result.is_measured + result.is_model
            line = _line(style, result.is_measured)
            axes.plot(curve.rates, curve.levels, label=label, zorder=depth, **line)
        _fit(axes, results, curves)
        axes.set_xlabel("Rate, bits per pixel")
        axes.set_ylabel(METRICS[metric])
        axes.legend(loc="lower right")
    return content.getvalue()


def savings_plot(
    results: Sequence[Result],
    anchor: Result,
    metric: str,
    picture_format: str,
    title: str | None = None,
) -> bytes:
    """The rate that each codec saves against an anchor, over quality: the paper's figures 6b, 7b.

    Args:
        results: the codecs.
        anchor: what they are compared with, drawn as the line at 0.
        metric, picture_format, title: as for `rd_plot`.

    Raises:
        UsageError: as `rd_plot`, or curves that do not rise or do not overlap.
    """
    with _axes(picture_format, title) as (axes, content):
        axes.axhline(0, color=_GREY, linewidth=1)
        for result, style, label in zip(results, _styles_of(results), labels(results), strict=True):
            curve, reference = result.curve(metric), anchor.curve(metric)
            line = _line(style, result.is_measured)
            axes.plot(*savings(curve, reference), **{**line, "marker": ""})
            # Marks where the codec was measured; between them the curves are interpolated.
            axes.plot(*_measured_savings(curve, reference), **{**line, "linestyle": ""})
            axes.plot([], [], label=label, **line)
        axes.set_xlabel(METRICS[metric])
        axes.set_ylabel(f"Rate saved against {anchor.name}, %")
        axes.legend(loc="best")
    return content.getvalue()


def costs_plot(
    results: Sequence[Result],
    anchor: Result,
    cost: str,
    metric: str,
    picture_format: str,
    title: str | None = None,
) -> bytes:
    """What each codec saves against an anchor over what it costs, a mark for each point.

    Args:
        results: the codecs.
        anchor: the rate at equal quality is compared with its curve.
        cost: one of `COSTS`.
        metric, picture_format, title: as for `rd_plot`.

    Raises:
        UsageError: as `rd_plot`, or nothing to show.
    """
    axis, costs_of = COSTS[cost]
    drawn = 0
    with _axes(picture_format, title) as (axes, content):
        axes.axhline(0, color=_GREY, linewidth=1)
        for result, style, label in zip(results, _styles_of(results), labels(results), strict=True):
            marks = list(_marks(result, anchor, costs_of(result), metric))
            if marks:
                x, y = zip(*marks, strict=True)
                axes.plot(
                    x, y, label=label, **{**_line(style, result.is_measured), "linestyle": ""}
                )
                drawn += len(marks)
        if not drawn:
            raise UsageError(
                f"no result has {cost} at a quality that {anchor.name} reaches: "
                "measure them, or choose another --cost or --anchor"
            )
        axes.set_xscale("log")
        axes.set_xlabel(axis)
        axes.set_ylabel(f"Rate saved against {anchor.name}, %")
        axes.legend(loc="best")
    return content.getvalue()


def _measured_savings(curve: Curve, anchor: Curve) -> tuple[list[float], list[float]]:
    """Level and saving in per cent of the points whose quality the anchor reaches."""
    points = [
        (level, 100 * (1 - rate / theirs))
        for rate, level in zip(curve.rates, curve.levels, strict=True)
        if (theirs := rate_at(level, anchor))
    ]
    return [level for level, _ in points], [saved for _, saved in points]


def without_cost(results: Sequence[Result], cost: str) -> list[str]:
    """Names of the results that do not say what they cost.

    Args:
        results: of whatever codecs.
        cost: one of `COSTS`.
    """
    return [result.name for result in results if not any(COSTS[cost][1](result))]


def _marks(
    result: Result, anchor: Result, costs: Sequence[float | None], metric: str
) -> Iterator[tuple[float, float]]:
    """(cost, saving in per cent) of each point that has a cost and a quality of the anchor's."""
    curve, reference = result.curve(metric), anchor.curve(metric)
    for rate, level, price in zip(curve.rates, curve.levels, costs, strict=False):
        theirs = rate_at(level, reference)
        if price and theirs:
            yield price, 100 * (1 - rate / theirs)


def _styles_of(results: Sequence[Result]) -> list[Style]:
    return styles([result.name for result in results])


def _line(style: Style, measured: bool) -> dict[str, Any]:
    return {
        "color": style.colour,
        "linestyle": style.dash,
        "marker": style.marker,
        "linewidth": 2.0 if measured else 1.1,
        "markersize": 6 if measured else 4.5,
    }


def _fit(axes: Axes, results: Sequence[Result], curves: Sequence[Curve]) -> None:
    """Limits on what matters most: measured models, else whatever was measured, else all."""
    pairs = list(zip(results, curves, strict=True))
    measured = [curve for result, curve in pairs if result.is_measured]
    models = [curve for result, curve in pairs if result.is_model]
    shown = models or measured or list(curves)
    rates = [rate for curve in shown for rate in curve.rates]
    right = max(rates) * (1.08 if len(rates) > 1 else 2)
    levels = [
        level
        for curve in measured or shown
        for rate, level in zip(curve.rates, curve.levels, strict=True)
        if rate <= right
    ]
    margin = 0.05 * (max(levels) - min(levels)) or 4.0
    axes.set_xlim(0, right)
    axes.set_ylim(min(levels) - margin, max(levels) + margin)


@contextmanager
def _axes(picture_format: str, title: str | None) -> Iterator[tuple[Axes, BytesIO]]:
    """Axes to draw in; the finished picture is in the buffer after the block."""
    with figure_file(picture_format, (7, 4.8)) as (figure, buffer):
        axes = figure.add_subplot()
        axes.grid(True, color="#DDDDDD", linewidth=0.7)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_axisbelow(True)
        if title:
            axes.set_title(title, loc="left", fontweight="bold")
        yield axes, buffer


@contextmanager
def figure_file(
    picture_format: str, sides: tuple[float, float]
) -> Iterator[tuple[Figure, BytesIO]]:
    """An empty figure; as a file it is in the buffer after the block.

    Args:
        picture_format: one of `FORMATS`.
        sides: width and height in inches.

    Raises:
        UsageError: another format.
    """
    if picture_format not in FORMATS:
        raise UsageError(
            f"cannot write {picture_format or 'a file without suffix'!r}: choose one of "
            f"{', '.join(FORMATS)}"
        )
    # By its own canvas: pyplot would look for a screen, and keep every figure.
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    buffer = BytesIO()
    with mpl.rc_context({"font.size": 10, "svg.hashsalt": "paoncodec", "pdf.fonttype": 42}):
        figure: Figure = Figure(figsize=sides, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure, buffer
        # Without a date, so that equal results are equal files.
        metadata = {"png": None, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
        figure.savefig(buffer, format=picture_format, dpi=200, metadata=metadata[picture_format])
