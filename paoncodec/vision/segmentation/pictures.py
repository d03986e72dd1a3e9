"""Slices as pictures, with their labels in colour."""

from __future__ import annotations

import colorsys

import torch
from torch import Tensor

__all__ = ["beside", "overlay", "palette"]

#: How much of a pixel is its label's colour.
_SHARE = 0.5


def overlay(values: Tensor, labels: Tensor) -> Tensor:
    """(H, W) of [-1, 1] and (H, W) labels → (3, H, W) of [0, 1]; label 0 has no colour."""
    grey = ((values + 1) / 2).clamp(0, 1).expand(3, *values.shape)
    colours = palette(int(labels.max()) + 1)[labels.long()].movedim(-1, 0)
    return torch.where(labels > 0, (1 - _SHARE) * grey + _SHARE * colours, grey)


def beside(values: Tensor, found: Tensor, wanted: Tensor) -> Tensor:
    """(3, H, 3·W): a slice, with what was found, and with what is wanted."""
    parts = [overlay(values, torch.zeros_like(found)), overlay(values, found)]
    return torch.cat([*parts, overlay(values, wanted)], dim=2)


def palette(count: int) -> Tensor:
    """(count, 3) of [0, 1], the colour of each label: hues a golden section apart, so that
    neighbours differ."""
    return torch.tensor([colorsys.hsv_to_rgb(n * 0.618034 % 1, 0.9, 1.0) for n in range(count)])
