"""The pictures of a report: each as it was, and as codecs give it back at about the same rate."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from paoncodec.errors import UsageError
from paoncodec.evaluation.results import Result
from paoncodec.images import read_image, to_pil

__all__ = ["Gallery", "gallery"]

# Of what is shown of a picture, in pixels: no more fits a screen, and a page must stay small.
_LARGEST_SIDE = 1024


@dataclass(frozen=True)
class Gallery:
    """`shown`: a picture each, with its versions; `note`: what is not shown, and why."""

    shown: list[dict[str, Any]] = field(default_factory=list)
    note: str = ""


def gallery(
    results: Sequence[Result], quality: float | None, most: int, megabytes: float
) -> Gallery:
    """Pictures that were kept, at the rate of the first result that has any.

    Args:
        results: of which those made with `--keep` have pictures; the first leads.
        quality: the leader's; None: the middle one.
        most: pictures to show.
        megabytes: bound of their size on the page.

    Raises:
        UsageError: the leader has no such quality.
    """
    kept = [(i, r) for i, r in enumerate(results) if any("decoded" in row for row in r.rows)]
    if not kept:
        return Gallery(note="No pictures: they are shown where `paoncodec eval --keep` kept them.")
    leader, lead = kept[0]
    rows = [row for row in lead.rows if "decoded" in row]
    chosen = _quality(lead.name, sorted({row["quality"] for row in rows}), quality)
    rows = [row for row in rows if row["quality"] == chosen]
    shown: list[dict[str, Any]] = []
    left = megabytes * 1e6
    for row in rows[:most]:
        versions = [_version(None, lead, row, "original"), _version(leader, lead, row, "decoded")]
        for index, result in kept[1:]:
            nearest = _nearest(result, row)
            if nearest is not None:
                versions.append(_version(index, result, nearest, "decoded"))
        left -= sum(len(version["uri"]) for version in versions)
        if left < 0:
            break
        box = _box(row["width"], row["height"])
        shown.append(
            {
                "image": row["image"],
                "width": box[2] - box[0],
                "height": box[3] - box[1],
                "whole": box == (0, 0, row["width"], row["height"]),
                "versions": versions,
            }
        )
    return Gallery(shown, _note(len(shown), len(rows), megabytes))


def _note(shown: int, there: int, megabytes: float) -> str:
    if shown == there:
        return ""
    return f"{shown} of {there} pictures are shown, so that they take {megabytes:g} MB at most."


def _quality(name: str, qualities: Sequence[float], wanted: float | None) -> float:
    if wanted is None:
        return qualities[len(qualities) // 2]
    if wanted not in qualities:
        known = ", ".join(f"{q:g}" for q in qualities)
        raise UsageError(f"{name} was not measured at quality {wanted:g}: choose one of {known}")
    return wanted


def _nearest(result: Result, row: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The result's row of the same picture whose rate is nearest, if it has a picture."""
    same = [r for r in result.rows if r["image"] == row["image"] and "decoded" in r]
    rate = math.log(row["bpp"])
    return min(same, key=lambda r: abs(math.log(r["bpp"]) - rate), default=None)


def _version(
    codec: int | None, result: Result, row: Mapping[str, Any], which: str
) -> dict[str, Any]:
    """One picture, and what it cost; no codec: as it was."""
    place = result.path.parent / result.content.get("pictures", "") / row[which]
    version: dict[str, Any] = {"codec": codec, "uri": _uri(place)}
    if codec is not None:
        names = {"quality": "quality", "bytes": "bytes", "bpp": "bpp", "psnr-rgb": "psnr"}
        version |= {name: row[key] for key, name in names.items()}
    return version


def _uri(place: Path) -> str:
    """The middle of a picture, without loss: what a codec did to it must be seen as it is."""
    image = to_pil(read_image(place))
    buffer = io.BytesIO()
    image.crop(_box(*image.size)).save(buffer, "WEBP", lossless=True, quality=60, method=3)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _box(width: int, height: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the part that is shown."""
    w, h = min(width, _LARGEST_SIDE), min(height, _LARGEST_SIDE)
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h
