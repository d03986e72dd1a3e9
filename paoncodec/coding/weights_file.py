"""Weights files: safetensors that say what they are the weights of."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import get_ident
from typing import TypeVar

from safetensors import safe_open
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from paoncodec.coding.elic import ELIC2022Coder, ELICCoder
from paoncodec.coding.exact_codec import ExactCodec, require_finite
from paoncodec.coding.mbt import MBT2018Coder, MBTCoder
from paoncodec.errors import PaonError, WeightsError

__all__ = [
    "CODERS",
    "built",
    "is_checkpoint",
    "load_coder",
    "read_weights",
    "ready",
    "telling_of",
]

#: By the names of the architectures.
CODERS: Mapping[str, type[ExactCodec]] = {
    "mbt-paon": MBTCoder,
    "mbt-2018": MBT2018Coder,
    "elic-paon": ELICCoder,
    "elic-2022": ELIC2022Coder,
}

#: How torch's files begin: as an archive, and as a bare pickle before torch 1.6.
_CHECKPOINT_MAGIC = (b"PK\x03\x04", b"\x80\x02")
#: Parameters of which a model may have more than its file, such as those that are replaced.
_SMALL_MODEL = 2**20

_Model = TypeVar("_Model", bound=nn.Module)
_Exact = TypeVar("_Exact", bound=ExactCodec)


def load_coder(path: str | os.PathLike[str]) -> ExactCodec:
    """The coder in a weights file, in evaluation mode: all that encoding and decoding take.

    It codes as the model that :func:`paoncodec.codecs.load_weights` gives does, without CompressAI,
    which takes seconds to import.

    Raises:
        WeightsError: not a weights file of ours, one that does not fit its architecture, or weights
            or probability tables that the exact entropy model cannot work with.
    """
    with telling_of(path):
        tensors, metadata = read_weights(path)
        architecture = CODERS[metadata["arch"]]
        coder = built(lambda: architecture.from_state_dict(tensors), tensors)
    return ready(coder, path)


def is_checkpoint(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins as torch's do; False where it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            return file.read(4).startswith(_CHECKPOINT_MAGIC)
    except OSError:
        return False


def read_weights(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a weights file, and its metadata."""
    with safe_open(os.fspath(path), framework="pt") as file:
        names = file.keys()
        return {name: file.get_tensor(name) for name in names}, file.metadata() or {}


def built(build: Callable[[], _Model], tensors: Mapping[str, Tensor]) -> _Model:
    """The model that ``build`` makes of a file's tensors, in memory that is in proportion to them.

    Raises:
        WeightsError: NaN or infinity in one of them.
    """
    require_finite(tensors)
    with _no_larger_than(2 * sum(t.numel() for t in tensors.values()) + _SMALL_MODEL):
        return build()


def ready(model: _Exact, path: str | os.PathLike[str]) -> _Exact:
    """The same model in evaluation mode, its weights found to be good for exact arithmetic.

    Args:
        model: with its tables.
        path: of the file that it is from.

    Raises:
        WeightsError: they are not, or the tables are damaged.
    """
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    model.eval()
    with telling_of(path):
        model.exact()  # so that bad weights are found now, not at the first picture
    return model


@contextmanager
def _no_larger_than(most: int) -> Iterator[None]:
    """Stops the building of a model of more than ``most`` parameters before it takes their memory.

    The shapes of a few small tensors say how large the others should be, also in a file that does
    not have those.
    """
    thread, left = get_ident(), most

    def count(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal left
        if parameter is None or get_ident() != thread:
            return
        left -= parameter.numel()
        if left < 0:
            raise ValueError("some tensors are far larger than the shapes of the others say")

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()


@contextmanager
def telling_of(path: str | os.PathLike[str]) -> Iterator[None]:
    """What goes wrong with a file's content becomes one line that names it."""
    try:
        yield
    except WeightsError as error:
        if os.fspath(path) in str(error):
            raise
        raise WeightsError(f"{os.fspath(path)}: {error}") from error
    except PaonError:
        raise
    except Exception as error:  # whatever a file may do to those who build a model from it
        reason = " ".join(str(error).split())[:200]  # torch lists every tensor, a line each
        raise WeightsError(
            f"{os.fspath(path)}: not weights of a paoncodec model ({reason}); "
            "give a file that paoncodec has saved"
        ) from error
