"""The user's scale of quality, 1 to 6, and the λ that each quality stands for."""

from __future__ import annotations

import math
from itertools import pairwise

__all__ = ["DEFAULT", "HIGHEST", "LMBDA_GRID", "LOWEST", "VARIABLE", "lmbda_of", "quality_of"]

#: λ of the qualities 1 to 6 in ``λ·255²·MSE + bpp``: CompressAI's grid for mean squared error, its
#: first six, which are the paper's ("Padé Neurons for Efficient Neural Models", IV-B).
LMBDA_GRID = (0.0018, 0.0035, 0.0067, 0.0130, 0.0250, 0.0483)
LOWEST, HIGHEST = 1.0, 6.0
#: What a model of all qualities codes with where nobody asks for another.
DEFAULT = 4.0
#: In place of a λ: all of them, by one network.
VARIABLE = "variable"


def quality_of(lmbda: float) -> float:
    """The quality, 1 to 6, that belongs to a λ: 0.0018 → 1, 0.013 → 4, 0.0483 → 6.

    Between the λs of the whole qualities it is linear in log λ; beyond them it stays 1 or 6.

    Raises:
        ValueError: λ is not a positive number.

    >>> quality_of(0.013), quality_of(1.0)
    (4.0, 6.0)
    """
    if not 0 < lmbda < math.inf:
        raise ValueError(f"lmbda is {lmbda}, legal is a positive number such as 0.013")
    if lmbda <= LMBDA_GRID[0]:
        return LOWEST
    for below, (low, high) in enumerate(pairwise(LMBDA_GRID), start=1):
        if lmbda <= high:
            return below + math.log(lmbda / low) / math.log(high / low)
    return HIGHEST


def lmbda_of(quality: float) -> float:
    """The λ of a quality, 1 to 6; the inverse of :func:`quality_of`.

    Raises:
        ValueError: a quality outside 1 to 6, or NaN.

    >>> lmbda_of(4.0), round(lmbda_of(3.5), 5)
    (0.013, 0.00933)
    """
    if not LOWEST <= quality <= HIGHEST:
        raise ValueError(f"quality is {quality}, legal is {LOWEST:g} to {HIGHEST:g}")
    below = min(int(quality), len(LMBDA_GRID) - 1)
    low, high = LMBDA_GRID[below - 1], LMBDA_GRID[below]
    return low * (high / low) ** (quality - below)
