"""Make docs/images/crops.png: crops of the bundled photograph, decoded, beside JPEG's.

    python tools/readme_picture.py

JPEG is Pillow's with optimised tables, at the lowest quality whose file is no smaller than ours.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
import numpy.typing as npt
from _common import run
from PIL import Image, ImageDraw, ImageFont

import paoncodec
from paoncodec.api import DEFAULT_MODEL
from paoncodec.evaluation.metrics import bits_per_pixel
from paoncodec.evaluation.pillow import PillowCoder
from paoncodec.images import psnr, read_image, to_pil, write_image

ROOT = Path(__file__).resolve().parents[1]

# Top left corners (x, y) in the bundled photograph, and the side, in pixels: the face, and the
# patches on the suit.
CORNERS = ((138, 20), (84, 300))
SIDE = 176

# Each pixel becomes 2×2, so that what a codec did to it can be seen.
ZOOM = 2
GAP = 12
TEXT_SIZE = 20
LINE = 28
JPEG_QUALITIES = range(1, 96)


@dataclass(frozen=True)
class Column:
    """One version of the photograph: uint8 (H, W, 3), and two lines to write above its crops."""

    picture: npt.NDArray[np.uint8]
    title: str
    figures: str


def columns(original: npt.NDArray[np.uint8], model: str) -> list[Column]:
    """The photograph, what `model` makes of it, and JPEG at about the same size."""
    coded = paoncodec.encode(original, model=model)
    decoded = read_image(paoncodec.decode(coded, model=model))
    rival = jpeg_of_size(original, len(coded))
    shown = read_image(rival)
    height, width, _ = original.shape
    return [
        Column(original, "original", f"{width}x{height}, 24 bpp"),
        Column(decoded, "paoncodec", figures(original, decoded, len(coded))),
        Column(shown, "JPEG (Pillow, optimised)", figures(original, shown, len(rival))),
    ]


def jpeg_of_size(picture: npt.NDArray[np.uint8], size: int) -> bytes:
    """The first JPEG of at least `size` bytes, or the largest there is."""
    coded = b""
    for quality in JPEG_QUALITIES:
        coded = PillowCoder("jpeg").encode(picture, quality)
        if len(coded) >= size:
            break
    return coded


def figures(before: npt.NDArray[np.uint8], after: npt.NDArray[np.uint8], size: int) -> str:
    """Such as `18 432 bytes, 0.563 bpp, 32.10 dB`."""
    spaced = f"{size:,}".replace(",", " ")
    return f"{spaced} bytes, {bits_per_pixel(size, before):.3f} bpp, {psnr(before, after):.2f} dB"


def sheet(versions: list[Column]) -> Image.Image:
    """Columns of crops under their two lines, on white."""
    step = SIDE * ZOOM + GAP
    head = 2 * LINE + GAP
    size = (GAP + step * len(versions), head + step * len(CORNERS))
    page = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(page)
    font = ImageFont.load_default(TEXT_SIZE)
    for i, version in enumerate(versions):
        left = GAP + i * step
        draw.text((left, GAP // 2), version.title, fill="black", font=font)
        draw.text((left, GAP // 2 + LINE), version.figures, fill="black", font=font)
        for j, corner in enumerate(CORNERS):
            page.paste(crop(version.picture, *corner), (left, head + j * step))
    return page


def crop(picture: npt.NDArray[np.uint8], x: int, y: int) -> Image.Image:
    """The square of `SIDE` pixels at (x, y), enlarged without inventing any."""
    part = to_pil(picture[y : y + SIDE, x : x + SIDE])
    return part.resize((SIDE * ZOOM, SIDE * ZOOM), Image.Resampling.NEAREST)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default=DEFAULT_MODEL, help="name or path (%(default)s)")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images" / "crops.png")
    arguments = parser.parse_args(argv)
    photo = resources.files("paoncodec") / "demo" / "photo.png"
    page = sheet(columns(read_image(photo.read_bytes()), arguments.model))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    write_image(np.asarray(page), arguments.out)
    print(f"{arguments.out}: {page.width}x{page.height}")


if __name__ == "__main__":
    run(main)
