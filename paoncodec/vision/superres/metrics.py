"""PSNR and SSIM as super-resolution quotes them: of 8-bit pictures, without their border."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from pytorch_msssim import ssim

from paoncodec.errors import ImageError

__all__ = ["figures_of", "luma"]

Pixels = npt.NDArray[np.uint8]

#: Side of the window of Wang et al.'s SSIM.
_SSIM_WINDOW = 11


def figures_of(before: Pixels, after: Pixels, border: int) -> dict[str, float]:
    """Of one picture: ``psnr-rgb`` and ``psnr-y`` in dB, infinite for equal ones, and ``ssim-y``.

    SSIM is that of Wang et al. (2004): Gaussian window of 11 with σ = 1.5, where it fits wholly,
    K = (0.01, 0.03), of a range of 255.

    Args:
        before, after: uint8 (H, W, C).
        border: pixels left out on each side; the field leaves out as many as the scale.

    Raises:
        ImageError: sizes differ, or nothing is left for a window.
    """
    if before.shape != after.shape:
        raise ImageError(f"pictures of {before.shape} and {after.shape}: must be of one size")
    if min(before.shape[:2]) < _SSIM_WINDOW + 2 * border:
        raise ImageError(
            f"a picture of {before.shape[1]}x{before.shape[0]}: must have "
            f"{_SSIM_WINDOW + 2 * border} pixels a side to be measured with a border of {border}"
        )
    inner = slice(border, -border if border else None)
    first, second = (picture[inner, inner].astype(np.float64) for picture in (before, after))
    bright = luma(first), luma(second)
    return {
        "psnr-rgb": _psnr(first, second),
        "psnr-y": _psnr(*bright),
        "ssim-y": _ssim(*bright),
    }


def luma(rgb: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Y of ITU-R BT.601 in studio range, 16 to 235, not rounded: (H, W, 3) → (H, W).

    Grey, (H, W, 1), is RGB of three equal channels.
    """
    weights = np.array([65.481, 128.553, 24.966]) / 255
    return 16 + np.asarray(np.broadcast_to(rgb, (*rgb.shape[:2], 3)) @ weights, np.float64)


def _psnr(before: npt.NDArray[np.float64], after: npt.NDArray[np.float64]) -> float:
    error = float(np.mean(np.square(before - after)))
    return 10 * float(np.log10(255**2 / error)) if error else float("inf")


def _ssim(before: npt.NDArray[np.float64], after: npt.NDArray[np.float64]) -> float:
    first, second = (torch.from_numpy(picture)[None, None] for picture in (before, after))
    return float(ssim(first, second, data_range=255, win_size=_SSIM_WINDOW, win_sigma=1.5))
