"""Rate-distortion curves, and what lies on them between their points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from paoncodec.errors import UsageError

__all__ = ["MIN_POINTS", "Curve", "level_at", "rate_at"]

#: A Bjøntegaard delta is defined for four points or more (VCEG-M33).
MIN_POINTS = 4


@dataclass(frozen=True)
class Curve:
    """Points of one codec.

    Args:
        name: of the codec.
        rates: bits per pixel.
        levels: quality in dB, a value for each rate.
        metric: what was measured: `psnr` or `ms-ssim`.
    """

    name: str
    rates: Sequence[float]
    levels: Sequence[float]
    metric: str = "psnr"

    def check(self, least: int = MIN_POINTS) -> None:
        """Whether an area under it makes sense.

        Raises:
            UsageError: fewer than `least` points, one that is not a finite number or has no rate,
                or points that do not rise in rate and level from each to the next.
        """
        points = list(zip(self.rates, self.levels, strict=True))
        for rate, level in points:
            if not (math.isfinite(rate) and math.isfinite(level) and rate > 0):
                raise UsageError(f"{self.name}: the point {_words(rate, level)} is not on a curve")
        if len(points) < least:
            raise UsageError(
                f"{self.name}: {len(points)} point(s), {least} are the least: measure more"
            )
        for (rate, level), (next_rate, next_level) in pairwise(points):
            if (rate, level) == (next_rate, next_level):
                raise UsageError(f"{self.name}: the point {_words(rate, level)} stands there twice")
            if next_rate <= rate or next_level <= level:
                raise UsageError(
                    f"{self.name}: after {_words(rate, level)} comes "
                    f"{_words(next_rate, next_level)}: points must rise in both"
                )


def _words(rate: float, level: float) -> str:
    return f"({rate:.4g} bpp, {level:.4g} dB)"


def level_at(rate: float, curve: Curve) -> float | None:
    """The level of a curve at a rate: PCHIP on log rate; None beyond the curve's ends."""
    return _between(_logs(curve.rates), curve.levels, math.log2(rate))


def rate_at(level: float, curve: Curve) -> float | None:
    """The rate of a curve at a level: PCHIP of log rate; None beyond the curve's ends."""
    found = _between(curve.levels, _logs(curve.rates), level)
    return None if found is None else 2.0**found


def _logs(rates: Sequence[float]) -> list[float]:
    return [math.log2(rate) for rate in rates]


def _between(x: Sequence[float], y: Sequence[float], wanted: float) -> float | None:
    # With CompressAI; takes a second to import.
    from scipy.interpolate import PchipInterpolator  # type: ignore[import-untyped]

    places, first = np.unique(x, return_index=True)
    if not places[0] <= wanted <= places[-1]:
        return None
    if len(places) == 1:
        return float(np.asarray(y)[first[0]])
    return float(PchipInterpolator(places, np.asarray(y)[first])(wanted))
