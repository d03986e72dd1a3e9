"""The noise that stands for rounding in training, drawn for each image by itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from compressai.entropy_models import EntropyBottleneck, EntropyModel
from torch import Tensor, nn

from paoncodec.training import Samples


@contextmanager
def noise_of(samples: Samples, model: nn.Module) -> Iterator[None]:
    """Inside, CompressAI's entropy models in ``model`` take their noise from ``samples``.

    By themselves they draw it from torch's default generator for all images at once: a batch that
    is cut otherwise, for other processes or micro-batches, would be trained with other noise.
    """
    priors = [module for module in model.modules() if isinstance(module, EntropyModel)]
    for prior in priors:
        prior.quantize = partial(_quantize, prior, samples)  # hides the method of the class
    try:
        yield
    finally:
        for prior in priors:
            del prior.quantize


def _quantize(
    prior: EntropyModel, samples: Samples, inputs: Tensor, mode: str, means: Tensor | None = None
) -> Tensor:
    """``prior.quantize``, its additive noise drawn by image."""
    if mode != "noise":
        return type(prior).quantize(prior, inputs, mode, means)
    if isinstance(prior, EntropyBottleneck):
        # (C, 1, B·H·W): the images one after another.
        channels = len(inputs)
        drawn = samples.uniform(channels, inputs[0].numel() // len(samples)).transpose(0, 1)
    else:
        drawn = samples.uniform(*inputs.shape[1:])
    return inputs + (drawn.reshape(inputs.shape) - 0.5).to(inputs.dtype)
