"""Weights files of classification networks, which say what they are the weights of."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import nn

from paoncodec.vision.classification.networks import Classifier, PadeResNet, ResNet
from paoncodec.vision.weights import load_network, save_network

__all__ = ["FORMATS", "TASK", "in_format", "load_weights", "save_weights"]

Network = TypeVar("Network", bound=nn.Module)

TASK = "classification"
#: What a whole network can be in, by name.
FORMATS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def save_weights(
    model: Classifier, path: str | os.PathLike[str], network: str, metadata: Mapping[str, str]
) -> None:
    """Writes a file that :func:`load_weights` reads.

    Args:
        model: on any device.
        path: of the file.
        network: its name in :data:`.NETWORKS` or :data:`.PURE_NETWORKS`.
        metadata: whatever else the file should say of itself.

    Raises:
        ValueError: a weight is not a finite number.
        SafetensorError: the file cannot be written.
    """
    first = next(model.parameters())  # of a convolution
    format_ = next(n for n, dtype in FORMATS.items() if dtype == first.dtype)
    about = {"task": TASK, "network": network, **metadata}
    save_network(model, path, about, {**model.config, "format": format_})


def load_weights(path: str | os.PathLike[str]) -> tuple[Classifier, dict[str, str]]:
    """The network in a weights file, in evaluation mode and its own format, and the metadata.

    Raises:
        WeightsError: not a weights file of classification, or one that does not fit its network.
    """
    return load_network(path, TASK, "classification", _make)


def in_format(model: Network, name: str) -> Network:
    """The model with its layers in one of :data:`FORMATS`; batch normalisation stays in float32,
    whose running means of many steps no shorter format holds.

    Raises:
        LookupError: no such format.
    """
    model.to(FORMATS[name])
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.float()
    return model


def _make(config: dict[str, Any]) -> Classifier:
    options = {name: value for name, value in config.items() if name != "format"}
    kind = ResNet if "depth" in options else PadeResNet
    return in_format(kind(**options), config["format"])
