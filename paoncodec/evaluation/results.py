"""Result files: what a run measured, as `paoncodec eval` writes it and CompressAI reads it.

docs/evaluation.md states the schema. CompressAI's own result files and the anchors are read too.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from paoncodec.errors import UsageError
from paoncodec.evaluation.curves import Curve
from paoncodec.evaluation.metrics import decibels

__all__ = ["METRICS", "SCHEMA", "Result", "load_result", "mean_points"]

#: What the `schema` of a file says.
SCHEMA = "paoncodec-eval-1"

#: What curves are drawn of and compared by → what it is called on an axis.
METRICS: Mapping[str, str] = {"psnr": "PSNR (RGB), dB", "ms-ssim": "MS-SSIM (RGB), dB"}

# Where a metric stands in `results` and in the rows of `images`; CompressAI drops "-rgb" at times.
_KEYS = {"psnr": ("psnr-rgb", "psnr"), "ms-ssim": ("ms-ssim-rgb", "ms-ssim")}

# Figures of a row that are averaged.
_AVERAGED = (
    "bytes",
    "bpp",
    "payload-bpp",
    "estimated-bpp",
    "psnr-rgb",
    "ms-ssim-rgb",
    "lpips",
    "encoding_time",
    "decoding_time",
)


@dataclass(frozen=True)
class Result:
    """A result file.

    Attributes:
        content: of the file.
        path: where it is.
        sha256: of the file, in hexadecimal.
    """

    content: Mapping[str, Any]
    path: Path
    sha256: str

    @property
    def name(self) -> str:
        return str(self.content.get("name") or self.path.stem)

    @property
    def description(self) -> str:
        return str(self.content.get("description", ""))

    @property
    def dataset(self) -> str:
        """Name of the set of pictures; empty if the file does not say."""
        return str(self.content.get("dataset", {}).get("name", ""))

    @property
    def picture_count(self) -> int | None:
        """How many pictures the means are of; None if the file does not say."""
        averaged = self.figures.get("images")
        if averaged:  # without those that failed
            return int(min(averaged))
        count = self.content.get("dataset", {}).get("images")
        return count if isinstance(count, int) else None

    def has_pictures_of(self, other: Result) -> bool:
        """Whether nothing speaks against both being of the same pictures.

        They are not if their means are of more pictures in one than in the other. The digests of
        the picture files decide where both have them, else the sets' names.
        """
        counts = [self.picture_count, other.picture_count]
        if None not in counts and counts[0] != counts[1]:
            return False
        digests, names = (
            [result.content.get("dataset", {}).get(key) for result in (self, other)]
            for key in ("sha256", "name")
        )
        first, second = digests if all(digests) else names
        return not (first and second) or bool(first == second)

    @property
    def is_measured(self) -> bool:
        """Whether `paoncodec eval` wrote it, as against a published curve."""
        return self.content.get("schema") == SCHEMA

    @property
    def is_model(self) -> bool:
        """Whether it was measured, and is of a learned codec."""
        codecs = self.content.get("codecs") or [{"kind": "pillow"}]
        return self.is_measured and codecs[0].get("kind") != "pillow"

    @property
    def rows(self) -> Sequence[Mapping[str, Any]]:
        """One for each picture and quality; empty where only means are known."""
        rows: Sequence[Mapping[str, Any]] = self.content.get("images", ())
        return rows

    @property
    def figures(self) -> Mapping[str, Sequence[Any]]:
        """Means over the pictures: figure → a value for each point of the curve."""
        figures: Mapping[str, Sequence[Any]] = self.content.get("results", self.content)
        return figures

    def has(self, metric: str) -> bool:
        """Whether every point has this metric."""
        key = self._key(metric)
        return key is not None and all(value is not None for value in self.figures[key])

    def curve(self, metric: str) -> Curve:
        """The means over the pictures; MS-SSIM in dB.

        Args:
            metric: one of `METRICS`.

        Raises:
            UsageError: it was not measured, or not at every point.
        """
        key = self._key(metric)
        if key is None or not self.has(metric):
            known = ", ".join(name for name in METRICS if self.has(name)) or "none"
            raise UsageError(f"{self.path}: no {metric} at all of its points (there is: {known})")
        return Curve(self.name, self.figures["bpp"], _scaled(metric, self.figures[key]), metric)

    def by_image(self, metric: str) -> dict[str, Curve]:
        """A curve for each picture that has this metric at every quality, by its name."""
        values: dict[str, list[tuple[float, float | None]]] = {}
        for row in self.rows:
            value = next((row[key] for key in _KEYS[metric] if key in row), None)
            values.setdefault(row["image"], []).append((row["bpp"], value))
        return {
            image: Curve(
                image,
                [bpp for bpp, _ in points],
                _scaled(metric, [value for _, value in points]),
                metric,
            )
            for image, points in values.items()
            if all(value is not None for _, value in points)
        }

    def _key(self, metric: str) -> str | None:
        return next((key for key in _KEYS[metric] if key in self.figures), None)


def load_result(path: str | os.PathLike[str]) -> Result:
    """Read a result file of ours or of CompressAI.

    Raises:
        UsageError: it is not there or holds something else.
    """
    try:
        data = Path(path).read_bytes()
        content = json.loads(data)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: not JSON ({error}); give a file of `paoncodec eval`") from error
    result = Result(content, Path(path), sha256(data).hexdigest())
    problem = _problem(content)
    if problem:
        raise UsageError(f"{path}: {problem}; give a file of `paoncodec eval` or of CompressAI")
    return result


def _problem(content: Any) -> str:
    """Why this is no result file; empty if it is one."""
    if not isinstance(content, dict) or not isinstance(content.get("dataset", {}), dict):
        return "not an object with results"
    figures = content.get("results", content)
    if not isinstance(figures, dict) or not isinstance(figures.get("bpp"), list):
        return "no list of bpp"
    known = {"bpp", *(key for keys in _KEYS.values() for key in keys)}
    lists = {key: values for key, values in figures.items() if key in known}
    if any(len(values) != len(figures["bpp"]) for values in lists.values()):
        return "lists of different lengths"
    if not all(_is_number(v) or v is None for values in lists.values() for v in values):
        return "something other than numbers among its points"
    if None in figures["bpp"]:
        return "a point without bpp"
    rows = content.get("images", [])
    if not isinstance(rows, list) or not all(map(_is_row, rows)):
        return "something other than rows of pictures among its images"
    return ""


def _is_row(row: Any) -> bool:
    return (
        isinstance(row, dict) and isinstance(row.get("image"), str) and _is_number(row.get("bpp"))
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _scaled(metric: str, values: Sequence[Any]) -> list[float]:
    return [decibels(value) for value in values] if metric == "ms-ssim" else list(values)


def mean_points(
    rows: Sequence[Mapping[str, Any]], qualities: Sequence[float]
) -> dict[str, list[Any]]:
    """`results` of the rows of a run: a list for each figure, a value for each quality.

    A picture that failed at one quality is left out of all means, so that all points are means
    over the same pictures. A mean is None if one of its values is. The MS-SSIM in dB is that of
    the mean MS-SSIM, as CompressAI draws it.
    """
    coded = [{row["image"] for row in rows if row["quality"] == quality} for quality in qualities]
    everywhere = set.intersection(*coded) if coded else set()
    points = []
    for quality in qualities:
        here = [r for r in rows if r["quality"] == quality and r["image"] in everywhere]
        point: dict[str, Any] = {"quality": quality, "images": len(here)}
        point |= {key: _mean([row[key] for row in here]) for key in _AVERAGED}
        similarity = point["ms-ssim-rgb"]
        point["ms-ssim-rgb-db"] = None if similarity is None else _finite(decibels(similarity))
        peaks = [row["peak-memory"] for row in here]
        point["peak-memory"] = None if None in peaks else max(peaks, default=None)
        points.append(point)
    points = [point for point in points if point["images"]]
    return {key: [point[key] for point in points] for key in points[0]} if points else {"bpp": []}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
