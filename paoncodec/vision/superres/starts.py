"""Where training starts: a network that interpolates, in place of one that gives noise.

As ``GELU(v) - GELU(-v) = v``, three features and their negatives carry a picture unchanged through
the up-samplers. The other features start at random; the last layer takes to them as it learns.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from paoncodec.errors import UsageError
from paoncodec.layers import PaLaConv2d
from paoncodec.vision.superres.networks import SuperResNet

__all__ = ["CHANNELS", "linear_start"]

#: Features that the start takes: red, green and blue, and their negatives.
CHANNELS = 6
#: Weights of the pixel before, of the pixel itself and of the one behind, for a place a quarter of
#: a pixel before it: those of the parabola through the three.
_QUARTER_BEFORE = (0.15625, 0.9375, -0.09375)


def linear_start(model: SuperResNet) -> None:
    """Sets a network so that it enlarges by interpolation, ×2 for each up-sampler.

    Raises:
        UsageError: it has fewer than :data:`CHANNELS` features.
    """
    if model.first.out_channels < CHANNELS:
        raise UsageError(
            f"start 'linear' with {model.first.out_channels} channels: it takes {CHANNELS}; choose "
            "start 'random'"
        )
    spread = torch.cat([torch.eye(3), -torch.eye(3)])  # picture → features, (6, 3)
    pixel = torch.zeros(3, 3)
    pixel[1, 1] = 1
    _set_rows(model.first, range(CHANNELS), spread / 2, pixel)
    _set_rows(model.fuse, range(CHANNELS), torch.zeros(CHANNELS, CHANNELS), pixel)
    for upsampler in model.upsamplers:
        layer = cast(PaLaConv2d, cast(nn.Sequential, upsampler)[0])
        for place in range(4):  # PixelShuffle takes feature c of a place from channel 4·c + place
            rows = range(place, 4 * CHANNELS, 4)
            _set_rows(layer, rows, spread @ spread.T, _kernel(place))
    _set_rows(model.last, range(3), spread.T, pixel)


def _kernel(place: int) -> Tensor:
    """(3, 3) weights for one of the four places of a pixel, in raster order."""
    before = torch.tensor(_QUARTER_BEFORE)
    below, right = divmod(place, 2)
    return torch.outer(*(before.flip(0) if behind else before for behind in (below, right)))


def _set_rows(layer: PaLaConv2d, rows: Iterable[int], mix: Tensor, kernel: Tensor) -> None:
    """Makes the outputs ``rows`` of a convolution ``mix`` of its first inputs, through a kernel."""
    numerator = layer.numerator
    assert numerator is not None  # noqa: S101  an ordinary convolution has one
    chosen = list(rows)
    weight = numerator.detach().clone()
    weight[chosen] = 0
    weight[chosen, : mix.shape[1]] = mix[:, :, None, None] * kernel
    with torch.no_grad():
        layer.bias[chosen] = 0
        if hasattr(layer, "parametrizations"):
            # Parted into lengths and directions.
            layer.numerator = weight  # type: ignore[assignment]
        else:
            numerator.copy_(weight)
