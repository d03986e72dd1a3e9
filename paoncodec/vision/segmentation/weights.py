"""Weights files of segmentation networks, which say what they are the weights of."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from safetensors import SafetensorError, safe_open

from paoncodec.errors import WeightsError
from paoncodec.tensors import save_tensors
from paoncodec.vision.segmentation.networks import ResUNet

__all__ = ["TASK", "Segmenter", "load_weights", "save_weights"]

TASK = "segmentation"


@dataclass(frozen=True)
class Segmenter:
    """A trained network with what its use takes.

    Args:
        model: in evaluation mode.
        classes: their names by label; the first is the background.
        window: Hounsfield units that become -1 and 1.
        metadata: of the file.
    """

    model: ResUNet
    classes: tuple[str, ...]
    window: tuple[float, float]
    metadata: Mapping[str, str]


def save_weights(
    model: ResUNet,
    path: str | os.PathLike[str],
    network: str,
    classes: Sequence[str],
    window: tuple[float, float],
    metadata: Mapping[str, str],
) -> None:
    """Writes a file that :func:`load_weights` reads.

    Args:
        model: on any device.
        path: of the file.
        network: its name in :data:`.NETWORKS`.
        classes, window: as :class:`Segmenter` has them.
        metadata: whatever else the file should say of itself.

    Raises:
        ValueError: a weight is not a finite number.
        SafetensorError: the file cannot be written.
    """
    state = model.state_dict()
    _require_finite(state)
    about = {
        "task": TASK,
        "network": network,
        "config": json.dumps(model.config),
        "classes": json.dumps(list(classes)),
        "window": json.dumps(list(window)),
    }
    save_tensors(state, path, {**about, **metadata})


def load_weights(path: str | os.PathLike[str]) -> Segmenter:
    """The network in a weights file.

    Raises:
        WeightsError: not a weights file of segmentation, or one that does not fit its network.
    """
    try:
        with safe_open(os.fspath(path), framework="pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if metadata["task"] != TASK:
            raise ValueError(f"they are of the task {metadata['task']!r}")
        model = ResUNet(**json.loads(metadata["config"]))
        model.load_state_dict(state)
        _require_finite(state)
        classes = tuple(map(str, json.loads(metadata["classes"])))
        low, high = map(float, json.loads(metadata["window"]))
        if len(classes) != model.classes or not low < high:
            raise ValueError(f"classes {classes} or window {low, high} do not fit")
    except (OSError, SafetensorError, LookupError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]  # torch lists every tensor, a line each
        raise WeightsError(
            f"{os.fspath(path)}: not weights of a segmentation network ({reason}); give a file "
            "that training has made"
        ) from error
    return Segmenter(model.requires_grad_(False).eval(), classes, (low, high), metadata)


def _require_finite(state: Mapping[str, torch.Tensor]) -> None:
    bad = [name for name, tensor in state.items() if not torch.isfinite(tensor).all()]
    if bad:
        raise ValueError(f"values that are not finite in {bad[0]}")
