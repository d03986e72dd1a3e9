"""Transparency: coded without loss, and colours that nobody sees made cheap."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from paoncodec.images.picture import Samples

__all__ = ["alpha_bytes", "fill_hidden", "read_alpha"]

_DTYPES = {8: np.uint8, 16: np.uint16}

# VP8L, the chunk of lossless WebP, holds sides of 14 bits.
_WEBP_SIDE = 2**14 - 1


def alpha_bytes(alpha: Samples) -> bytes:
    """An image file with the values of `alpha` (H, W) in it: the smaller of a grey PNG and, where
    it can hold them, a lossless WebP."""
    image = Image.fromarray(alpha)
    files = [_saved(image, "PNG", optimize=True)]
    if alpha.dtype == np.uint8 and max(alpha.shape) <= _WEBP_SIDE:
        files.append(_saved(image, "WEBP", lossless=True, method=4, quality=100))
    return min(files, key=len)


def _saved(image: Image.Image, format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def read_alpha(data: bytes, height: int, width: int, depth: int) -> Samples:
    """The alpha that `alpha_bytes` was given, (height, width).

    Raises:
        ValueError: no such image file, or one of another size or depth; sizes are compared before
            memory is taken for them.
    """
    is_webp = depth == 8 and _is_lossless_webp(data)
    if not is_webp and not data.startswith(_png_head(height, width, depth)):
        raise ValueError(
            f"is neither a grey PNG of {width} x {height} pixels of {depth} bits"
            + (" nor a lossless WebP" if depth == 8 else "")
        )
    try:
        # Not by Image.open: its limit of pixels is another one than that of our files.
        with (WebPImageFile if is_webp else PngImageFile)(io.BytesIO(data)) as image:
            if image.size != (width, height):
                raise ValueError(
                    f"{image.width} x {image.height} pixels, legal: {width} x {height}"
                )
            values = _green(np.array(image)) if is_webp else np.array(image)
    # Pillow's parsers meet hostile bytes with whatever their code happens to raise.
    except Exception as error:
        raise ValueError(f"is a damaged image file ({error})") from error
    return values.astype(_DTYPES[depth], copy=False)


def _is_lossless_webp(data: bytes) -> bool:
    """A file of the simple form with one VP8L chunk: no animation, no other chunks."""
    return data[:4] == b"RIFF" and data[8:16] == b"WEBPVP8L"


def _png_head(height: int, width: int, depth: int) -> bytes:
    """Signature and header chunk: length, name, sides, depth, and zeros for grey, deflate, the
    usual filters and no interlacing."""
    sides = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    return b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + sides + bytes([depth, 0, 0, 0, 0])


def _green(values: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Alpha lies in all three channels of a WebP."""
    if values.shape[2] != 3 or (values != values[:, :, 1:2]).any():
        raise ValueError("its channels must be three equal ones")
    return np.ascontiguousarray(values[:, :, 1])


def fill_hidden(samples: Samples, alpha: Samples | None) -> Samples:
    """The samples with new colours where alpha is 0: those around, spread smoothly.

    Each hidden pixel takes the mean of what is seen in the smallest square of an ever coarser grid
    that sees anything (a pull-push pyramid: Gortler et al., "The Lumigraph", 1996, section 3.4).

    Args:
        samples: (H, W, C).
        alpha: (H, W); None: nothing is hidden.
    """
    if alpha is None or alpha.all():
        return samples
    seen = alpha > 0
    if not seen.any():
        return np.zeros_like(samples)
    filled = _pulled(samples.astype(np.float32) * seen[:, :, np.newaxis], seen.astype(np.float32))
    hidden = np.rint(filled).astype(samples.dtype)
    return np.where(seen[:, :, np.newaxis], samples, hidden)


def _pulled(
    sums: npt.NDArray[np.float32], weights: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Colours (H, W, C) of weighted ones: their own where weights are 1, mixed with those of the
    coarser grid below."""
    height, width = weights.shape
    if height == width == 1:
        return sums / weights[:, :, np.newaxis]
    rows, columns = -(-height // 2), -(-width // 2)
    margins = ((0, 2 * rows - height), (0, 2 * columns - width))
    coarse_weights = np.pad(weights, margins).reshape(rows, 2, columns, 2).sum(axis=(1, 3))
    coarse_sums = np.pad(sums, (*margins, (0, 0))).reshape(rows, 2, columns, 2, -1).sum(axis=(1, 3))
    # No square counts for more than one pixel: else a rim would drown what lies farther off.
    scale = 1 / np.maximum(coarse_weights, 1)
    coarse = _pulled(coarse_sums * scale[:, :, np.newaxis], coarse_weights * scale)
    below = _doubled(coarse)[:height, :width]
    return sums + (1 - weights)[:, :, np.newaxis] * below


def _doubled(coarse: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Twice as many rows and columns, each ¾ of its own and ¼ of the nearer neighbour's."""
    for axis in (0, 1):
        own = np.moveaxis(coarse, axis, 0)
        before = np.concatenate([own[:1], own[:-1]])
        after = np.concatenate([own[1:], own[-1:]])
        pairs = np.stack([0.75 * own + 0.25 * before, 0.75 * own + 0.25 * after], axis=1)
        coarse = np.moveaxis(pairs.reshape(2 * len(own), *own.shape[1:]), 0, axis)
    return coarse
