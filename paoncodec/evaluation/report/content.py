"""What a report shows, as one object of JSON types that its script draws."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from paoncodec import __version__
from paoncodec.errors import UsageError
from paoncodec.evaluation.bdrate import bd_rate, savings
from paoncodec.evaluation.curves import Curve, rate_at
from paoncodec.evaluation.plots import labels, styles
from paoncodec.evaluation.report.pictures import Gallery, gallery
from paoncodec.evaluation.results import METRICS, Result

__all__ = ["Choice", "content"]

# Figure of a row or point → what the page calls it.
_FIGURES = {
    "bytes": "bytes",
    "bpp": "bpp",
    "psnr-rgb": "psnr",
    "ms-ssim-rgb-db": "ms-ssim",
    "lpips": "lpips",
    "encoding_time": "encode",
    "decoding_time": "decode",
}


@dataclass(frozen=True)
class Choice:
    """What to show.

    Args:
        title: of the page.
        reference: name of the codec that rates are compared with; default: the first published
            curve, else JPEG, else the first codec that is no model.
        quality: of the first model, for the pictures; default: the middle of its qualities.
        pictures: most pictures to show.
        megabytes: most that they may take on the page.
        command: that makes the page, for the record.
    """

    title: str = "paoncodec report"
    reference: str | None = None
    quality: float | None = None
    pictures: int = 8
    megabytes: float = 16.0
    command: Sequence[str] = ()


def content(results: Sequence[Result], choice: Choice) -> dict[str, Any]:
    """Everything on the page; arguments and errors as for `report.build`."""
    if not results:
        raise UsageError("nothing to report: no result file was given")
    # Models first: they are what a report is about.
    order = sorted(results, key=lambda r: (not r.is_model, not r.is_measured))
    names = labels(order)
    reference = _reference(order, names, choice.reference)
    looks = styles([result.name for result in order])
    shown: Gallery = gallery(order, choice.quality, choice.pictures, choice.megabytes)
    return {
        "title": choice.title,
        "made": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "version": __version__,
        "command": shlex.join(choice.command),
        "datasets": sorted({result.dataset for result in order if result.dataset}),
        "elsewhere": [
            name
            for result, name in zip(order, names, strict=True)
            if not order[0].has_pictures_of(result)
        ],
        "metrics": [
            {"key": key, "axis": axis}
            for key, axis in METRICS.items()
            if any(result.has(key) for result in order)
        ],
        "reference": None if reference is None else names[order.index(reference)],
        "codecs": [
            {
                "name": name,
                "description": result.description,
                "kind": "model" if result.is_model else "peer" if result.is_measured else "anchor",
                "colour": look.colour,
                "dash": look.dash,
                "marker": look.marker,
                **_codec(result, reference),
            }
            for result, name, look in zip(order, names, looks, strict=True)
        ],
        "rows": [row for i, result in enumerate(order) for row in _rows(i, result, reference)],
        "gallery": shown.shown,
        "gallery_note": shown.note,
    }


def _reference(
    results: Sequence[Result], names: Sequence[str], wanted: str | None
) -> Result | None:
    if wanted is not None:
        for result, name in zip(results, names, strict=True):
            if wanted in (name, result.name):
                return result
        raise UsageError(f"no result {wanted!r} to compare with: choose one of {', '.join(names)}")
    lead = results[0]
    published = [r for r in results if not r.is_measured and lead.has_pictures_of(r)]
    jpeg = [result for result in results if result.name == "jpeg"]
    peers = [result for result in results if not result.is_model]
    return next(iter([*published, *jpeg, *peers]), None)


def _codec(result: Result, reference: Result | None) -> dict[str, Any]:
    """Curves, comparisons and provenance of one result."""
    figures = result.figures
    count = len(figures["bpp"])
    points = [
        {"quality": _at(figures, "quality", i), "images": _at(figures, "images", i)}
        | {name: _finite(_at(figures, key, i)) for key, name in _FIGURES.items()}
        for i in range(count)
    ]
    for metric in METRICS:
        if result.has(metric):
            for point, level in zip(points, result.curve(metric).levels, strict=True):
                point[metric] = _finite(level)
    complexity: Mapping[str, Any] = result.content.get("complexity") or {}
    return {
        "points": points,
        "bd_rate": {metric: _bd_rate(result, reference, metric) for metric in METRICS},
        "savings": _savings(result, reference),
        "kmac": complexity.get("decoder_kmac_per_pixel"),
        "command": shlex.join(result.content.get("command", ())),
        "conditions": result.content.get("conditions"),
        "codecs": result.content.get("codecs"),
        "source": result.content.get("source"),
        "dataset": result.content.get("dataset"),
        "failures": result.content.get("failures", []),
        "sha256": result.sha256,
    }


def _bd_rate(result: Result, reference: Result | None, metric: str) -> float | str:
    """In per cent, or why there is none."""
    if reference is None:
        return "nothing to compare with"
    try:
        return bd_rate(result.curve(metric), reference.curve(metric))
    except UsageError as error:
        return str(error)


def _savings(result: Result, reference: Result | None) -> list[tuple[float, float]]:
    """(PSNR, rate saved in per cent); empty where the two cannot be compared."""
    if reference is None or result is reference:
        return []
    ours, theirs = result.curve("psnr"), reference.curve("psnr")
    try:
        if len(ours.rates) > 1:
            return list(zip(*savings(ours, theirs, 60), strict=True))
    except UsageError:
        return []
    pairs = [(rate, level, rate_at(level, theirs)) for rate, level in _pairs(ours)]
    return [(level, 100 * (1 - rate / other)) for rate, level, other in pairs if other]


def _pairs(curve: Curve) -> list[tuple[float, float]]:
    return list(zip(curve.rates, curve.levels, strict=True))


def _rows(index: int, result: Result, reference: Result | None) -> list[dict[str, Any]]:
    """A row for each picture and quality, with the rate saved at equal PSNR."""
    theirs = {} if reference is None else reference.by_image("psnr")
    rows = []
    for row in result.rows:
        other = theirs.get(row["image"])
        level = row.get("psnr-rgb")
        rate = rate_at(level, other) if other is not None and level is not None else None
        rows.append(
            {
                "codec": index,
                "image": row["image"],
                "quality": row["quality"],
                "saved": None if rate is None else 100 * (1 - row["bpp"] / rate),
                **{name: row.get(key) for key, name in _FIGURES.items()},
            }
        )
    return rows


def _at(figures: Mapping[str, Sequence[Any]], key: str, index: int) -> Any:
    values = figures.get(key, ())
    return values[index] if index < len(values) else None


def _finite(value: Any) -> Any:
    return value if value is None or math.isfinite(value) else None
