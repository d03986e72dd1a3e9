"""Whether vision models that ship do, on this machine, what their card says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from paoncodec.errors import PaonError, WeightsError
from paoncodec.evaluation.zoo_check import PICTURE, Finding
from paoncodec.images import read_image
from paoncodec.vision import classification, segmentation, superres
from paoncodec.vision.classification.prediction import fitted
from paoncodec.vision.parts import parameter_count
from paoncodec.vision.segmentation.inference import probabilities
from paoncodec.vision.superres.metrics import figures_of
from paoncodec.vision.superres.resize import reduce
from paoncodec.vision_zoo import list_vision_cards, resolve_vision

__all__ = ["check_vision", "load_vision", "observe_vision"]

#: Side of what is cut from the middle of the test picture to be enlarged again, pixels.
_CROP = 256
#: Other machines sum in other orders.
_WITHIN = {"psnr": 0.02, "probability": 0.01}


Network = superres.SuperResNet | classification.Classifier | segmentation.Segmenter


def load_vision(path: Path, task: str) -> tuple[Network, dict[str, str]]:
    """The network in a weights file, and the file's metadata.

    Raises:
        WeightsError: not a weights file of the task.
    """
    if task == superres.TASK:
        return superres.load_weights(path)
    if task == classification.TASK:
        return classification.load_weights(path)
    if task == segmentation.TASK:
        return segmentation.load_weights(path)
    raise WeightsError(f"{path}: of the task {task!r}, which this release does not know")


def observe_vision(path: Path, task: str) -> dict[str, Any]:
    """What a network makes of the test picture: what a card records of it.

    Returns:
        Of super-resolution ``psnr`` in dB of a part of it, reduced and enlarged again; of
        classification the ``label`` of its middle, and its ``probability``; of segmentation those
        of the likeliest class of a part of it in grey, as a mean over its pixels.

    Raises:
        WeightsError: not a weights file of the task.
    """
    network, _ = load_vision(path, task)
    pixels = read_image(PICTURE)
    if isinstance(network, classification.Classifier):
        label, share = next(
            iter(classification.classify(network, fitted(pixels, network.size)).items())
        )
        return {"label": label, "probability": round(share, 4)}
    top, left = ((side - _CROP) // 2 for side in pixels.shape[:2])
    high = np.ascontiguousarray(pixels[top : top + _CROP, left : left + _CROP])
    if isinstance(network, segmentation.Segmenter):
        grey = high.mean(2, dtype=np.float32, keepdims=True) / np.float32(127.5) - 1
        with probabilities(network.model, grey, axes=(2,)) as found:
            shares = found.mean((0, 1, 2), dtype=np.float64)
        likeliest = int(shares.argmax())
        return {
            "label": network.classes[likeliest],
            "probability": round(float(shares[likeliest]), 4),
        }
    large = superres.upscale(network, reduce(high, network.scale))
    return {"psnr": round(float(figures_of(high, large, network.scale)["psnr-rgb"]), 4)}


def check_vision(name: str) -> Iterator[Finding]:
    """Everything that can be said of a vision model: hash, loading, and the test picture.

    Args:
        name: of one that ships.

    Raises:
        WeightsError: there is none of that name.
    """
    cards = {card.name: card for card in list_vision_cards()}
    if name not in cards:
        raise WeightsError(f"no weights {name!r} in the zoo: `paoncodec zoo list` names them")
    card = cards[name]
    try:
        path = resolve_vision(name, card.task)
        yield Finding("SHA-256", True, card.sha256)
        network, _ = load_vision(path, card.task)
        model = network.model if isinstance(network, segmentation.Segmenter) else network
        yield Finding("loads", True, f"{parameter_count(model) / 1e3:.0f} K parameters")
        found = observe_vision(path, card.task)
    except PaonError as error:
        yield Finding("weights", False, str(error))
        return
    said = ", ".join(f"{key} {value}" for key, value in found.items())
    recorded = ", ".join(f"{key} {value}" for key, value in card.check.items()) or "nothing"
    yield Finding("test picture", _near(found, card.check), f"{said}; recorded {recorded}")


def _near(found: Mapping[str, Any], recorded: Mapping[str, Any]) -> bool:
    return found.keys() == recorded.keys() and all(
        abs(value - recorded[key]) <= _WITHIN[key] if key in _WITHIN else value == recorded[key]
        for key, value in found.items()
    )
