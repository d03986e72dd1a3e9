"""Weights files of networks of any task, which say what they are the weights of."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from paoncodec.errors import WeightsError
from paoncodec.tensors import name_of_not_finite, save_tensors

__all__ = ["load_network", "save_network"]

Network = TypeVar("Network", bound=nn.Module)


def save_network(
    model: nn.Module, path: str | os.PathLike[str], about: Mapping[str, str], config: Any
) -> None:
    """Writes a file that :func:`load_network` reads.

    Args:
        model: on any device.
        path: of the file.
        about: its task, and whatever else the file should say of itself.
        config: what the model can be made of, JSON-ready.

    Raises:
        ValueError: a weight is not a finite number.
        SafetensorError: the file cannot be written.
    """
    state = model.state_dict()
    _require_finite(state)
    save_tensors(state, path, {"config": json.dumps(config), **about})


def load_network(
    path: str | os.PathLike[str], task: str, called: str, make: Callable[[Any], Network]
) -> tuple[Network, dict[str, str]]:
    """The network in a weights file, in evaluation mode, and the file's metadata.

    Args:
        path: of the file.
        task: that the network must be for.
        called: what such a network is called.
        make: config → network.

    Raises:
        WeightsError: not a weights file of the task, or one that does not fit its network.
    """
    try:
        with safe_open(os.fspath(path), framework="pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if metadata["task"] != task:
            raise ValueError(f"they are of the task {metadata['task']!r}")
        model = make(json.loads(metadata["config"]))
        model.load_state_dict(state)
        _require_finite(state)
    except (OSError, SafetensorError, LookupError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]  # torch lists every tensor, a line each
        raise WeightsError(
            f"{os.fspath(path)}: not weights of a {called} network ({reason}); give a file "
            f"that `paoncodec vision train --task {task}` has made"
        ) from error
    return model.requires_grad_(False).eval(), metadata


def _require_finite(state: Mapping[str, Tensor]) -> None:
    name = name_of_not_finite(state)
    if name is not None:
        raise ValueError(f"values that are not finite in {name}")
