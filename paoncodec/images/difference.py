"""How far two pictures are apart."""

from __future__ import annotations

import numpy as np

from paoncodec.images.picture import Samples

__all__ = ["psnr"]


def psnr(before: Samples, after: Samples) -> float:
    """Peak signal-to-noise ratio in dB of two pictures of one shape and depth; infinite when equal.

    The peak is 255 for uint8, 65535 for uint16.
    """
    error = np.mean((before.astype(np.float64) - after) ** 2)
    peak = int(np.iinfo(before.dtype).max)
    return float(10 * np.log10(peak**2 / error)) if error else float("inf")
