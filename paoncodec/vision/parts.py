"""What networks of several tasks are made of, and the range of their pictures."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn

from paoncodec.layers import ElementShift, NoShift, PredictedShift, StaticShift
from paoncodec.layers.base import PaLa

__all__ = ["SHIFTS", "drop_bias", "parameter_count", "to_range"]

#: How layers shift their features, by the names of options.
SHIFTS: Mapping[str, NoShift | StaticShift | PredictedShift | ElementShift] = MappingProxyType(
    {
        "none": NoShift(),
        "static": StaticShift(1.0),
        "predicted": PredictedShift(),
        "element-1": ElementShift(1),
        "element-3": ElementShift(3),
        "whole-1": ElementShift(1, whole=True),
        "whole-3": ElementShift(3, whole=True),
    }
)


def drop_bias(layer: PaLa) -> None:
    """Makes a0 a constant 0."""
    zeros = torch.zeros_like(layer.bias.detach())
    del layer.bias
    layer.register_buffer("bias", zeros, persistent=False)


def parameter_count(model: nn.Module) -> int:
    """Learned numbers of a model, each counted once."""
    return sum(p.numel() for p in model.parameters())


def to_range(pixels: Tensor) -> Tensor:
    """uint8 → float32 in [-1, 1], the range of the networks."""
    return pixels.float() / 127.5 - 1
