"""The number formats that a run may compute in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from paoncodec.layers.convolutions import gradients_in_bfloat16

#: What they are is said by :class:`paoncodec.training.TrainConfig`.
PRECISIONS = ("float32", "bfloat16-gradients", "bfloat16", "float16")

#: Those in which autocast computes values, too.
_REDUCED = {"bfloat16": torch.bfloat16, "float16": torch.float16}


@contextmanager
def in_precision(precision: str, device_type: str) -> Iterator[None]:
    """Inside, a model's forward is computed so, and the backward that belongs to it."""
    with (
        gradients_in_bfloat16(precision == "bfloat16-gradients"),
        torch.autocast(
            device_type, _REDUCED.get(precision, torch.bfloat16), enabled=precision in _REDUCED
        ),
    ):
        yield
