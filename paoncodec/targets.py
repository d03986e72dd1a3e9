"""The quality at which a file reaches a target: a size, a rate or a PSNR."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from paoncodec.errors import OutOfReach, UsageError
from paoncodec.quality import HIGHEST, LOWEST

__all__ = ["Target", "find_quality"]

#: Qualities that a file can record lie this close together.
_STEPS = 256


@dataclass(frozen=True)
class Target:
    """What a file is to reach.

    Args:
        kind: ``"bpp"`` (bits per pixel) or ``"size"`` (bytes): the file has at most so many;
            ``"psnr"`` (dB, of 8-bit samples): the picture has at least so much.
        value: in the unit of the kind, positive.

    Raises:
        UsageError: the value is not a positive number.
    """

    kind: Literal["bpp", "size", "psnr"]
    value: float

    def __post_init__(self) -> None:
        if not 0 < self.value < math.inf:
            raise UsageError(f"target of {self}: must be more than 0")

    def __str__(self) -> str:
        return self.say(self.value)

    def say(self, figure: float) -> str:
        """A figure of this kind in words."""
        unit = {"bpp": "bpp", "size": "bytes", "psnr": "dB"}[self.kind]
        return f"{figure:.0f} {unit}" if self.kind == "size" else f"{figure:.4g} {unit}"

    def is_met(self, figure: float) -> bool:
        """Whether a file of this figure keeps to it."""
        return figure >= self.value if self.kind == "psnr" else figure <= self.value

    def distance(self, figure: float) -> float:
        """How far a figure is from the target, in per cent of a size or in dB; signless."""
        if self.kind == "psnr":
            return abs(figure - self.value)
        return abs(math.log(figure / self.value))


def find_quality(target: Target, measure: Callable[[float], float]) -> float:
    """The quality that meets a target best: the highest whose file is not too large, or the lowest
    whose picture is good enough. Takes about eight measurements.

    Args:
        target: what is wanted.
        measure: quality → figure of the target's kind, rising.

    Returns:
        1 to 6, in steps of 1/256.

    Raises:
        OutOfReach: no quality meets it.
    """
    at_least = target.kind == "psnr"
    low, high = round(LOWEST * _STEPS), round(HIGHEST * _STEPS)
    worst, best = measure(LOWEST), measure(HIGHEST)

    def beyond(figure: float) -> bool:
        return target.is_met(figure) == at_least

    if beyond(worst):
        return _edge(LOWEST, at_least, f"{target}: quality 1, the lowest, has {target.say(worst)}")
    if not beyond(best):
        reached = f"{target}: quality 6, the highest, has {target.say(best)}"
        return _edge(HIGHEST, not at_least, reached)
    turn = 0
    while high - low > 1:
        # Figures are nearly linear in the quality, sizes in their logarithm. Every third guess
        # halves what is left, should they not be.
        share = _share(target, worst, best) if turn % 3 < 2 else 0.5
        turn += 1
        middle = min(max(low + round(share * (high - low)), low + 1), high - 1)
        figure = measure(middle / _STEPS)
        if beyond(figure):
            high, best = middle, figure
        else:
            low, worst = middle, figure
    return (high if at_least else low) / _STEPS


def _edge(quality: float, meets: bool, fault: str) -> float:
    if not meets:
        raise OutOfReach(f"no quality of this model reaches {fault}: choose another target")
    return quality


def _share(target: Target, low: float, high: float) -> float:
    """Where between two figures the target lies, 0 to 1."""
    if not low < high:
        return 0.5
    if target.kind == "psnr":
        return (target.value - low) / (high - low)
    return math.log(target.value / low) / math.log(high / low)
