"""What is done to training pictures so that a network sees more of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["noisy", "shuffled", "turned"]

Picture = npt.NDArray[np.uint8]


def turned(pixels: Picture, quarters: int) -> Picture:
    """(H, W, C) turned by so many quarters of a circle."""
    return np.rot90(pixels, quarters)


def shuffled(pixels: Picture, rng: np.random.Generator) -> Picture:
    """(H, W, 3) with its channels in a random order."""
    return pixels[:, :, rng.permutation(pixels.shape[2])]


def noisy(
    values: npt.NDArray[np.float32], ratio: float, rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Adds Gaussian noise.

    Args:
        values: of any shape.
        ratio: of the values' mean square to the noise's, in dB.
    """
    power = float(np.mean(np.square(values, dtype=np.float64)))
    deviation = (power * 10 ** (-ratio / 10)) ** 0.5
    noise = rng.standard_normal(values.shape, np.float32)
    return values + np.float32(deviation) * noise
