"""Segmentations measured case by case, and two networks compared on the same cases.

"PURe: A Plug-and-Play Product-Unit Residual Module for Vision Networks", 4.2. A class that a case
does not have is left out of that case's figures, whatever was found of it, as the paper's
"non-empty classes only".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats  # type: ignore[import-untyped]

from paoncodec.errors import ImageError, UsageError

__all__ = ["Comparison", "Interval", "adjusted", "compare", "dice", "interval", "mean_dice"]

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Interval:
    """A mean, and the 95 % confidence interval of Student's t about it.

    Args:
        mean: NaN where there is no case.
        low, high: NaN where there are fewer than two cases.
        cases: how many there were.
    """

    mean: float
    low: float
    high: float
    cases: int


@dataclass(frozen=True)
class Comparison:
    """Two networks on the same cases.

    Args:
        difference: of the second less the first.
        p: of the two-sided Wilcoxon signed-rank test; 1 where no case differs, NaN without cases.
    """

    difference: Interval
    p: float


def dice(found: Labels, truth: Labels, classes: int) -> Array:
    """(classes - 1,) ``2 |F ∩ T| / (|F| + |T|)`` of each class but 0; NaN for those not in truth.

    Args:
        found, truth: of equal shape, values below ``classes``.
        classes: with the background.

    Raises:
        ImageError: shapes differ.
    """
    if found.shape != truth.shape:
        raise ImageError(f"labels of {found.shape} and {truth.shape}: must be of one size")
    common = np.bincount(found[found == truth].ravel(), minlength=classes)
    of_found = np.bincount(found.ravel(), minlength=classes)
    of_truth = np.bincount(truth.ravel(), minlength=classes)
    total = np.maximum(of_found + of_truth, 1)
    values = np.where(of_truth > 0, 2.0 * common / total, np.nan)
    return np.asarray(values[1:], np.float64)


def mean_dice(scores: Array) -> Array:
    """(cases, classes) → (cases,), the mean over each case's classes; NaN where it has none."""
    there = ~np.isnan(scores)
    counts = there.sum(1)
    sums = np.where(there, scores, 0).sum(1)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def interval(values: Array) -> Interval:
    """Of the values that are not NaN."""
    kept = values[~np.isnan(values)]
    if not len(kept):
        return Interval(np.nan, np.nan, np.nan, 0)
    mean = float(kept.mean())
    if len(kept) == 1:
        return Interval(mean, np.nan, np.nan, 1)
    reach = float(stats.t.ppf(0.975, len(kept) - 1) * stats.sem(kept))
    return Interval(mean, mean - reach, mean + reach, len(kept))


def compare(first: Array, second: Array) -> Comparison:
    """Of two networks' values on the same cases, where both have one.

    Raises:
        UsageError: they are of different numbers of cases.
    """
    if first.shape != second.shape:
        raise UsageError(f"values of {first.shape} and {second.shape}: must be of the same cases")
    differences = second - first
    kept = differences[~np.isnan(differences)]
    return Comparison(interval(differences), _signed_rank(kept))


def adjusted(p: Array) -> Array:
    """p-values adjusted as by Benjamini and Hochberg (1995): (n,) → (n,); NaN stay uncounted."""
    made = np.array(p, np.float64)
    known = ~np.isnan(made)
    if known.any():
        made[known] = stats.false_discovery_control(made[known], method="bh")
    return made


def _signed_rank(differences: Array) -> float:
    if not len(differences):
        return np.nan
    if not differences.any():
        return 1.0
    result: Any = stats.wilcoxon(differences)
    return float(result.pvalue)
