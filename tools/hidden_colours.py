"""What colours under full transparency cost: a picture cut out along a disc, coded twice.

python tools/hidden_colours.py                       the bundled photograph
python tools/hidden_colours.py PICTURE --model NAME  another one

Prints the bytes of the latents with the hidden colours as they are, and filled from those around.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt

import paoncodec
from paoncodec import api
from paoncodec.images import read_image

PHOTO = Path(paoncodec.__file__).parent / "demo" / "photo.png"


def disc(height: int, width: int) -> npt.NDArray[np.uint8]:
    """Alpha: 255 inside the ellipse half as wide and high as the picture, 0 outside."""
    y, x = np.mgrid[:height, :width]
    inside = np.hypot(4 * (y + 0.5) / height - 2, 4 * (x + 0.5) / width - 2) <= 1
    return np.where(inside, 255, 0).astype(np.uint8)


def latent_bytes(pixels: npt.NDArray[np.uint8], model: str) -> int:
    """Bytes of z and y in the picture's file."""
    sections = api.info(api.encode(pixels, model=model, lossless=False))["sections"]
    return int(sections["z"] + sections["y"])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure what hidden colours cost.")
    parser.add_argument("picture", nargs="?", type=Path, default=PHOTO)
    parser.add_argument("--model", default=api.DEFAULT_MODEL)
    arguments = parser.parse_args()
    pixels = read_image(arguments.picture)
    alpha = disc(*pixels.shape[:2])
    as_they_are = latent_bytes(pixels, arguments.model)
    filled = latent_bytes(np.dstack([pixels, alpha]), arguments.model)
    flat = np.where(alpha[:, :, np.newaxis] > 0, pixels, 0).astype(np.uint8)
    black = latent_bytes(flat, arguments.model)
    print(f"{np.mean(alpha == 0):.0%} of the pixels are hidden")
    print(f"bytes of latents: {as_they_are} as they are, {black} in black, {filled} filled")


if __name__ == "__main__":
    main()
