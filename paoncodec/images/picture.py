"""A picture as a file holds it: samples, transparency, depth, and what is said beside them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from paoncodec.errors import ImageError

__all__ = ["Metadata", "Picture", "Samples"]

#: Of 8 or 16 bits.
Samples: TypeAlias = npt.NDArray[np.unsignedinteger[Any]]


@dataclass(frozen=True)
class Metadata:
    """What a file says beside its samples, byte for byte; None where it says nothing.

    Attributes:
        icc: colour profile.
        exif: a TIFF stream, which begins with ``II`` or ``MM``; its orientation, if it has one, is
            1, since pictures are kept upright.
        xmp: an XMP packet, UTF-8.
    """

    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None

    def __bool__(self) -> bool:
        return any(self.items().values())

    def items(self) -> dict[str, bytes]:
        """Name → bytes of what there is."""
        return {name: data for name in ("icc", "exif", "xmp") if (data := getattr(self, name))}


@dataclass(frozen=True, eq=False)
class Picture:
    """An upright picture.

    Attributes:
        samples: (H, W, C), C = 1 (grey) or 3 (RGB), H and W ≥ 1; uint8, or uint16 of all 16 bits.
        alpha: (H, W) of the same type, from 0 (transparent) to the largest value (opaque); colours
            are not multiplied by it. None: there is no transparency.
        metadata: colour profile, EXIF, XMP.

    Raises:
        ImageError: arrays of another type or shape.
    """

    samples: Samples
    alpha: Samples | None = None
    metadata: Metadata = field(default_factory=Metadata)

    def __post_init__(self) -> None:
        shape, dtype = self.samples.shape, self.samples.dtype
        legal = len(shape) == 3 and shape[2] in (1, 3) and min(shape) > 0
        if dtype not in (np.uint8, np.uint16) or not legal:
            raise ImageError(
                f"samples of {dtype} {shape}: must be uint8 or uint16 (H, W, 1) or (H, W, 3), not "
                "empty"
            )
        alpha = self.alpha
        if alpha is not None and (alpha.dtype != dtype or alpha.shape != shape[:2]):
            raise ImageError(f"alpha of {alpha.dtype} {alpha.shape} for samples of {dtype} {shape}")

    @property
    def depth(self) -> int:
        """Bits per sample, 8 or 16."""
        return 8 * self.samples.dtype.itemsize

    @property
    def peak(self) -> int:
        """The largest value of a sample, 255 or 65535."""
        return int(np.iinfo(self.samples.dtype).max)

    def eight_bit(self) -> Picture:
        """The same with samples of 8 bits, each the nearest."""
        if self.depth == 8:
            return self
        alpha = None if self.alpha is None else _nearest_byte(self.alpha)
        return Picture(_nearest_byte(self.samples), alpha, self.metadata)

    def with_alpha(self) -> Samples:
        """Samples and, where there is one, alpha behind them: (H, W, 1 to 4)."""
        if self.alpha is None:
            return self.samples
        return np.concatenate([self.samples, self.alpha[:, :, np.newaxis]], axis=2)


def _nearest_byte(values: Samples) -> npt.NDArray[np.uint8]:
    # 65535 = 257 · 255, and 257 is odd: there are no halves.
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
