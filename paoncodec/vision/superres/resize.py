"""Pictures enlarged and reduced as MATLAB's ``imresize`` does it with its default, bicubic.

The low-resolution pictures of the field (Set5, Set14, BSD100, DIV2K) are made so: with the cubic
kernel of Keys (1981), a = -1/2, widened by the factor when a picture is reduced. MATLAB continues a
picture beyond its borders by mirroring, and so does this; of the files that are shared some differ
from that, within three pixels of the border.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

__all__ = ["enlarge", "reduce"]

Pixels = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.float64]

#: Reach of the cubic kernel to either side, in pixels of the coarser picture.
KERNEL_REACH = 2


def reduce(pixels: Pixels, scale: int) -> Pixels:
    """A picture a whole number of times smaller: (H, W, C) → (⌈H / scale⌉, ⌈W / scale⌉, C)."""
    height, width = (math.ceil(side / scale) for side in pixels.shape[:2])
    return _resized(pixels, height, width, 1 / scale)


def enlarge(pixels: Pixels, scale: int) -> Pixels:
    """A picture a whole number of times larger: (H, W, C) → (scale·H, scale·W, C)."""
    height, width = pixels.shape[:2]
    return _resized(pixels, scale * height, scale * width, scale)


def _resized(pixels: Pixels, height: int, width: int, scale: float) -> Pixels:
    """Rows first, and whole numbers after each of both, as MATLAB does with pictures of 8 bits."""
    rows = _along_rows(pixels, height, scale)
    return _along_rows(rows.swapaxes(0, 1), width, scale).swapaxes(0, 1)


def _along_rows(pixels: Pixels, count: int, scale: float) -> Pixels:
    indexes, weights = _taps(len(pixels), count, scale)
    total = np.zeros((count, *pixels.shape[1:]), np.float64)
    for index, weight in zip(indexes.T, weights.T, strict=True):
        total += weight[:, None, None] * pixels[index]
    # Half away from zero, as MATLAB; the sums are positive where it matters.
    return np.floor(total.clip(0, 255) + 0.5).astype(np.uint8)


def _taps(size: int, count: int, scale: float) -> tuple[npt.NDArray[np.int64], Numbers]:
    """Which of ``size`` samples each of ``count`` new ones is made of, and their weights.

    Returns:
        (count, taps) both; weights sum to 1.
    """
    narrow = min(scale, 1.0)  # antialiasing: never finer than the new grid
    centre = (np.arange(count) + 0.5) / scale - 0.5
    taps = math.ceil(2 * KERNEL_REACH / narrow) + 2
    first = np.floor(centre - KERNEL_REACH / narrow).astype(np.int64)
    places = first[:, None] + np.arange(taps)
    weights = narrow * _cubic(narrow * (centre[:, None] - places))
    weights /= weights.sum(1, keepdims=True)
    mirrored = places % (2 * size)
    return np.minimum(mirrored, 2 * size - 1 - mirrored), weights


def _cubic(x: Numbers) -> Numbers:
    """The kernel of Keys."""
    x = np.abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))
