"""Super-resolution measured on pictures whose large originals are known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

from paoncodec.errors import ImageError
from paoncodec.evaluation.metrics import check_lpips, lpips_distance
from paoncodec.images import read_image
from paoncodec.vision.superres.metrics import figures_of
from paoncodec.vision.superres.resize import reduce

__all__ = ["Options", "evaluate"]

Pixels = npt.NDArray[np.uint8]
Upscaler = Callable[[Pixels], Pixels]


@dataclass(frozen=True)
class Options:
    """How it is measured.

    Args:
        scale: how many times larger the pictures become; so many pixels of their border are left
            out of PSNR and SSIM.
        low: folder of the small pictures, by the names of the large ones; None: they are made of
            them, by bicubic reduction.
        lpips_weights: file of torchvision's AlexNet, which adds LPIPS of the whole pictures.
    """

    scale: int
    low: Path | None = None
    lpips_weights: str | None = None


def evaluate(
    images: Mapping[str, Path],
    upscaler: Upscaler,
    options: Options,
    *,
    name: str,
    dataset: str,
    command: Sequence[str],
    progress: Callable[[str, str | None], None],
) -> dict[str, Any]:
    """A result of all pictures, JSON-ready: each one's figures, and their means.

    Args:
        images: the originals by name. Their sides are cut to multiples of the scale, at the right
            and bottom.
        upscaler: uint8 (H, W, 3) → (scale·H, scale·W, 3).
        options: how it is measured.
        name: of what is measured.
        dataset: what the pictures are.
        command: that measures.
        progress: called after each picture with its name and what was wrong with it.

    Raises:
        UsageError: the weights of LPIPS are none.
    """
    lpips = None if options.lpips_weights is None else check_lpips(options.lpips_weights)
    rows: list[dict[str, Any]] = []
    failures: list[dict[str, str]] = []
    for image, path in images.items():
        fault = None
        try:
            rows.append({"image": image, **_measure(image, path, upscaler, options)})
        except ImageError as error:
            fault = str(error)
            failures.append({"image": image, "error": fault})
        progress(image, fault)
    return {
        "name": name,
        "task": "superres",
        "scale": options.scale,
        "border": options.scale,
        "low": "bicubic" if options.low is None else options.low.name,
        "dataset": {"name": dataset, "images": len(rows)},
        "results": _means(rows),
        "images": rows,
        "failures": failures,
        "lpips": lpips,
        "command": list(command),
    }


def _measure(image: str, path: Path, upscaler: Upscaler, options: Options) -> dict[str, Any]:
    high = _rgb(read_image(path))
    low = _low(image, high, options)
    height, width = (options.scale * side for side in low.shape[:2])
    high = high[:height, :width]
    begun = perf_counter()
    made = upscaler(low)
    seconds = perf_counter() - begun
    figures = {"pixels": height * width, **figures_of(high, made, options.scale)}
    if options.lpips_weights is not None:
        figures["lpips"] = lpips_distance(high, made, options.lpips_weights)
    # JSON has no infinity, which the PSNR of equal pictures is.
    finite = {k: v if isfinite(v) else None for k, v in figures.items()}
    return {**finite, "seconds": seconds}


def _low(image: str, high: Pixels, options: Options) -> Pixels:
    """The small picture: its own file, or made of the large one."""
    scale = options.scale
    height, width = (side // scale for side in high.shape[:2])
    if options.low is None:
        if not height or not width:
            raise ImageError(f"{image}: must have {scale} pixels a side")
        return reduce(high[: scale * height, : scale * width], scale)
    low = _rgb(read_image(options.low / image))
    if low.shape[:2] != (height, width):
        raise ImageError(
            f"{image}: {low.shape[1]}x{low.shape[0]} in {options.low}, must be {width}x{height}, "
            f"the original's size by {scale}"
        )
    return low


def _rgb(pixels: Pixels) -> Pixels:
    return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))


def _means(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Of what all pictures have; of the time, the sum."""
    names = [n for n in (rows[0] if rows else {}) if n not in ("image", "pixels", "seconds")]
    means = {
        name: float(np.mean([row[name] for row in rows]))
        for name in names
        if all(row[name] is not None for row in rows)
    }
    return {**means, "seconds": float(sum(row["seconds"] for row in rows))} if rows else {}
