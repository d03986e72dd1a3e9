"""The loss of super-resolution."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["barron"]


def barron(x: Tensor, alpha: float, c: float) -> Tensor:
    """The general robust loss of each difference: any shape → the same.

    Barron, "A General and Adaptive Robust Loss Function" (CVPR 2019), eq. 8: ``|α - 2| / α ·
    (((x / c)² / |α - 2| + 1)^(α / 2) - 1)``; its limits at α = 2 (half the square), α = 0 (Cauchy)
    and α = -∞ (Welsch). α = 1 is Charbonnier's, α = -2 Geman and McClure's. Near 0 all are
    ``(x / c)² / 2``.

    Args:
        x: differences.
        alpha: shape: the smaller, the less outliers count.
        c: scale > 0, about the size of a difference from which on it is an outlier.
    """
    square = (x / c).square()
    if alpha == 2:
        return square / 2
    if alpha == 0:
        return torch.log1p(square / 2)
    if alpha == -math.inf:
        return -torch.expm1(-square / 2)
    b = abs(alpha - 2)
    # As a power minus 1 it would lose most digits of small differences.
    return b / alpha * torch.expm1(alpha / 2 * torch.log1p(square / b))
