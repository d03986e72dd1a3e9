"""Trainings repeated with other seeds, as tables have them: mean and standard deviation.

"PURe: A Plug-and-Play Product-Unit Residual Module for Vision Networks", Table 1.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from paoncodec.errors import UsageError
from paoncodec.training import RunDirectory

__all__ = ["REACHED", "read_repeat", "summary", "time_to"]

#: The validation accuracy whose time is told: T80.
REACHED = 0.8

#: Task → figures of a result that are summed up, where it has them.
_FIGURES = {
    "classification": ("accuracy", "top5", "cross_entropy"),
    "segmentation": ("mdice", "mhd95", "msurface_dice"),
}


def read_repeat(path: str | os.PathLike[str]) -> dict[str, Any]:
    """A result of `paoncodec vision eval` that a table can have.

    Raises:
        UsageError: there is none, or it is of another kind.
    """
    try:
        found: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
        if found["task"] not in _FIGURES:
            raise ValueError(f"it is of the task {found['task']!r}")
        str(found["name"]), str(found["dataset"]["name"]), _figures(found)
    except OSError as error:
        raise UsageError(f"{os.fspath(path)}: {error.strerror}") from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UsageError(
            f"{os.fspath(path)}: not a result of classification or segmentation ({error})"
        ) from error
    return found


def summary(
    results: Sequence[Mapping[str, Any]], runs: Sequence[RunDirectory] = ()
) -> list[dict[str, Any]]:
    """A row for each name and data set, in the order of the results; JSON-ready.

    Args:
        results: of :func:`read_repeat`. Those of one name and data set are of one row; those of
            pictures with noise are its ``noisy``.
        runs: of training; those whose network has a row's name tell its times.

    Returns:
        ``name``, ``dataset`` and, of each figure, ``mean``, sample deviation ``std`` (null where
        there is one result) and number of ``runs``. ``noisy`` has figures likewise, by photons,
        with ``drop``, the share of the mean accuracy that is lost. ``t80`` is the mean time in
        seconds until a validation had an accuracy of 0.8, of those runs that ``reached`` it;
        ``seconds`` that of the whole training.
    """
    keys = dict.fromkeys((str(r["name"]), str(r["dataset"]["name"])) for r in results)
    return [
        {
            "name": name,
            "dataset": dataset,
            **_row([r for r in results if (r["name"], r["dataset"]["name"]) == (name, dataset)]),
            **_times([run for run in runs if _network(run) == name]),
        }
        for name, dataset in keys
    ]


def time_to(run: RunDirectory, accuracy: float = REACHED) -> float | None:
    """Seconds of a training until its first validation with such an accuracy; None: there is none.

    Validations are part of the time.
    """
    for record in run.records():
        if (record.get("validation_accuracy") or 0.0) >= accuracy:
            return float(record["seconds"])
    return None


def _row(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Figures of results of one name: of pictures as they are, and with noise."""
    row = _summed([r for r in results if "photons" not in r])
    noisy = {}
    for photons in dict.fromkeys(r["photons"] for r in results if "photons" in r):
        made = _summed([r for r in results if r.get("photons") == photons])
        if "accuracy" in row:
            clean = row["accuracy"]["mean"]
            made["drop"] = 1 - made["accuracy"]["mean"] / clean if clean else None
        noisy[f"{photons:g}"] = made
    return {**row, **({"noisy": noisy} if noisy else {})}


def _summed(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean, deviation and number of each figure that all results have."""
    tables = [_figures(result) for result in results]
    shared = [name for name in (tables[0] if tables else ()) if all(name in t for t in tables)]
    return {name: _spread([table[name] for table in tables]) for name in shared}


def _times(runs: Sequence[RunDirectory]) -> dict[str, Any]:
    if not runs:
        return {}
    reached = [seconds for run in runs if (seconds := time_to(run)) is not None]
    whole = [
        max((r["seconds"] for r in run.records() if "seconds" in r), default=0) for run in runs
    ]
    return {
        "t80": {"mean": fmean(reached) if reached else None, "reached": len(reached)},
        "seconds": _spread(whole),
    }


def _figures(result: Mapping[str, Any]) -> dict[str, float]:
    """The figures of a result, by name; of segmentation means over cases."""
    found = {}
    for name in _FIGURES[result["task"]]:
        value = result["results"].get(name)
        value = value["mean"] if isinstance(value, Mapping) else value
        if value is not None:
            found[name] = float(value)
    if not found:
        raise ValueError("it has no figures")
    return found


def _spread(values: Sequence[float]) -> dict[str, Any]:
    deviation = stdev(values) if len(values) > 1 else None
    return {"mean": fmean(values), "std": deviation, "runs": len(values)}


def _network(run: RunDirectory) -> str | None:
    """The name of what a run trains.

    Raises:
        UsageError: it is not a run.
    """
    saved = run.load_config()
    if saved is None:
        raise UsageError(f"{run.path}: no run of training: it has no config.json")
    name: str | None = saved.get("network")
    return name
