"""CompressAI's models, from checkpoints of its training script or its zoo."""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from paoncodec.errors import MalformedStream, UsageError, WeightsError

__all__ = ["CheckpointCoder"]

Pixels = npt.NDArray[np.uint8]

# CompressAI's own tools pad to this, around the picture and with zeros.
_FACTOR = 64
# Of a file: height and width of the picture, the number of strings, and how long the shape is that
# the model wants back, as JSON; then that, the length of each string, and all of them.
_HEAD = struct.Struct("<IIHH")
_LENGTH = struct.Struct("<I")


@dataclass(frozen=True)
class CheckpointCoder:
    """A model of CompressAI with the weights of a checkpoint; one rate.

    Its files have a short header of their own, since CompressAI defines none: `payload-bpp` is what
    its `eval_model` calls bpp.

    Args:
        arch: name of the architecture in CompressAI's zoo or registry, such as `mbt2018-mean`.
        path: of the checkpoint: a state dict, or a dict that has one as `state_dict`,
            `model_state_dict` or `network`.
        label: what to call this point of a curve, in place of a quality.
    """

    arch: str
    path: str
    label: float = 1.0

    suffix = ".cai"

    @property
    def name(self) -> str:
        return self.arch

    def qualities(self) -> tuple[float, ...]:
        return (self.label,)

    def describe(self) -> dict[str, Any]:
        _model(self.arch, self.path)
        return {
            "kind": "compressai",
            "arch": self.arch,
            "weights": Path(self.path).name,
            "sha256": sha256(Path(self.path).read_bytes()).hexdigest(),
        }

    def encode(self, picture: Pixels, quality: float) -> bytes:
        import torch

        with torch.inference_mode():
            coded = _model(self.arch, self.path).compress(_padded(picture))
        strings = [string for [string] in coded["strings"]]
        # Two numbers, or those of every latent by its name (ELIC).
        shape = json.dumps(coded["shape"], separators=(",", ":")).encode()
        head = _HEAD.pack(*picture.shape[:2], len(strings), len(shape))
        lengths = b"".join(_LENGTH.pack(len(string)) for string in strings)
        return b"".join((head, shape, lengths, *strings))

    def decode(self, path: Path) -> Pixels:
        import torch
        from compressai.ops import compute_padding
        from torch.nn import functional as F

        from paoncodec.images import to_uint8

        height, width, shape, strings = _parsed(path.read_bytes())
        with torch.inference_mode():
            out = _model(self.arch, self.path).decompress([[s] for s in strings], shape)
        _, unpad = compute_padding(height, width, min_div=_FACTOR)
        return to_uint8(F.pad(out["x_hat"], unpad)[0].permute(1, 2, 0).numpy())

    def payload(self, data: bytes) -> int:
        return sum(map(len, _parsed(data)[3]))

    def estimate(self, picture: Pixels, quality: float, data: bytes) -> float:
        import torch

        with torch.inference_mode():
            out = _model(self.arch, self.path)(_padded(picture))
        parts = out["likelihoods"].values()
        return float(-sum(torch.log(part).sum() for part in parts) / math.log(2))


def _parsed(data: bytes) -> tuple[int, int, Any, list[bytes]]:
    """Height and width of the picture, what `compress` called the shape, strings."""
    try:
        height, width, count, size = _HEAD.unpack_from(data)
        first = _HEAD.size + size
        shape = json.loads(data[_HEAD.size : first])
        starts = [first + i * _LENGTH.size for i in range(count)]
        lengths = [_LENGTH.unpack_from(data, start)[0] for start in starts]
    except (struct.error, ValueError) as error:
        raise MalformedStream("strings", 0, "too short for a CompressAI file") from error
    strings, position = [], first + count * _LENGTH.size
    for length in lengths:
        strings.append(data[position : position + length])
        position += length
    if position != len(data):
        raise MalformedStream("strings", 0, f"{len(data)} bytes, the lengths say {position}")
    return height, width, shape, strings


def _padded(picture: Pixels) -> Any:
    """(1, 3, H, W) in [0, 1], sides multiples of 64, padded as CompressAI's tools do."""
    import torch
    from compressai.ops import compute_padding
    from torch.nn import functional as F

    rgb = np.repeat(picture, 3, axis=2) if picture.shape[2] == 1 else picture
    x = torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1)[None].float() / 255
    pad, _ = compute_padding(*x.shape[2:], min_div=_FACTOR)
    return F.pad(x, pad)


@lru_cache(maxsize=2)
def _model(arch: str, path: str) -> Any:
    """The model, its tables made anew, as `eval_model checkpoint` does.

    Raises:
        UsageError: no such architecture.
        WeightsError: the file holds no weights of it.
    """
    from compressai.registry import MODELS

    from paoncodec.codecs.checkpoints import compressai_model, read_state

    if arch not in MODELS:
        raise UsageError(f"architecture {arch!r}: CompressAI has {', '.join(sorted(MODELS))}")
    state, _ = read_state(path)
    try:
        if arch == "elic2022-official":  # its own from_state_dict takes the groups for granted
            model = compressai_model(state, arch)
        else:
            model = MODELS[arch].from_state_dict(state)
        model.update(force=True)
    except Exception as error:  # whatever its models make of another's weights
        reason = " ".join(repr(error).split())[:200]
        raise WeightsError(f"{path}: not a checkpoint of {arch} ({reason})") from error
    return model.eval()
