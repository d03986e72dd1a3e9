"""What is done to training pictures so that a network sees more of them."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from PIL import Image

from paoncodec.images import to_pil

__all__ = ["noisy", "photons", "resized_part", "shuffled", "tilted", "turned"]

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


def tilted(pixels: Picture, degrees: float) -> Picture:
    """(H, W, C) turned about its middle, black where nothing was."""
    if not degrees:
        return pixels
    return np.asarray(to_pil(pixels).rotate(degrees, Image.Resampling.BILINEAR))


def resized_part(
    pixels: Picture,
    size: int,
    rng: np.random.Generator,
    scale: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> Picture:
    """(H, W, C) → (size, size, C), a random part of the picture: Szegedy et al., "Going Deeper with
    Convolutions" (2015), 6, and torchvision's ``RandomResizedCrop``.

    Args:
        scale: the part's share of the picture, between these.
        ratio: its width by its height.
    """
    height, width, _ = pixels.shape
    for _ in range(10):
        area = height * width * rng.uniform(*scale)
        shape = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
        wide, high = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
        if 0 < wide <= width and 0 < high <= height:
            break
    else:  # of a very long picture: as much as the ratio allows
        wide, high = min(width, round(height * ratio[1])), min(height, round(width / ratio[0]))
    top, left = int(rng.integers(height - high + 1)), int(rng.integers(width - wide + 1))
    part = to_pil(np.ascontiguousarray(pixels[top : top + high, left : left + wide]))
    return np.asarray(part.resize((size, size), Image.Resampling.BILINEAR))


def photons(pixels: Picture, white: float, rng: np.random.Generator) -> Picture:
    """Pictures as they would be of so few photons: Poisson noise, rounded and clipped.

    Args:
        pixels: of any shape.
        white: photons of the value 255.
    """
    counted = rng.poisson(pixels * (white / 255))
    return np.rint(counted * (255 / white)).clip(0, 255).astype(np.uint8)
