"""Where the bits of a file went, as a picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from paoncodec.api import RateMap
from paoncodec.evaluation.plots import figure_file
from paoncodec.images import Samples

__all__ = ["density", "draw"]

# Few positions may cost far more than the rest; they would leave all others dark.
_BRIGHTEST = 0.995

Bits = npt.NDArray[np.float64]


def density(where: RateMap) -> Bits:
    """Bits per pixel at each position of the finest part; those of coarser ones are spread evenly.

    Returns:
        (H', W') as the finest part. Its mean is the bits per pixel of all parts together.
    """
    parts = where.bits.values()
    finest = max((part.shape for part in parts), key=lambda shape: shape[0] * shape[1])
    pixels = where.size[0] * where.size[1]
    spread = [_spread(part, finest) for part in parts]
    return np.sum(spread, axis=0) * (finest[0] * finest[1]) / pixels


def _spread(part: Bits, shape: tuple[int, ...]) -> Bits:
    times = [whole // own for whole, own in zip(shape, part.shape, strict=True)]
    return part.repeat(times[0], axis=0).repeat(times[1], axis=1) / (times[0] * times[1])


def draw(where: RateMap, picture: Samples, picture_format: str, title: str) -> bytes:
    """The decoded picture and, beside it or below, the map of its bits: a picture file.

    Args:
        where: the bits.
        picture: uint8 (H, W, C).
        picture_format: one of `plots.FORMATS`.
        title: above it.

    Raises:
        UsageError: another format.
    """
    height, width, channels = picture.shape
    rates = density(where)
    beside = height > width
    with figure_file(picture_format, _sides(height, width, beside)) as (figure, content):
        figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=11)
        above, below = figure.subplots(*((1, 2) if beside else (2, 1)))
        shown = picture[:, :, 0] if channels == 1 else picture
        above.imshow(shown, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        image = below.imshow(
            rates,
            cmap="magma",
            vmin=0,
            vmax=max(float(np.quantile(rates, _BRIGHTEST)), 1e-3),
            extent=(0, where.size[1], where.size[0], 0),
            interpolation="nearest",
        )
        below.set_xlim(0, width)  # what was added to the picture is not shown
        below.set_ylim(height, 0)
        for axes in (above, below):
            axes.set_axis_off()
        bar: Any = figure.colorbar(image, ax=[above, below], shrink=0.6, aspect=30, extend="max")
        bar.set_label("bits per pixel")
        bar.outline.set_visible(False)
    return content.getvalue()


def _sides(height: int, width: int, beside: bool) -> tuple[float, float]:
    """Of the figure in inches: pictures of 5 inches at most, and room for title and bar."""
    ratio = height / width
    high, wide = (5.0, 5.0 / ratio) if beside else (5.0 * ratio, 5.0)
    high, wide = max(high, 0.8), max(wide, 0.8)
    return (2 * wide + 1.4, high + 0.6) if beside else (wide + 1.4, 2 * high + 0.6)
