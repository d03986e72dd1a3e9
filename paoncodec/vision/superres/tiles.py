"""Whole pictures through a network, tile by tile: what it takes does not grow with the picture."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from paoncodec.errors import ImageError, UsageError
from paoncodec.images import Picture, Samples, to_samples
from paoncodec.vision.parts import to_range
from paoncodec.vision.superres.networks import SuperResNet

__all__ = ["HALO", "TILE", "enlarge_picture", "upscale"]

#: Side of a tile and width of what is seen around it, pixels of the small picture. With three
#: blocks the kernels alone reach 10 pixels; learned shifts reach further, as far as they choose.
TILE = 160
HALO = 16


def enlarge_picture(
    model: SuperResNet, picture: Picture, tile: int = TILE, halo: int = HALO
) -> Picture:
    """A picture as many times larger as the model's scale, of the same depth, with its metadata.

    Its transparency goes through the network as a grey picture does, and is kept between the least
    and the largest value around each pixel: what is opaque stays so. Arguments and errors are those
    of :func:`upscale`.
    """
    alpha = None if picture.alpha is None else _alpha(model, picture.alpha, tile, halo)
    return Picture(upscale(model, picture.samples, tile, halo), alpha, picture.metadata)


def _alpha(model: SuperResNet, alpha: Samples, tile: int, halo: int) -> Samples:
    """(H, W) → (scale·H, scale·W)."""
    values = torch.from_numpy(alpha.astype(np.float32))[None]
    most = F.max_pool2d(values, 3, 1, 1)[0].numpy()
    least = -F.max_pool2d(-values, 3, 1, 1)[0].numpy()
    low, high = (
        bound.astype(alpha.dtype).repeat(model.scale, 0).repeat(model.scale, 1)
        for bound in (least, most)
    )
    if (low == high).all():
        return low
    return upscale(model, alpha[:, :, np.newaxis], tile, halo)[:, :, 0].clip(low, high)


def upscale(model: SuperResNet, pixels: Samples, tile: int = TILE, halo: int = HALO) -> Samples:
    """Samples of a picture as many times larger as the model's scale.

    All tiles of a picture are of one size, so that bounds which depend on the size, as those of
    element-wise shifts do, are the same everywhere. A network whose reach is within the halo gives
    what it gives for the whole picture; predicted shifts see the tile where they would have seen
    the picture.

    Args:
        model: in evaluation mode.
        pixels: uint8 or uint16 (H, W, C); grey, C = 1, comes back grey.
        tile: side of the squares that are computed at a time, pixels of ``pixels``.
        halo: pixels seen around a tile.

    Returns:
        (scale·H, scale·W, C) of the same type.

    Raises:
        UsageError: a tile of no size, or a negative halo.
        ImageError: the network gives values that are not numbers.
    """
    if tile < 1 or halo < 0:
        raise UsageError(f"tile {tile}, halo {halo}: must be 1 or more, and 0 or more")
    height, width, channels = pixels.shape
    scale = model.scale
    result = np.empty((scale * height, scale * width, channels), pixels.dtype)
    for rows in _pieces(height, tile, halo):
        for columns in _pieces(width, tile, halo):
            seen = pixels[rows.seen, columns.seen]
            large = _whole(model, seen)[rows.inside(scale), columns.inside(scale)]
            result[rows.kept(scale), columns.kept(scale)] = large
    return result


class _Piece:
    """Of one side: what a tile sees, and what is kept of it."""

    def __init__(self, first: int, last: int, begin: int, end: int) -> None:
        self.seen = slice(begin, end)
        self._first, self._last, self._begin = first, last, begin

    def inside(self, scale: int) -> slice:
        """Where what is kept is in the enlarged tile."""
        return slice(scale * (self._first - self._begin), scale * (self._last - self._begin))

    def kept(self, scale: int) -> slice:
        """Where it goes in the enlarged picture."""
        return slice(scale * self._first, scale * self._last)


def _pieces(size: int, tile: int, halo: int) -> Iterator[_Piece]:
    window = min(size, tile + 2 * halo)
    for first in range(0, size, tile):
        begin = min(max(0, first - halo), size - window)
        yield _Piece(first, min(size, first + tile), begin, begin + window)


def _whole(model: SuperResNet, pixels: Samples) -> Samples:
    """(H, W, C) → (scale·H, scale·W, C) in one go."""
    device = next(model.parameters()).device
    peak = np.iinfo(pixels.dtype).max
    rgb = np.broadcast_to(pixels, (*pixels.shape[:2], 3)).transpose(2, 0, 1)
    x = torch.from_numpy(rgb.astype(np.float32) * np.float32(255 / peak)).to(device)
    with torch.inference_mode():
        y = unit_range(model(to_range(x)[None])[0].float())
    values = y.permute(1, 2, 0).cpu().numpy()
    if pixels.shape[2] == 1:
        values = values.clip(0, 1).mean(2, keepdims=True)
    if np.isnan(values).any():
        raise ImageError("the network gives values that are not numbers: its weights are unsound")
    return to_samples(values, 8 * pixels.dtype.itemsize)


def unit_range(values: Tensor) -> Tensor:
    """[-1, 1] → [0, 1], the range of pictures; what lies beyond stays beyond."""
    return (values + 1) / 2
