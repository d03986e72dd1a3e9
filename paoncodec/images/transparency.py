"""Colours that transparency hides, made cheap."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from paoncodec.images.picture import Samples

__all__ = ["fill_hidden"]


def fill_hidden(samples: Samples, alpha: Samples | None) -> Samples:
    """The samples with new colours where alpha is 0: those around, spread smoothly.

    Each hidden pixel takes the mean of what is seen in the smallest square of an ever coarser grid
    that sees anything (a pull-push pyramid: Gortler et al., "The Lumigraph", 1996, section 3.4).

    Args:
        samples: (H, W, C).
        alpha: (H, W); None: nothing is hidden.
    """
    if alpha is None or alpha.all():
        return samples
    seen = alpha > 0
    if not seen.any():
        return np.zeros_like(samples)
    filled = _pulled(samples.astype(np.float32) * seen[:, :, np.newaxis], seen.astype(np.float32))
    hidden = np.rint(filled).astype(samples.dtype)
    return np.where(seen[:, :, np.newaxis], samples, hidden)


def _pulled(
    sums: npt.NDArray[np.float32], weights: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Colours (H, W, C) of weighted ones: their own where weights are 1, mixed with those of the
    coarser grid below."""
    height, width = weights.shape
    if height == width == 1:
        return sums / weights[:, :, np.newaxis]
    rows, columns = -(-height // 2), -(-width // 2)
    margins = ((0, 2 * rows - height), (0, 2 * columns - width))
    coarse_weights = np.pad(weights, margins).reshape(rows, 2, columns, 2).sum(axis=(1, 3))
    coarse_sums = np.pad(sums, (*margins, (0, 0))).reshape(rows, 2, columns, 2, -1).sum(axis=(1, 3))
    # No square counts for more than one pixel: else a rim would drown what lies farther off.
    scale = 1 / np.maximum(coarse_weights, 1)
    coarse = _pulled(coarse_sums * scale[:, :, np.newaxis], coarse_weights * scale)
    below = _doubled(coarse)[:height, :width]
    return sums + (1 - weights)[:, :, np.newaxis] * below


def _doubled(coarse: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Twice as many rows and columns, each ¾ of its own and ¼ of the nearer neighbour's."""
    for axis in (0, 1):
        own = np.moveaxis(coarse, axis, 0)
        before = np.concatenate([own[:1], own[:-1]])
        after = np.concatenate([own[1:], own[-1:]])
        pairs = np.stack([0.75 * own + 0.25 * before, 0.75 * own + 0.25 * after], axis=1)
        coarse = np.moveaxis(pairs.reshape(2 * len(own), *own.shape[1:]), 0, axis)
    return coarse
