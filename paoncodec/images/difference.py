"""How far two pictures are apart."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["psnr"]


def psnr(before: npt.NDArray[np.uint8], after: npt.NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio of two 8-bit pictures of one shape in dB; infinite when equal."""
    error = np.mean((before.astype(np.float64) - after) ** 2)
    return float(10 * np.log10(255**2 / error)) if error else float("inf")
