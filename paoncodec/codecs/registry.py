"""Architectures by name, and weights files: safetensors that say what they are the weights of."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from compressai.models import CompressionModel
from safetensors import SafetensorError, safe_open
from torch import Tensor

from paoncodec.codecs.elic import ELIC2022, ELICPaon
from paoncodec.codecs.mbt import MBT2018, MBTPaon
from paoncodec.entropy import Tails
from paoncodec.errors import UsageError, WeightsError
from paoncodec.tensors import save_tensors

ARCHITECTURES: Mapping[str, type[CompressionModel]] = {
    "mbt-paon": MBTPaon,
    "mbt-2018": MBT2018,
    "elic-paon": ELICPaon,
    "elic-2022": ELIC2022,
}


def require_architecture(name: str) -> None:
    """Checks a name.

    Raises:
        UsageError: no such architecture.
    """
    if name not in ARCHITECTURES:
        raise UsageError(f"architecture {name!r}: choose one of {', '.join(ARCHITECTURES)}")


def build(name: str, options: Mapping[str, Any]) -> CompressionModel:
    """A new model of architecture ``name``.

    Raises:
        UsageError: no such architecture, or options it does not take.
    """
    require_architecture(name)
    try:
        return ARCHITECTURES[name](**options)
    except (TypeError, ValueError) as error:
        raise UsageError(f"architecture {name}: {error}") from error


def save_weights(
    model: CompressionModel,
    path: str | os.PathLike[str],
    arch: str,
    metadata: Mapping[str, str],
    half: bool = False,
    tails: Tails | None = None,
) -> None:
    """Writes ``model`` with its entropy tables built, as a file that :func:`load_weights` reads.

    The tables are integers made here, once; no machine ever makes them again.

    Args:
        model: one of :data:`ARCHITECTURES`.
        path: of the file.
        arch: its architecture.
        metadata: whatever else the file should say of itself.
        half: keep the networks' weights in float16: half the size, for files that travel. They are
            loaded as float32.
        tails: shape of the latents' distributions; default Gaussians.
    """
    # On a copy: tables in the model would change the shapes of a training run's buffers.
    model = copy.deepcopy(model)
    # The quantiles that training follows slowly are found exactly here, so tables fit the prior.
    model.update(force=True, update_quantiles=True, tails=tails)
    tensors = dict(model.state_dict())
    if half:
        tensors = {name: t.half() if _is_bulk(name, t) else t for name, t in tensors.items()}
    header = {"arch": arch, "config": json.dumps(model.config.to_json()), **metadata}
    save_tensors(tensors, path, header)


def _is_bulk(name: str, tensor: Tensor) -> bool:
    """Whether a tensor is a network's weight, as against a prior's shape, a bias or a table."""
    large = tensor.is_floating_point() and tensor.numel() > 1024
    return large and "entropy_bottleneck." not in name


def load_weights(path: str | os.PathLike[str]) -> tuple[CompressionModel, dict[str, str]]:
    """The model in a weights file, in evaluation mode, and the file's metadata.

    Raises:
        WeightsError: not a weights file of ours, one that does not fit its architecture, or weights
            or probability tables that the exact entropy model cannot work with.
    """
    try:
        with safe_open(os.fspath(path), framework="pt") as file:
            metadata = file.metadata() or {}
            names = file.keys()
            tensors = {name: file.get_tensor(name) for name in names}
        model = ARCHITECTURES[metadata["arch"]].from_state_dict(tensors)
    except (OSError, SafetensorError, LookupError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]  # torch lists every tensor, a line each
        raise WeightsError(
            f"{os.fspath(path)}: not weights of a paoncodec model ({reason}); "
            "give a file that paoncodec has saved"
        ) from error
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    model.eval()
    model.exact()  # so that bad weights are found now, not at the first picture
    return model, metadata


def weights_start(
    model: CompressionModel, arch: str, path: str | os.PathLike[str]
) -> dict[str, str]:
    """Sets the parameters of ``model``, of architecture ``arch``, to those of a weights file.

    The gains of a variable rate, which weights of one rate do not have, stay as they are.

    Returns:
        The file's metadata.

    Raises:
        WeightsError: not a weights file of ours.
        UsageError: its architecture or its sizes are others.
    """
    donor, about = load_weights(path)
    if about["arch"] != arch:
        raise UsageError(
            f"{os.fspath(path)}: weights of {about['arch']}, to start {arch} from; choose others"
        )
    given, wanted = dict(donor.named_parameters()), dict(model.named_parameters())
    if donor.gain is None:
        wanted = {name: p for name, p in wanted.items() if not name.startswith("gain.")}
    for name in sorted(given.keys() | wanted.keys()):
        has, takes = (_shape_of(parameters.get(name)) for parameters in (given, wanted))
        if has != takes:
            raise UsageError(
                f"{os.fspath(path)}: weights of a model with other sizes or options: {name} is "
                f"{has} there and {takes} in the one to start; choose others"
            )
    with torch.no_grad():
        for name, parameter in wanted.items():
            parameter.copy_(given[name])
    return about


def sha256_of(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file, in hexadecimal.

    Raises:
        WeightsError: it cannot be read.
    """
    try:
        return sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise WeightsError(f"{os.fspath(path)}: cannot be read ({error.strerror})") from error


def _shape_of(tensor: Tensor | None) -> str:
    return "missing" if tensor is None else "x".join(map(str, tensor.shape)) or "a number"
