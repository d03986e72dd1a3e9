"""Weights by name: what each file is, where it is, and whether it is the one it should be.

The zoo is the folder `zoo_data` of the package: `<name>.safetensors`, beside it its card,
`<name>.json`, and a file that the weights made, `<name>.bin`. Finding and verifying weights takes
no torch, unless they are a checkpoint of torch; otherwise only `load` and `load_coder` do, and only
`load` takes CompressAI.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paoncodec.errors import WeightsError
from paoncodec.quality import DEFAULT, VARIABLE, lmbda_of, quality_of

if TYPE_CHECKING:
    from compressai.models import CompressionModel

    from paoncodec.coding import ExactCodec

__all__ = ["Weights", "WeightsCard", "find", "list_cards", "load", "load_coder", "resolve"]

FOLDER = Path(__file__).with_name("zoo_data")

_IDENTITY_BYTES = 8
_LONGEST_NAME = 32
_LEGAL_NAME = re.compile(r"[a-z0-9._-]{1,32}")
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class WeightsCard:
    """What a person should know of weights before using them.

    Args:
        name: 1 to 32 of a-z, 0-9, `.`, `_` and `-`; files carry it.
        arch: architecture, by its name in `paoncodec.codecs`.
        config: options of the architecture.
        quality: on the user's scale, 1 to 6; see `paoncodec.quality`. None: all of them.
        lmbda: λ in λ·255²·MSE + bpp. None: all of them.
        metric: what the distortion was measured with, such as "mse".
        sha256: of the weights file, 64 hexadecimal digits.
        licence: of the weights.
        steps: how many steps of training they have seen.
        data: what they were trained on.
        command: that made them.
        results: measured on real files, data set → figure → value.
        minutes: wall time of training; 0 if unknown.
        measured_by: the command that measured the results.
        check: what came of the test picture, see `paoncodec.evaluation.zoo_check`; its file stands
            beside the weights as `<name>.bin`.
        note: in what the command would not make the very same weights, and whatever else matters.

    Raises:
        ValueError: a name, quality or sha256 that is not legal.
    """

    name: str
    arch: str
    config: Mapping[str, Any]
    quality: float | None
    lmbda: float | None
    metric: str
    sha256: str
    licence: str
    steps: int
    data: str
    command: str
    results: Mapping[str, Mapping[str, float]]
    minutes: float = 0.0
    measured_by: str = ""
    check: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""

    def __post_init__(self) -> None:
        if not _LEGAL_NAME.fullmatch(self.name):
            raise ValueError(f"name is {self.name!r}, legal is 1 to 32 of [a-z0-9._-]")
        if (self.quality is None) != (self.lmbda is None):
            raise ValueError(f"quality is {self.quality} and lmbda {self.lmbda}: both or neither")
        if self.quality is not None and not 1 <= self.quality <= 6:
            raise ValueError(f"quality is {self.quality}, legal is 1 to 6")
        if not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise ValueError(f"sha256 is {self.sha256!r}, legal are 64 digits of 0-9a-f")


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


def list_cards() -> tuple[WeightsCard, ...]:
    """The cards of all weights that ship with the package, by name.

    Raises:
        WeightsError: a card is damaged.
    """
    return tuple(_read_card(path) for path in sorted(FOLDER.glob("*.json")))


def resolve(model: str | os.PathLike[str]) -> Weights:
    """Weights by a name of the zoo or, if it has none of that name, by a path.

    The SHA-256 of a zoo file is compared with its card.

    Raises:
        WeightsError: no such weights, or damaged ones.
    """
    if isinstance(model, str) and _is_known(model):
        return _from_card(_read_card(FOLDER / f"{model}.json"))
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


def _from_card(card: WeightsCard) -> Weights:
    path = FOLDER / f"{card.name}.safetensors"
    if not path.is_file():
        raise WeightsError(f"the weights {card.name!r} are missing ({path}): reinstall paoncodec")
    digest = _digest_of(path)
    if digest != card.sha256:
        raise WeightsError(
            f"the weights {card.name!r} are damaged: SHA-256 of {path} is {digest}, its card says "
            f"{card.sha256}; reinstall paoncodec"
        )
    return Weights(card.name, path, digest, card.quality, card)


def _from_file(path: Path) -> Weights:
    metadata = _metadata(path)
    try:
        arch, lmbda = metadata["arch"], metadata["lmbda"]
        quality = None if lmbda == VARIABLE else quality_of(float(lmbda))
        stem = path.name.removesuffix(".tar").rpartition(".")[0]
        return Weights(_clean(stem) or _clean(arch), path, _digest_of(path), quality)
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
            return _checkpoint_metadata(path, *_stamp(path))
        raise WeightsError(
            f"{path}: not a weights file ({error}); give a .safetensors file of paoncodec"
        ) from error


def _read_card(path: Path) -> WeightsCard:
    try:
        card = WeightsCard(**json.loads(path.read_text(encoding="utf-8")))
        if card.name != path.stem:
            raise ValueError(f"name is {card.name!r}, the file's is {path.stem!r}")
    except (OSError, TypeError, ValueError) as error:
        raise WeightsError(f"{path}: damaged card ({error}); reinstall paoncodec") from error
    return card


def _is_known(name: str) -> bool:
    return bool(_LEGAL_NAME.fullmatch(name)) and (FOLDER / f"{name}.json").is_file()


def _known_names() -> str:
    return ", ".join(path.stem for path in sorted(FOLDER.glob("*.json"))) or "it is empty"


def _clean(name: str) -> str:
    """`name` with all that a header cannot hold turned into dashes; it may become empty."""
    return re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-")[:_LONGEST_NAME]


@lru_cache(maxsize=16)
def _checkpoint_metadata(path: Path, *_stamp: int) -> dict[str, str]:
    from paoncodec.codecs.checkpoints import read_checkpoint
    from paoncodec.codecs.registry import require_own

    _, metadata = read_checkpoint(path)
    require_own(path, metadata)
    # CompressAI's training does not write its λ down.
    return {"lmbda": str(lmbda_of(DEFAULT)), **metadata}


def _digest_of(path: Path) -> str:
    return _digest(path.resolve(), *_stamp(path))


def _stamp(path: Path) -> tuple[int, int, int]:
    stat = path.stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


# Coding picture after picture must not read 20 MB each time; a changed file has another stamp.
@lru_cache(maxsize=16)
def _digest(path: Path, *_stamp: int) -> str:
    digest = sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
