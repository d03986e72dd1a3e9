"""CompressAI's checkpoints (`.pth.tar`): what its training script and its zoo write.

A state dict, or a dict that has one as ``state_dict``, ``network`` or ``model_state_dict`` among
other things. They are pickles: only tensors, numbers and text are read from them.
"""

from __future__ import annotations

import math
import os
import pickle
import re
from collections.abc import Mapping
from typing import Any

import torch
from compressai.models import (
    CompressionModel,
    Elic2022Official,
    JointAutoregressiveHierarchicalPriors,
)
from compressai.zoo import load_state_dict as renamed
from torch import Tensor

from paoncodec.errors import WeightsError
from paoncodec.quality import VARIABLE

#: Names under which a checkpoint may have its state dict; CompressAI's `eval_model` knows these.
_KEYS = ("network", "state_dict", "model_state_dict")
_ELIC_GROUP = "latent_codec.y.latent_codec.y"


def read_state(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The state dict in a checkpoint, under the names of today, and what else is in it.

    Raises:
        WeightsError: no checkpoint, or one that holds more than plain data.
    """
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # torch's own advice here is to load it all the same.
        raise _refusal(
            path, "it holds other things than tensors, numbers and text, which could run code"
        ) from error
    except Exception as error:  # whatever torch makes of a file that is something else
        raise _refusal(path, " ".join(repr(error).split())[:200]) from error
    state: Any = saved
    for key in _KEYS:
        if isinstance(saved, Mapping) and key in saved:
            state = saved[key]
    if not _is_state(state):
        raise _refusal(path, f"no state dict, neither the whole nor as {', '.join(_KEYS)}")
    others = {} if state is saved else {k: v for k, v in saved.items() if v is not state}
    return renamed(dict(state)), others


def _is_state(found: Any) -> bool:
    return isinstance(found, Mapping) and all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in found.items()
    )


def read_checkpoint(
    path: str | os.PathLike[str],
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """A checkpoint of one of our architectures, or of the two of CompressAI that these come from.

    Returns:
        The state dict, and what a weights file would say of itself: ``arch`` (by our name, or
        CompressAI's ``mbt2018`` and ``elic2022-official``) and, if the checkpoint has it as a
        number or has the gains of a variable rate, ``lmbda``.

    Raises:
        WeightsError: as :func:`read_state`, or a model that is none of these.
    """
    state, others = read_state(path)
    about = {"arch": _architecture(state)}
    if not about["arch"]:
        raise _refusal(path, "weights of another model: its layers have other names")
    if "gain.log_gain" in state:
        about["lmbda"] = VARIABLE
    elif isinstance(lmbda := others.get("lmbda"), (int, float)) and 0 < lmbda < math.inf:
        about["lmbda"] = str(lmbda)
    return state, about


def _architecture(state: Mapping[str, Tensor]) -> str:
    """What the tensors' names say; "" if nothing that is known here."""
    signs = {
        "g_a.0.numerator": "mbt-paon",
        "g_s.1.numerator": "elic-paon",
        f"{_ELIC_GROUP}0.context_prediction.numerator": "elic-2022",
        f"{_ELIC_GROUP}0.context_prediction.weight": "elic2022-official",
    }
    for name, arch in signs.items():
        if name in state:
            return arch
    context = state.get("context_prediction.weight")
    if context is None:
        return ""
    return "mbt2018" if context.ndim == 4 else "mbt-2018"


def compressai_model(state: Mapping[str, Tensor], arch: str) -> CompressionModel:
    """CompressAI's model of a state dict, of whatever sizes.

    Args:
        state: as :func:`read_checkpoint` returns it.
        arch: ``mbt2018`` or ``elic2022-official``.

    Raises:
        LookupError, RuntimeError, ValueError: the state dict is not one of this architecture.
    """
    if arch == "mbt2018":
        return JointAutoregressiveHierarchicalPriors.from_state_dict(state)
    # Its own from_state_dict takes M and the groups for granted.
    pattern = rf"{re.escape(_ELIC_GROUP)}(\d+)\.context_prediction\.weight"
    groups = {
        int(m[1]): state[m[0]].shape[1] for m in (re.fullmatch(pattern, k) for k in state) if m
    }
    ordered = [groups[k] for k in range(len(groups))]
    model = Elic2022Official(state["g_a.0.weight"].shape[0], sum(ordered), ordered)
    model.load_state_dict(state)
    return model


def _refusal(path: str | os.PathLike[str], reason: str) -> WeightsError:
    return WeightsError(f"{os.fspath(path)}: not a checkpoint that can be loaded ({reason})")
