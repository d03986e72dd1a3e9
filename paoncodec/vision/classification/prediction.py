"""Pictures to probabilities."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, nn

from paoncodec.errors import ImageError
from paoncodec.images import to_pil
from paoncodec.vision.classification.data import Block
from paoncodec.vision.classification.networks import Classifier
from paoncodec.vision.classification.samples import Pictures
from paoncodec.vision.parts import to_range

__all__ = ["Answered", "answers", "classify", "fitted", "logits_of"]

Pixels = npt.NDArray[np.uint8]

#: Pictures, and their pixels, that are computed at a time.
_BATCH, _BATCH_PIXELS = 250, 2**21


class Answered(NamedTuple):
    """Some of a data set's pictures and what a network says of them."""

    block: Block
    logits: Tensor


def answers(
    model: nn.Module, images: Pictures, altered: Callable[[Block], Block] | None = None
) -> Iterator[Answered]:
    """All pictures, some at a time, with (n, classes) float32 logits on the CPU.

    Args:
        model: in evaluation mode, of the pictures' classes.
        images: not empty.
        altered: what is done to pictures before the network sees them.
    """
    for first in range(0, len(images), _BATCH):
        block = images.block(first, first + _BATCH)
        if altered is not None:
            block = altered(block)
        known = len(block.places) > 0
        yield Answered(
            block,
            logits_of(model, block.pixels) if known else torch.empty(0, len(images.classes)),
        )


def classify(model: Classifier, pixels: Pixels) -> dict[str, float]:
    """The probability of each class, the most likely first.

    Args:
        model: in evaluation mode.
        pixels: uint8 (S, S, C) with S the model's size; grey, C = 1, or RGB.

    Raises:
        ImageError: a picture of another shape, or the network gives values that are not numbers.
    """
    size = model.size
    if pixels.shape not in ((size, size, 1), (size, size, 3)):
        height, width, channels = pixels.shape
        raise ImageError(
            f"a picture of {width}x{height} pixels, {channels} channels: this network takes "
            f"{size}x{size}, grey or RGB; resize it (--resize), or give another"
        )
    rgb = np.broadcast_to(pixels, (size, size, 3))
    [logits] = logits_of(model, rgb[np.newaxis])
    if not torch.isfinite(logits).all():
        raise ImageError("the network gives values that are not numbers: its weights are unsound")
    probabilities = logits.double().softmax(0)
    order = probabilities.argsort(descending=True).tolist()
    return {model.classes[k]: probabilities[k].item() for k in order}


def logits_of(model: nn.Module, pixels: Pixels) -> Tensor:
    """uint8 (N, S, S, 3), on the CPU → (N, classes) float32, also on the CPU."""
    device = next(model.parameters()).device
    batch = max(1, min(_BATCH, _BATCH_PIXELS // pixels[0, ..., 0].size))

    def parts() -> Iterator[Tensor]:
        for first in range(0, len(pixels), batch):
            part = np.ascontiguousarray(pixels[first : first + batch].transpose(0, 3, 1, 2))
            yield model(to_range(torch.from_numpy(part).to(device))).float().cpu()

    with torch.inference_mode():
        return torch.cat(list(parts()))


def fitted(pixels: Pixels, size: int) -> Pixels:
    """The largest square in the middle of a picture, resized to (size, size, C)."""
    height, width, _ = pixels.shape
    side = min(height, width)
    left, top = (width - side) // 2, (height - side) // 2
    box = (left, top, left + side, top + side)
    image = to_pil(pixels).crop(box).resize((size, size), Image.Resampling.LANCZOS)
    return np.asarray(image).reshape(size, size, pixels.shape[2])
