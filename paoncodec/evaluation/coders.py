"""What is measured: a coder makes files of pictures and pictures of files.

Coders are small frozen values that can be sent to another process, which loads what they need.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from paoncodec import api, zoo
from paoncodec.bitstream import SectionKind
from paoncodec.errors import UsageError
from paoncodec.images import read_image

__all__ = ["Coder", "PaonCoder", "complexity_of"]

Pixels = npt.NDArray[np.uint8]


class Coder(Protocol):
    """Something that codes pictures at one or several qualities. Hashable, and can be pickled."""

    @property
    def name(self) -> str:
        """What to call it in tables and plots."""
        ...

    @property
    def suffix(self) -> str:
        """Of its files, with the dot."""
        ...

    def qualities(self) -> tuple[float, ...]:
        """Those that make its usual curve."""
        ...

    def __hash__(self) -> int: ...

    def describe(self) -> dict[str, Any]:
        """What somebody needs to make the same files, of JSON types.

        Raises:
            PaonError: it cannot work here.
        """
        ...

    def encode(self, picture: Pixels, quality: float) -> bytes:
        """The file of uint8 (H, W, C)."""
        ...

    def decode(self, path: Path) -> Pixels:
        """The picture in a file, uint8 (H, W, C)."""
        ...

    def payload(self, data: bytes) -> int | None:
        """Bytes of entropy-coded data in a file; None where headers cannot be told from it."""
        ...

    def estimate(self, picture: Pixels, quality: float, data: bytes) -> float | None:
        """Bits that the model says the picture takes; None where there is no such model.

        Args:
            picture, quality: what was coded.
            data: its file.
        """
        ...


@dataclass(frozen=True)
class PaonCoder:
    """A model of ours.

    Args:
        model: name in the zoo or path of a weights file.
    """

    model: str

    suffix = ".bin"

    @property
    def name(self) -> str:
        return _weights(self.model).name

    def qualities(self) -> tuple[float, ...]:
        own = _weights(self.model).quality
        # None: the weights code at every quality.
        return tuple(map(float, range(1, 7))) if own is None else (own,)

    def describe(self) -> dict[str, Any]:
        weights = _weights(self.model)
        facts: dict[str, Any] = {
            "kind": "paoncodec",
            "weights": weights.name,
            "sha256": weights.sha256,
        }
        if weights.card is not None:
            card = weights.card
            facts |= {"arch": card.arch, "steps": card.steps, "data": card.data}
        return facts

    def encode(self, picture: Pixels, quality: float) -> bytes:
        # It is the model that is measured, also where keeping the samples would take less.
        return api.encode(picture, quality, self.model, lossless=False)

    def decode(self, path: Path) -> Pixels:
        return read_image(api.decode(path, model=self.model))

    def payload(self, data: bytes) -> int:
        sections: Mapping[str, int] = api.info(data)["sections"]
        return sum(sections[kind.name.lower()] for kind in (SectionKind.Y, SectionKind.Z))

    def estimate(self, picture: Pixels, quality: float, data: bytes) -> float:
        return float(sum(bits.sum() for bits in api.rate_map(data, model=self.model).bits.values()))


@lru_cache(maxsize=16)
def _weights(model: str) -> zoo.Weights:
    return zoo.resolve(model)


def complexity_of(coder: Coder) -> dict[str, float] | None:
    """`decoder_kmac_per_pixel` of a model of ours: all networks but those of the encoder alone.

    None for other codecs, and where the package fvcore, which counts, is missing.
    """
    if not isinstance(coder, PaonCoder):
        return None
    from paoncodec.evaluation.complexity import networks_of_codec

    try:
        networks = networks_of_codec(zoo.load(_weights(coder.model)))
    except UsageError:
        return None
    kmac = sum(kmac for name, kmac in networks.items() if name not in ("g_a", "h_a"))
    return {"decoder_kmac_per_pixel": kmac}
