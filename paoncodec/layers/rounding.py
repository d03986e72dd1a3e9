"""Rounding that can be learned through."""

from __future__ import annotations

from torch import Tensor


def rounded_through(x: Tensor) -> Tensor:
    """Whole numbers with the gradient of the numbers themselves: that of rounding is 0."""
    return x.round() + (x - x.detach())
