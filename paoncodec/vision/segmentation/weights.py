"""Weights files of segmentation networks, which say what they are the weights of."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from paoncodec.vision.segmentation.networks import ResUNet
from paoncodec.vision.weights import load_network, save_network

__all__ = ["TASK", "Segmenter", "load_weights", "save_weights"]

TASK = "segmentation"


@dataclass(frozen=True)
class Segmenter:
    """A network with what its use takes.

    Args:
        model: the network.
        classes: their names by label; the first is the background.
        window: Hounsfield units that become -1 and 1.

    Raises:
        ValueError: other classes than the network has, or a window that does not rise.
    """

    model: ResUNet
    classes: tuple[str, ...]
    window: tuple[float, float]

    def __post_init__(self) -> None:
        if len(self.classes) != self.model.classes:
            raise ValueError(f"classes {self.classes}: the network has {self.model.classes}")
        low, high = self.window
        if not low < high:
            raise ValueError(f"window {self.window}: must rise")


def save_weights(
    segmenter: Segmenter, path: str | os.PathLike[str], network: str, metadata: Mapping[str, str]
) -> None:
    """Writes a file that :func:`load_weights` reads.

    Args:
        segmenter: its network on any device.
        path: of the file.
        network: its name in :data:`.NETWORKS`.
        metadata: whatever else the file should say of itself.

    Raises:
        ValueError: a weight is not a finite number.
        SafetensorError: the file cannot be written.
    """
    about = {"task": TASK, "network": network, **metadata}
    use = {"classes": list(segmenter.classes), "window": list(segmenter.window)}
    save_network(segmenter.model, path, about, {"model": segmenter.model.config, **use})


def load_weights(path: str | os.PathLike[str]) -> tuple[Segmenter, dict[str, str]]:
    """The network in a weights file, in evaluation mode, and the file's metadata.

    Raises:
        WeightsError: not a weights file of segmentation, or one that does not fit its network.
    """
    model, metadata = load_network(
        path, TASK, "segmentation", lambda config: _segmenter(config).model
    )
    return _segmenter(json.loads(metadata["config"]), model), metadata


def _segmenter(config: Mapping[str, Any], model: ResUNet | None = None) -> Segmenter:
    """What a config describes, with a network of its own if there is none yet."""
    low, high = map(float, config["window"])
    made = ResUNet(**config["model"]) if model is None else model
    return Segmenter(made, tuple(map(str, config["classes"])), (low, high))
