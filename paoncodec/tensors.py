"""Files of tensors: safetensors whose bytes depend on nothing but what is in them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

__all__ = ["name_of_not_finite", "save_tensors"]


def save_tensors(
    tensors: Mapping[str, Tensor], path: str | os.PathLike[str], metadata: Mapping[str, str]
) -> None:
    """Writes tensors, from whatever device, so that equal ones make equal files: their hash is what
    identifies weights.

    Raises:
        SafetensorError: the file cannot be written.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    save_file(plain, os.fspath(path), metadata=dict(metadata))
    _sort_metadata(Path(path))


def name_of_not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """The first of the tensors that holds NaN or infinity; None if none does."""
    return next((name for name, tensor in tensors.items() if not tensor.isfinite().all()), None)


def _sort_metadata(path: Path) -> None:
    """Puts the metadata in order: the library writes them in a random one."""
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # the tensors stay aligned
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[end:])
