"""Segmentation measured on cases whose labels are known, and set against another network's."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
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
from paoncodec.vision.segmentation.weights import Segmenter

__all__ = ["Options", "comparison", "evaluate", "read_result"]


@dataclass(frozen=True)
class Options:
    """How it is measured.

    Args:
        axes, batch, memory: as for :func:`.segment`.
    """

    axes: tuple[int, ...] = AXES
    batch: int = 8
    memory: int = MEMORY


def evaluate(
    cases: Sequence[Case],
    segmenter: Segmenter,
    options: Options,
    *,
    name: str,
    dataset: str,
    command: Sequence[str],
    progress: Callable[[str, str | None], None],
) -> dict[str, Any]:
    """A result of all cases, JSON-ready: Dice of each case and class, means and their 95 %
    intervals.

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
    """
    rows: list[dict[str, Any]] = []
    failures: list[dict[str, str]] = []
    scores: list[npt.NDArray[np.float64]] = []
    for case in cases:
        fault = None
        try:
            begun = perf_counter()
            scores.append(_measure(case, segmenter, options))
            rows.append({"case": case.name, "seconds": perf_counter() - begun})
        except ImageError as error:
            fault = str(error)
            failures.append({"case": case.name, "error": fault})
        progress(case.name, fault)
    classes = segmenter.classes[1:]
    table = np.stack(scores) if scores else np.empty((0, len(classes)))
    for row, values, mean in zip(rows, table, mean_dice(table), strict=True):
        row["mdice"] = _finite(mean)
        row["dice"] = dict(zip(classes, map(_finite, values), strict=True))
    return {
        "name": name,
        "task": "segmentation",
        "dataset": {"name": dataset, "cases": len(rows)},
        "axes": list(options.axes),
        "classes": list(classes),
        "results": {
            "mdice": _interval(mean_dice(table)),
            "dice": {c: _interval(table[:, n]) for n, c in enumerate(classes)},
        },
        "cases": rows,
        "failures": failures,
        "command": list(command),
    }


def comparison(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """What the second result has over the first, on the same cases, JSON-ready.

    Of the mean Dice and of each class: the mean difference with its 95 % interval, ``p`` of the
    Wilcoxon signed-rank test and, of the classes, ``q``: p adjusted by Benjamini and Hochberg.

    Raises:
        UsageError: the results are of other cases or classes.
    """
    if first["classes"] != second["classes"]:
        raise UsageError("results of other classes cannot be compared")
    names = [row["case"] for row in first["cases"]]
    if not names or names != [row["case"] for row in second["cases"]]:
        raise UsageError("results of other cases cannot be compared: measure both on the same")
    overall = compare(*(_column(result, None) for result in (first, second)))
    made = {
        c: compare(*(_column(result, c) for result in (first, second))) for c in first["classes"]
    }
    q = adjusted(np.array([found.p for found in made.values()]))
    return {
        "first": first["name"],
        "second": second["name"],
        "mdice": {"difference": _plain(asdict(overall.difference)), "p": _finite(overall.p)},
        "dice": {
            c: {
                "difference": _plain(asdict(found.difference)),
                "p": _finite(found.p),
                "q": _finite(value),
            }
            for (c, found), value in zip(made.items(), q, strict=True)
        },
    }


def read_result(path: str | Path) -> dict[str, Any]:
    """A result that :func:`evaluate` made, from its file.

    Raises:
        UsageError: there is none, or it is something else.
    """
    try:
        found: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
        if found["task"] != "segmentation":
            raise ValueError(f"it is of the task {found['task']!r}")
        for row in found["cases"]:
            if not {"case", "mdice"} <= set(row) or set(row["dice"]) != set(found["classes"]):
                raise ValueError("a case without name, mean or a class")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{path}: not a result of segmentation ({error})") from error
    return found


def _measure(case: Case, segmenter: Segmenter, options: Options) -> npt.NDArray[np.float64]:
    classes = len(segmenter.classes)
    image, truth = read_pair(case, classes)
    values = normalised(image.values, segmenter.window)
    found = segment(segmenter.model, values, options.axes, options.batch, options.memory)
    return dice(found, truth.values, classes)


def _column(result: Mapping[str, Any], name: str | None) -> npt.NDArray[np.float64]:
    """Values of the cases, of a class or the mean; NaN where there is none."""
    rows = result["cases"]
    values = [row["mdice"] if name is None else row["dice"][name] for row in rows]
    return np.array([np.nan if value is None else value for value in values])


def _interval(values: npt.NDArray[np.float64]) -> dict[str, float | None]:
    return _plain(asdict(interval(values)))


def _plain(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: _finite(value) for name, value in values.items()}


def _finite(value: float) -> float | None:
    """JSON has no NaN."""
    plain = value.item() if isinstance(value, np.generic) else value
    return plain if isfinite(plain) else None
