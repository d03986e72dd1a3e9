"""Architectures by name, and weights files: safetensors that say what they are the weights of.

Checkpoints of CompressAI's training script are read too, see :mod:`.checkpoints`.
"""

from __future__ import annotations

import copy
import json
import os
import warnings
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from compressai.models import CompressionModel
from torch import Tensor

from paoncodec.codecs.checkpoints import compressai_model, read_checkpoint
from paoncodec.codecs.elic import ELIC2022, ELICPaon
from paoncodec.codecs.mbt import MBT2018, MBTPaon
from paoncodec.codecs.starts import from_compressai
from paoncodec.coding.exact_codec import require_finite
from paoncodec.coding.weights_file import built, is_checkpoint, read_weights, ready, telling_of
from paoncodec.entropy import Tails
from paoncodec.errors import TablesMade, UsageError, WeightsError
from paoncodec.tensors import save_tensors

ARCHITECTURES: Mapping[str, type[CompressionModel]] = {
    "mbt-paon": MBTPaon,
    "mbt-2018": MBT2018,
    "elic-paon": ELICPaon,
    "elic-2022": ELIC2022,
}

#: What becomes of CompressAI's own models, by their names there.
_FORMS: Mapping[str, str] = {"mbt2018": "mbt-paon", "elic2022-official": "elic-paon"}


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

    The tables are integers made here, once; no machine ever makes them again. Whatever is wrong
    with the weights is found before anything is written.

    Args:
        model: one of :data:`ARCHITECTURES`.
        path: of the file.
        arch: its architecture.
        metadata: whatever else the file should say of itself.
        half: keep the networks' weights in float16: half the size, for files that travel. They are
            loaded as float32.
        tails: shape of the latents' distributions; default Gaussians.

    Raises:
        WeightsError: NaN or infinity in the weights, also if only float16 makes them infinite.
    """
    # On a copy: tables in the model would change the shapes of a training run's buffers.
    model = copy.deepcopy(model)
    # The quantiles that training follows slowly are found exactly here, so tables fit the prior.
    model.update(force=True, update_quantiles=True, tails=tails)
    tensors = dict(model.state_dict())
    if half:
        tensors = {name: t.half() if _is_bulk(name, t) else t for name, t in tensors.items()}
    require_finite(tensors)
    header = {"arch": arch, "config": json.dumps(model.config.to_json()), **metadata}
    save_tensors(tensors, path, header)


def _is_bulk(name: str, tensor: Tensor) -> bool:
    """Whether a tensor is a network's weight, as against a prior's shape, a bias or a table."""
    large = tensor.is_floating_point() and tensor.numel() > 1024
    return large and "entropy_bottleneck." not in name


def load_weights(path: str | os.PathLike[str]) -> tuple[CompressionModel, dict[str, str]]:
    """The model in a weights file, in evaluation mode, and the file's metadata.

    A checkpoint of one of our architectures is taken too, or of CompressAI's mbt2018 and
    elic2022-official, which become what :func:`.from_compressai` makes of them. If it has none of
    our probability tables, they are made here, with a warning of :class:`.TablesMade`: a machine
    with other roundings may make others, which cannot decode.

    Raises:
        WeightsError: not a weights file of ours, one that does not fit its architecture, or weights
            or probability tables that the exact entropy model cannot work with.
    """
    if is_checkpoint(path):
        model, metadata = _of_checkpoint(path, shift="none")
        if not (len(model.y_tables) and len(model.z_tables)):
            with telling_of(path):
                _make_tables(model, path)
        return ready(model, path), metadata
    with telling_of(path):
        tensors, metadata = read_weights(path)
        architecture = ARCHITECTURES[metadata["arch"]]
        model = built(lambda: architecture.from_state_dict(tensors), tensors)
    return ready(model, path), metadata


def _of_checkpoint(
    path: str | os.PathLike[str], like: CompressionModel | None = None, **options: Any
) -> tuple[CompressionModel, dict[str, str]]:
    """The model in a checkpoint, as it was saved, and what the file says of it.

    Args:
        path: of the file.
        like: as for :func:`load_start`.
        **options: of what becomes of CompressAI's models, where there is no such ``like``.

    Raises:
        WeightsError: neither ours nor one of those.
    """
    with telling_of(path):
        state, about = read_checkpoint(path)
        arch = about["arch"]
        if arch not in _FORMS:
            return built(lambda: ARCHITECTURES[arch].from_state_dict(state), state), about
        theirs = built(lambda: compressai_model(state, arch), state)
        about["arch"] = _FORMS[arch]
        if isinstance(like, ARCHITECTURES[about["arch"]]):
            config = like.config.to_json()
            names = ("shift", "attention", "padding", "rounding")
            options = {k: config[k] for k in names if k in config}
        return from_compressai(theirs, **options), about


def load_start(
    path: str | os.PathLike[str], like: CompressionModel | None = None
) -> tuple[CompressionModel, dict[str, str]]:
    """A model to start a training from: without tables, if the file has none.

    Args:
        path: of a weights file, or a checkpoint of one of our architectures or of CompressAI's
            mbt2018 and elic2022-official.
        like: one of the architecture that CompressAI's model becomes, whose shift, attention,
            padding and rounding it is to have; default those of :func:`.from_compressai`.

    Returns:
        The model, and its metadata: ``arch`` and, where it is known, ``lmbda``.

    Raises:
        WeightsError: none of these.
    """
    if not is_checkpoint(path):
        return load_weights(path)
    return _of_checkpoint(path, like)


def _make_tables(model: CompressionModel, path: str | os.PathLike[str]) -> None:
    warnings.warn(
        f"{os.fspath(path)}: no probability tables in it, so they are made anew each time; files "
        "may not decode on other machines: freeze them with paoncodec.codecs.save_weights",
        TablesMade,
        stacklevel=3,
    )
    model.update(force=True)  # as CompressAI's eval_model does: its figures are ours


def weights_start(
    model: CompressionModel, arch: str, path: str | os.PathLike[str]
) -> dict[str, str]:
    """Sets the parameters of ``model``, of architecture ``arch``, to those of a file.

    The gains of a variable rate, which weights of one rate do not have, stay as they are.

    Args:
        model: takes the weights.
        arch: its architecture.
        path: as for :func:`load_start`.

    Returns:
        The metadata, as :func:`load_start` does.

    Raises:
        WeightsError: not a file that can be started from.
        UsageError: its architecture or its sizes are others.
    """
    donor, about = load_start(path, like=model)
    if about["arch"] != arch:
        raise UsageError(
            f"{os.fspath(path)}: weights of {about['arch']}, to start {arch} from; choose others"
        )
    given, wanted = dict(donor.named_parameters()), dict(model.named_parameters())
    if donor.gain is None:
        wanted = {name: p for name, p in wanted.items() if not name.startswith("gain.")}
    shapes = ({k: _shape_of(p) for k, p in each.items()} for each in (given, wanted))
    _require_same(path, *shapes)
    # Shapes do not tell all: not what is padded with, or how y is rounded.
    options = (model.config.to_json() | {"variable_rate": None} for model in (donor, model))
    _require_same(path, *options)
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


def _require_same(
    path: str | os.PathLike[str], given: Mapping[str, Any], wanted: Mapping[str, Any]
) -> None:
    for name in sorted(given.keys() | wanted.keys()):
        has, takes = (each.get(name, "missing") for each in (given, wanted))
        if has != takes:
            raise UsageError(
                f"{os.fspath(path)}: weights of a model with other sizes or options: {name} is "
                f"{has} there and {takes} in the one to start; choose others"
            )


def _shape_of(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a number"
