"""Bjøntegaard deltas: how much rate one codec saves against another at equal quality.

By the package bjontegaard of FAU (Herglotz et al., "Beyond Bjøntegaard: Limits of Video Compression
Performance Comparisons", 2022), whose PCHIP agrees with the sheet of JVET-T2010.
"""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from paoncodec.errors import UsageError
from paoncodec.evaluation.curves import Curve, rate_at
from paoncodec.evaluation.results import Result

__all__ = ["METHODS", "Comparison", "Spread", "bd_psnr", "bd_rate", "compare", "savings"]

#: Interpolations of the curves, the one to quote first.
METHODS = ("pchip", "akima", "cubic")


@dataclass(frozen=True)
class Spread:
    """BD-rates of single pictures, in per cent.

    Attributes:
        pictures: how many could be compared.
        refused: how many could not.
        mean, deviation, lowest, highest: over those pictures; the deviation is that of a sample.
    """

    pictures: int
    refused: int
    mean: float
    deviation: float
    lowest: float
    highest: float


@dataclass(frozen=True)
class Comparison:
    """One codec against another.

    Attributes:
        test, anchor: names.
        metric: `psnr` or `ms-ssim`.
        rate: BD-rate in per cent for each of `METHODS`; negative: the test needs fewer bits.
        level: BD-PSNR (or its like for MS-SSIM) in dB by PCHIP; positive: the test is better.
        overlap: part of the curves' joint range of quality that both cover, 0 to 1.
        points: of the test's curve and of the anchor's.
        by_image: None if not both have figures of the same pictures.
    """

    test: str
    anchor: str
    metric: str
    rate: dict[str, float]
    level: float
    overlap: float
    points: tuple[int, int]
    by_image: Spread | None


def compare(test: Result, anchor: Result, metric: str = "psnr") -> Comparison:
    """Bjøntegaard deltas of two result files: of the mean curves, and of the single pictures.

    Single pictures are compared only where both files are of the same.

    Raises:
        UsageError: a curve that `Curve.check` refuses, or curves that do not overlap.
    """
    ours, theirs = test.curve(metric), anchor.curve(metric)
    return Comparison(
        test=test.name,
        anchor=anchor.name,
        metric=metric,
        rate={method: bd_rate(ours, theirs, method) for method in METHODS},
        level=bd_psnr(ours, theirs),
        overlap=overlap(ours.levels, theirs.levels),
        points=(len(ours.rates), len(theirs.rates)),
        by_image=_spread(test.by_image(metric), anchor.by_image(metric))
        if test.has_pictures_of(anchor)
        else None,
    )


def bd_rate(test: Curve, anchor: Curve, method: str = METHODS[0]) -> float:
    """Mean difference of the rate over the range of quality that both curves cover, in per cent.

    Raises:
        UsageError: as `compare`.
    """
    _check(test, anchor, "levels")
    return float(_package().bd_rate(*_points(anchor), *_points(test), method, **_QUIET))


def bd_psnr(test: Curve, anchor: Curve, method: str = METHODS[0]) -> float:
    """Mean difference of the quality over the range of log rate that both cover, in dB.

    Raises:
        UsageError: as `compare`.
    """
    _check(test, anchor, "rates")
    return float(_package().bd_psnr(*_points(anchor), *_points(test), method, **_QUIET))


def overlap(first: Sequence[float], second: Sequence[float]) -> float:
    """Part of the joint range of two sets of numbers that both cover, 0 to 1."""
    both = min(max(first), max(second)) - max(min(first), min(second))
    joint = max(*first, *second) - min(*first, *second)
    return max(both, 0) / joint if joint else 1.0


def savings(test: Curve, anchor: Curve, count: int = 100) -> tuple[list[float], list[float]]:
    """How the saving changes with quality, as the paper's figures 6b and 7b draw it.

    Returns:
        Levels in dB, evenly spaced over the range that both curves cover, and at each of them the
        rate saved against the anchor in per cent: positive, the test needs fewer bits.

    Raises:
        UsageError: as `compare`; two points a curve are enough here.
    """
    _check(test, anchor, "levels", least=2)
    low = max(min(test.levels), min(anchor.levels))
    high = min(max(test.levels), max(anchor.levels))
    levels = np.linspace(low, high, count).clip(low, high).tolist()
    rates = [(rate_at(level, test), rate_at(level, anchor)) for level in levels]
    return levels, [100 * (1 - ours / theirs) for ours, theirs in rates if ours and theirs]


# Curves have the points they have, and their overlap is told beside the figure.
_QUIET = {"require_matching_points": False, "min_overlap": 0}


def _package() -> ModuleType:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            import bjontegaard
    except ImportError as error:
        raise UsageError(
            "Bjøntegaard deltas take the package bjontegaard: pip install 'paoncodec[eval]'"
        ) from error
    module: ModuleType = bjontegaard
    return module


def _points(curve: Curve) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    return np.asarray(curve.rates, float), np.asarray(curve.levels, float)


def _check(test: Curve, anchor: Curve, axis: str, least: int = 4) -> None:
    for curve in (test, anchor):
        curve.check(least)
    ours, theirs = getattr(test, axis), getattr(anchor, axis)
    if overlap(ours, theirs) > 0:
        return
    unit = "dB" if axis == "levels" else "bpp"
    raise UsageError(
        f"{test.name} ({min(ours):.4g} to {max(ours):.4g} {unit}) and {anchor.name} "
        f"({min(theirs):.4g} to {max(theirs):.4g} {unit}) do not overlap: measure other qualities"
    )


def _spread(test: dict[str, Curve], anchor: dict[str, Curve]) -> Spread | None:
    common = [image for image in test if image in anchor]
    if not common:
        return None
    rates, refused = [], 0
    for image in common:
        try:
            rates.append(bd_rate(test[image], anchor[image]))
        except UsageError:
            refused += 1
    if not rates:
        return None
    deviation = statistics.stdev(rates) if len(rates) > 1 else 0.0
    return Spread(len(rates), refused, statistics.mean(rates), deviation, min(rates), max(rates))
