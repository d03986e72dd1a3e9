"""Weights files of super-resolution networks, which say what they are the weights of."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

import torch
from safetensors import SafetensorError, safe_open

from paoncodec.errors import WeightsError
from paoncodec.tensors import save_tensors
from paoncodec.vision.superres.networks import SuperResNet

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
    state = model.state_dict()
    _require_finite(state)
    about = {"task": TASK, "network": network, "config": json.dumps(model.config), **metadata}
    save_tensors(state, path, about)


def load_weights(path: str | os.PathLike[str]) -> tuple[SuperResNet, dict[str, str]]:
    """The network in a weights file, in evaluation mode, and the file's metadata.

    Raises:
        WeightsError: not a weights file of super-resolution, or one that does not fit its network.
    """
    try:
        with safe_open(os.fspath(path), framework="pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if metadata["task"] != TASK:
            raise ValueError(f"they are of the task {metadata['task']!r}")
        model = SuperResNet(**json.loads(metadata["config"]))
        model.load_state_dict(state)
        _require_finite(state)
    except (OSError, SafetensorError, LookupError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]  # torch lists every tensor, a line each
        raise WeightsError(
            f"{os.fspath(path)}: not weights of a super-resolution network ({reason}); give a file "
            "that `paoncodec vision train --task superres` has made"
        ) from error
    return model.requires_grad_(False).eval(), metadata


def _require_finite(state: Mapping[str, torch.Tensor]) -> None:
    bad = [name for name, tensor in state.items() if not torch.isfinite(tensor).all()]
    if bad:
        raise ValueError(f"values that are not finite in {bad[0]}")
