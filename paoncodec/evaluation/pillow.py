"""The classical codecs that Pillow brings, each at its usual effort."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import __version__ as pillow_version
from PIL import features

from paoncodec.errors import UsageError
from paoncodec.images import read_image, to_pil

__all__ = ["PILLOW_CODECS", "PillowCoder"]

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class _Codec:
    """One of Pillow's formats.

    Attributes:
        suffix: of its files.
        feature, library: what Pillow calls the codec's support, and the version to quote.
        effort: what `options` ask for, in words.
        scale: what a quality means.
        lowest, highest: of the scale.
        qualities: of its usual curve: from below 0.2 bpp on photographs to far above.
        options: quality → options of Pillow's `save`.
    """

    suffix: str
    feature: str
    library: str
    effort: str
    scale: str
    lowest: float
    highest: float
    qualities: tuple[float, ...]
    options: Callable[[float], Mapping[str, Any]]


def _whole(quality: float) -> int:
    if quality != int(quality):
        raise UsageError(f"quality {quality:g}: this codec takes whole numbers only")
    return int(quality)


def _jpeg(quality: float) -> Mapping[str, Any]:
    return {"format": "JPEG", "quality": _whole(quality), "optimize": True, "subsampling": "4:2:0"}


def _webp(quality: float) -> Mapping[str, Any]:
    return {"format": "WEBP", "quality": _whole(quality), "method": 6}


def _avif(quality: float) -> Mapping[str, Any]:
    # With one thread, since timings are quoted for one.
    return {
        "format": "AVIF",
        "quality": _whole(quality),
        "speed": 4,
        "subsampling": "4:2:0",
        "max_threads": 1,
    }


def _jpeg2000(quality: float) -> Mapping[str, Any]:
    return {
        "format": "JPEG2000",
        "quality_mode": "dB",
        "quality_layers": [quality],
        "irreversible": True,
        "mct": 1,  # without it Pillow codes R, G and B by themselves
    }


_FIVES = tuple(map(float, range(5, 96, 5)))

_CODECS: Mapping[str, _Codec] = {
    "jpeg": _Codec(
        ".jpg",
        "jpg",
        "libjpeg_turbo",
        "baseline, optimised Huffman tables, 4:2:0",
        "1 to 95",
        1,
        95,
        _FIVES,
        _jpeg,
    ),
    "webp": _Codec(
        ".webp",
        "webp",
        "webp",
        "lossy, method 6 (the slowest)",
        "0 to 100",
        0,
        100,
        _FIVES,
        _webp,
    ),
    "avif": _Codec(
        ".avif",
        "avif",
        "avif",
        "libavif, speed 4, 4:2:0, one thread for encoding",
        "0 to 100",
        0,
        100,
        tuple(map(float, range(10, 96, 5))),
        _avif,
    ),
    "jpeg2000": _Codec(
        ".jp2",
        "jpg_2000",
        "jpg_2000",
        "OpenJPEG, one layer, irreversible 9/7 wavelet, colour transform",
        "target PSNR in dB, 1 to 100",
        1,
        100,
        tuple(map(float, range(24, 47, 2))),
        _jpeg2000,
    ),
}

#: Names of the codecs.
PILLOW_CODECS = tuple(_CODECS)


@dataclass(frozen=True)
class PillowCoder:
    """One of Pillow's codecs.

    Args:
        name: one of `PILLOW_CODECS`.
    """

    name: str

    @property
    def suffix(self) -> str:
        return _CODECS[self.name].suffix

    def qualities(self) -> tuple[float, ...]:
        return _CODECS[self.name].qualities

    def describe(self) -> dict[str, Any]:
        codec = _CODECS[self.name]
        if not features.check(codec.feature):
            raise UsageError(f"this Pillow ({pillow_version}) was built without {self.name}")
        return {
            "kind": "pillow",
            "effort": codec.effort,
            "scale": codec.scale,
            "pillow": pillow_version,
            "library": f"{codec.library} {features.version(codec.library)}",
        }

    def encode(self, picture: Pixels, quality: float) -> bytes:
        """The file of uint8 (H, W, C).

        Raises:
            UsageError: a quality that is not on the codec's scale.
        """
        codec = _CODECS[self.name]
        if not codec.lowest <= quality <= codec.highest:
            raise UsageError(f"quality {quality:g}: {self.name} takes {codec.scale}")
        buffer = io.BytesIO()
        to_pil(picture).save(buffer, **codec.options(quality))
        return buffer.getvalue()

    def decode(self, path: Path) -> Pixels:
        return read_image(path)

    def payload(self, data: bytes) -> None:
        return None

    def estimate(self, picture: Pixels, quality: float, data: bytes) -> None:
        return None
