"""Weights by name: what each file is, where it is, and whether it is the one it should be.

The zoo is the folder `zoo_data` of the package: `<name>.safetensors`, beside it its card,
`<name>.json`, and a file that the weights made, `<name>.bin`. Finding and verifying weights takes
no torch, unless they are a checkpoint of torch; otherwise only `load` and `load_coder` do, and only
`load` takes CompressAI.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from paoncodec.cards import LEGAL_NAME, Card, digest_of, read_card, require_weights, stamp_of
from paoncodec.errors import WeightsError
from paoncodec.quality import DEFAULT, VARIABLE, lmbda_of, quality_of

if TYPE_CHECKING:
    from compressai.models import CompressionModel

    from paoncodec.coding import ExactCodec

__all__ = [
    "Weights",
    "WeightsCard",
    "find",
    "list_cards",
    "load",
    "load_coder",
    "resolve",
    "shared_coder",
]

FOLDER = Path(__file__).with_name("zoo_data")

_IDENTITY_BYTES = 8
_LONGEST_NAME = 32


@dataclass(frozen=True, kw_only=True)
class WeightsCard(Card):
    """The card of a codec's weights.

    The check is that of `paoncodec.evaluation.zoo_check`, its file `<name>.bin` beside the weights.

    Args:
        arch: architecture, by its name in `paoncodec.codecs`.
        quality: on the user's scale, 1 to 6; see `paoncodec.quality`. None: all of them.
        lmbda: λ in λ·255²·MSE + bpp. None: all of them.
        metric: what the distortion was measured with, such as "mse".
        **others: those of :class:`.Card`.

    Raises:
        ValueError: a name, quality or sha256 that is not legal.
    """

    arch: str
    quality: float | None
    lmbda: float | None
    metric: str

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.quality is None) != (self.lmbda is None):
            raise ValueError(f"quality is {self.quality} and lmbda {self.lmbda}: both or neither")
        if self.quality is not None and not 1 <= self.quality <= 6:
            raise ValueError(f"quality is {self.quality}, legal is 1 to 6")


@dataclass(frozen=True)
class Weights:
    """A weights file that is there and, if it is one of the zoo's, verified.

    Attributes:
        name: what the header of a file made with them says, 1 to 32 of [a-z0-9._-].
        path: of the safetensors file, or of a checkpoint as CompressAI's training writes it.
        sha256: of that file, in hexadecimal.
        quality: on the user's scale, 1 to 6; None: all of them.
        card: None for weights from elsewhere.
    """

    name: str
    path: Path
    sha256: str
    quality: float | None
    card: WeightsCard | None = field(default=None, compare=False)

    @property
    def identity(self) -> bytes:
        """First 8 bytes of the SHA-256: what a header holds."""
        return bytes.fromhex(self.sha256)[:_IDENTITY_BYTES]

    def rate(self, quality: float) -> dict[str, float]:
        """What a codec is told of the quality: nothing, if it has only one."""
        return {} if self.quality is not None else {"quality": quality}


def list_cards() -> tuple[WeightsCard, ...]:
    """The cards of all weights that ship with the package, by name.

    Raises:
        WeightsError: a card is damaged.
    """
    return tuple(read_card(path, WeightsCard) for path in sorted(FOLDER.glob("*.json")))


def resolve(model: str | os.PathLike[str]) -> Weights:
    """Weights by a name of the zoo or, if it has none of that name, by a path.

    The SHA-256 of a zoo file is compared with its card.

    Raises:
        WeightsError: no such weights, or damaged ones.
    """
    if isinstance(model, str) and _is_known(model):
        return _from_card(read_card(FOLDER / f"{model}.json", WeightsCard))
    path = Path(model)
    if not path.is_file():
        raise WeightsError(
            f"no weights {os.fspath(model)!r}: give the path of a weights file or one of the "
            f"zoo's names ({_known_names()})"
        )
    return _from_file(path)


def find(name: str, identity: bytes, given: str | os.PathLike[str] | None = None) -> Weights:
    """The weights that a file was made with.

    Args:
        name: what the file's header calls them.
        identity: the first 8 bytes of their SHA-256, from the header.
        given: name or path of weights to take in place of those of that name in the zoo.

    Raises:
        WeightsError: they are missing or have another identity.
    """
    needed = f"this file needs the weights {name!r} with identity {identity.hex()}"
    if given is None and not _is_known(name):
        raise WeightsError(
            f"{needed}, which are not in the zoo ({_known_names()}): "
            "pass their file with --model (model= in Python)"
        )
    weights = resolve(name if given is None else given)
    if weights.identity != identity:
        place = f"of {os.fspath(given)}" if given is not None else "of that name in the zoo"
        raise WeightsError(
            f"{needed}, those {place} have {weights.identity.hex()}: "
            "pass the right file with --model (model= in Python)"
        )
    return weights


def load(weights: Weights) -> CompressionModel:
    """A new model with these weights, in evaluation mode, on the CPU.

    Raises:
        WeightsError: the file does not hold a model of ours.
    """
    from paoncodec import codecs

    model, _ = codecs.load_weights(weights.path)
    return model


def load_coder(weights: Weights) -> ExactCodec:
    """What codes pictures with these weights, in evaluation mode, on the CPU.

    Raises:
        WeightsError: the file does not hold a model of ours.
    """
    from paoncodec import coding

    # A checkpoint may be without its tables, which only a model of CompressAI makes.
    if coding.is_checkpoint(weights.path):
        return load(weights)
    return coding.load_coder(weights.path)


# Coding picture after picture must not load a model each time. Two, for a comparison of models.
@lru_cache(maxsize=2)
def shared_coder(weights: Weights) -> ExactCodec:
    """As `load_coder`, but the same module each time: not to be changed."""
    return load_coder(weights)


def _from_card(card: WeightsCard) -> Weights:
    path = FOLDER / f"{card.name}.safetensors"
    require_weights(card, path)
    return Weights(card.name, path, card.sha256, card.quality, card)


def _from_file(path: Path) -> Weights:
    metadata = _metadata(path)
    try:
        arch, lmbda = metadata["arch"], metadata["lmbda"]
        quality = None if lmbda == VARIABLE else quality_of(float(lmbda))
        return Weights(_name_of(path) or _clean(arch), path, digest_of(path), quality)
    except (KeyError, ValueError) as error:
        raise WeightsError(
            f"{path}: its metadata must say arch and lmbda ({error}); "
            "give weights that paoncodec has saved"
        ) from error


def _metadata(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file, whose tensors are not read, or of a checkpoint."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(os.fspath(path), framework="numpy") as file:
            return file.metadata() or {}
    except (OSError, SafetensorError) as error:
        from paoncodec.coding import is_checkpoint

        if is_checkpoint(path):
            return _checkpoint_metadata(path, *stamp_of(path))
        raise WeightsError(
            f"{path}: not a weights file ({error}); give a .safetensors file of paoncodec"
        ) from error


def _is_known(name: str) -> bool:
    return bool(LEGAL_NAME.fullmatch(name)) and (FOLDER / f"{name}.json").is_file()


def _known_names() -> str:
    return ", ".join(path.stem for path in sorted(FOLDER.glob("*.json"))) or "it is empty"


def _name_of(path: Path) -> str:
    """That of a file; a run's weights, which all are called best or last, have its folder's too."""
    stem = path.name.removesuffix(".tar").rpartition(".")[0]
    if stem not in ("best", "last"):
        return _clean(stem)
    folder = _clean(path.absolute().parent.name)[: _LONGEST_NAME - len(stem) - 1]
    return _clean(f"{folder}-{stem}")


def _clean(name: str) -> str:
    """`name` with all that a header cannot hold turned into dashes; it may become empty."""
    return re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-")[:_LONGEST_NAME]


@lru_cache(maxsize=16)
def _checkpoint_metadata(path: Path, *_stamp: int) -> dict[str, str]:
    from paoncodec.codecs.checkpoints import read_checkpoint

    _, metadata = read_checkpoint(path)
    # CompressAI's training does not write its λ down.
    return {"lmbda": str(lmbda_of(DEFAULT)), **metadata}
