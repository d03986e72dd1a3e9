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


def emulates_bfloat16(device_type: str) -> bool:
    """Whether it is an x86 CPU without instructions for bfloat16, as far as torch tells."""
    if device_type != "cpu" or not hasattr(torch.cpu, "get_capabilities"):
        return False
    known = torch.cpu.get_capabilities()
    native = ("avx512_bf16", "amx_bf16", "avx_ne_convert")
    return known.get("architecture") == "x86_64" and not any(map(known.get, native))


@contextmanager
def in_precision(precision: str, device_type: str) -> Iterator[None]:
    """Inside, a model's forward is computed so, and the backward that belongs to it.

    Gradients alone are in bfloat16 where that is faster: not on a CPU that emulates it.
    """
    with (
        gradients_in_bfloat16(
            precision == "bfloat16-gradients" and not emulates_bfloat16(device_type)
        ),
        torch.autocast(
            device_type, _REDUCED.get(precision, torch.bfloat16), enabled=precision in _REDUCED
        ),
    ):
        yield
