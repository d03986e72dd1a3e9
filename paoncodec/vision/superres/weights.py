"""Weights files of super-resolution networks, which say what they are the weights of."""

from __future__ import annotations

import os
from collections.abc import Mapping

from paoncodec.vision.superres.networks import SuperResNet
from paoncodec.vision.weights import load_network, save_network

__all__ = ["TASK", "load_weights", "save_weights"]

TASK = "superres"


def save_weights(
    model: SuperResNet, path: str | os.PathLike[str], network: str, metadata: Mapping[str, str]
) -> None:
    """Writes a file that :func:`load_weights` reads.

    Args:
        model: on any device.
        path: of the file.
        network: its name in :data:`.NETWORKS`.
        metadata: whatever else the file should say of itself.

    Raises:
        ValueError: a weight is not a finite number.
        SafetensorError: the file cannot be written.
    """
    save_network(model, path, {"task": TASK, "network": network, **metadata}, model.config)


def load_weights(path: str | os.PathLike[str]) -> tuple[SuperResNet, dict[str, str]]:
    """The network in a weights file, in evaluation mode, and the file's metadata.

    Raises:
        WeightsError: not a weights file of super-resolution, or one that does not fit its network.
    """
    return load_network(path, TASK, "super-resolution", lambda config: SuperResNet(**config))
