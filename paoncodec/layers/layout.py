"""How maps lie in memory."""

from __future__ import annotations

import torch
from torch import Tensor


def channels_last(x: Tensor) -> bool:
    """Whether (B, C, H, W) lies in memory so, and not as it is written."""
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
