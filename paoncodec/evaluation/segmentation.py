"""Segmentation measured on cases whose labels are known, and set against another network's."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from math import isfinite
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

from paoncodec.errors import ImageError, UsageError
from paoncodec.vision.segmentation.data import Case, read_pair
from paoncodec.vision.segmentation.inference import AXES, MEMORY, normalised, segment
from paoncodec.vision.segmentation.metrics import adjusted, compare, dice, interval, mean_dice
from paoncodec.vision.segmentation.surfaces import (
    TOLERANCE,
    require_monai,
    surface_distances,
    voxel_sides,
)
from paoncodec.vision.segmentation.volumes import Volume
from paoncodec.vision.segmentation.weights import Segmenter

__all__ = ["MEASURES", "Options", "comparison", "evaluate", "read_result"]

#: What a result may have of each case and class; of each also the mean over the classes, whose name
#: begins with an m. The first is in every result.
MEASURES = ("dice", "hd95", "surface_dice")

Looker = Callable[[Case, Volume, Volume, npt.NDArray[np.uint8]], None]


@dataclass(frozen=True)
class Options:
    """How it is measured.

    Args:
        axes, batch, memory: as for :func:`.segment`.
        surfaces: whether HD95 and surface Dice are measured, too.
        tolerance: of surface Dice, mm.
    """

    axes: tuple[int, ...] = AXES
    batch: int = 8
    memory: int = MEMORY
    surfaces: bool = False
    tolerance: float = TOLERANCE

    @property
    def measures(self) -> tuple[str, ...]:
        """Those of :data:`MEASURES` that are taken."""
        return MEASURES if self.surfaces else MEASURES[:1]


def evaluate(
    cases: Sequence[Case],
    segmenter: Segmenter,
    options: Options,
    *,
    name: str,
    dataset: str,
    command: Sequence[str],
    progress: Callable[[str, str | None], None],
    look: Looker | None = None,
) -> dict[str, Any]:
    """A result of all cases, JSON-ready: Dice of each case and class, means and their 95 %
    intervals; HD95 and surface Dice where they are asked for (:func:`.surface_distances`).

    A class that a case does not have is null there, and left out of its mean. A case that cannot be
    read is named among the failures.

    Args:
        cases: volumes with labels of the network's classes.
        segmenter: what is measured.
        options: how.
        name: of what is measured.
        dataset: what the cases are.
        command: that measures.
        progress: called after each case with its name and what was wrong with it.
        look: called with each case that was measured, its volume, its labels and those found.

    Raises:
        UsageError: the options are out of range, or MONAI is wanted and not installed.
    """
    if options.surfaces:
        require_monai()
    rows: list[dict[str, Any]] = []
    failures: list[dict[str, str]] = []
    scores: list[list[npt.NDArray[np.float64]]] = []
    for case in cases:
        fault = None
        try:
            begun = perf_counter()
            scores.append(_measure(case, segmenter, options, look))
            rows.append({"case": case.name, "seconds": perf_counter() - begun})
        except ImageError as error:
            fault = str(error)
            failures.append({"case": case.name, "error": fault})
        progress(case.name, fault)
    classes = segmenter.classes[1:]
    results: dict[str, Any] = {}
    for number, measure in enumerate(options.measures):
        found = [one[number] for one in scores]
        table = np.stack(found) if found else np.empty((0, len(classes)))
        means = mean_dice(table)
        for row, values, mean in zip(rows, table, means, strict=True):
            row[f"m{measure}"] = _finite(mean)
            row[measure] = dict(zip(classes, map(_finite, values), strict=True))
        results[f"m{measure}"] = _interval(means)
        results[measure] = {c: _interval(table[:, n]) for n, c in enumerate(classes)}
    return {
        "name": name,
        "task": "segmentation",
        "dataset": {"name": dataset, "cases": len(rows)},
        "axes": list(options.axes),
        **({"tolerance": options.tolerance} if options.surfaces else {}),
        "classes": list(classes),
        "results": results,
        "cases": rows,
        "failures": failures,
        "command": list(command),
    }


def comparison(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """What the second result has over the first, on the cases that both have, JSON-ready.

    Of the mean of each measure that both have, and of each class: the mean difference with its
    95 % interval, ``p`` of the Wilcoxon signed-rank test and, of the classes, ``q``: p adjusted by
    Benjamini and Hochberg. ``cases`` is how many these are.

    Raises:
        UsageError: the results have other classes, or no case in common.
    """
    names = shared_cases(first, second["classes"], [row["case"] for row in second["cases"]])
    made = {"first": first["name"], "second": second["name"], "cases": len(names)}
    first, second = (_of_cases(result, names) for result in (first, second))
    for measure in MEASURES:
        if all(measure in result["results"] for result in (first, second)):
            made.update(_compared(first, second, measure))
    return made


def shared_cases(
    first: Mapping[str, Any], classes: Sequence[str], names: Sequence[str]
) -> list[str]:
    """Those of ``names`` that a result has, in their order.

    Raises:
        UsageError: there are none, or the result has other classes.
    """
    if list(first["classes"]) != list(classes):
        raise UsageError("results of other classes cannot be compared")
    measured = {row["case"] for row in first["cases"]}
    shared = [name for name in names if name in measured]
    if not shared:
        raise UsageError("results without a case in common cannot be compared")
    return shared


def read_result(path: str | Path) -> dict[str, Any]:
    """A result that :func:`evaluate` made, from its file.

    Raises:
        UsageError: there is none, or it is something else.
    """
    try:
        found: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
        if found["task"] != "segmentation":
            raise ValueError(f"it is of the task {found['task']!r}")
        measures = [m for m in MEASURES if m in found["results"] or m == MEASURES[0]]
        if not isinstance(found["name"], str):
            raise ValueError("a name that is none")
        for row, measure in product(found["cases"], measures):
            values = [row[f"m{measure}"], *row[measure].values()]
            if not isinstance(row["case"], str) or set(row[measure]) != set(found["classes"]):
                raise ValueError("a case without name or a class")
            if not all(value is None or isinstance(value, float | int) for value in values):
                raise ValueError(f"a {measure} that is no number")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{path}: not a result of segmentation ({error})") from error
    return found


def _measure(
    case: Case, segmenter: Segmenter, options: Options, look: Looker | None
) -> list[npt.NDArray[np.float64]]:
    """(classes - 1,) of each measure."""
    classes = len(segmenter.classes)
    image, truth = read_pair(case, classes)
    values = normalised(image.values, segmenter.window)
    found = segment(segmenter.model, values, options.axes, options.batch, options.memory)
    scores = [dice(found, truth.values, classes)]
    if options.surfaces:
        sides = voxel_sides(truth.affine)
        scores += surface_distances(found, truth.values, classes, sides, options.tolerance)
    if look is not None:
        look(case, image, truth, found)
    return scores


def _compared(
    first: Mapping[str, Any], second: Mapping[str, Any], measure: str
) -> Iterator[tuple[str, Any]]:
    """What is said of one measure: of the mean, and of the classes."""
    overall = compare(*(_column(result, f"m{measure}") for result in (first, second)))
    yield f"m{measure}", {"difference": _plain(asdict(overall.difference)), "p": _finite(overall.p)}
    classes = first["classes"]
    made = [compare(*(_column(result, measure, c) for result in (first, second))) for c in classes]
    q = adjusted(np.array([found.p for found in made]))
    yield (
        measure,
        {
            c: {
                "difference": _plain(asdict(found.difference)),
                "p": _finite(found.p),
                "q": _finite(value),
            }
            for c, found, value in zip(classes, made, q, strict=True)
        },
    )


def _of_cases(result: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """A result with these of its cases, in this order."""
    rows = {row["case"]: row for row in result["cases"]}
    return {**result, "cases": [rows[name] for name in names]}


def _column(
    result: Mapping[str, Any], key: str, name: str | None = None
) -> npt.NDArray[np.float64]:
    """Values of the cases, of a class or the mean; NaN where there is none."""
    values = [row[key] if name is None else row[key][name] for row in result["cases"]]
    return np.array([np.nan if value is None else value for value in values])


def _interval(values: npt.NDArray[np.float64]) -> dict[str, float | None]:
    return _plain(asdict(interval(values)))


def _plain(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: _finite(value) for name, value in values.items()}


def _finite(value: float) -> float | None:
    """JSON has no NaN."""
    plain = value.item() if isinstance(value, np.generic) else value
    return plain if isfinite(plain) else None
