"""Where the bits of y are, and how well its deviations are predicted.

    python tools/latent_bits.py MODEL [MODEL ...] --images DIR --quality 1
    python tools/latent_bits.py MODEL --images DIR --quality 1 --side 128

For channels before and from `--channels` on, and for both halves of a checkerboard (the first is
what ELIC calls anchors, which see no latent of their group): bits a pixel, of the Gaussians that
the model predicts, and the squared errors of the predicted means over the predicted variances,
which are 1 where those are right. `--side` looks at crops from the middle: as large as those of the
training, for example.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from _common import run
from _documents import markdown_table
from torch import Tensor

from paoncodec import zoo
from paoncodec.codecs.calibration import LEAST_DEVIATION, RAREST
from paoncodec.errors import UsageError
from paoncodec.images import read_image
from paoncodec.images.crops import find_images

#: Sides of pictures are cut down to multiples of this.
_FACTOR = 64
#: Of a rounding to integers; the model's Gaussians are of values before it.
_ROUNDING = 1 / 12


@dataclass
class Part:
    """Sums over some latents: bits, squared errors, predicted variances."""

    bits: float = 0.0
    errors: float = 0.0
    variances: float = 0.0


@torch.inference_mode()
def parts_of(
    model: Any, pictures: Sequence[Tensor], quality: float | None, channels: int
) -> tuple[dict[tuple[int, int], Part], int]:
    """Sums by (channels before or from, half of the checkerboard), and the pixels looked at."""
    parts = {(first, half): Part() for first in (0, 1) for half in (0, 1)}
    for x in pictures:
        y_hat, deviations, means, _ = model.distributions(x[None], quality)
        deviation = deviations.clamp(min=LEAST_DEVIATION)
        residual = y_hat - means
        upper, lower = (torch.special.ndtr((residual + s) / deviation) for s in (0.5, -0.5))
        values = (
            -(upper - lower).clamp(min=RAREST).log2(),
            residual.square(),
            deviation.square() + _ROUNDING,
        )
        rows, columns = (torch.arange(side) for side in y_hat.shape[2:])
        odd = (rows[:, None] + columns) % 2
        for (first, half), part in parts.items():
            chosen = slice(channels, None) if first else slice(None, channels)
            sums = [value[0, chosen][:, odd == half].sum().item() for value in values]
            part.bits, part.errors, part.variances = (
                old + new
                for old, new in zip((part.bits, part.errors, part.variances), sums, strict=True)
            )
    return parts, sum(x[0].numel() for x in pictures)


def read(folder: Path, side: int | None) -> Iterator[Tensor]:
    """Pictures (3, H, W) in [0, 1], sides multiples of 64; with a side, squares of their middle.

    Raises:
        UsageError: no picture is large enough.
    """
    found = False
    for path in find_images(folder):
        pixels = torch.from_numpy(read_image(path)).permute(2, 0, 1)
        height, width = (s // _FACTOR * _FACTOR if side is None else side for s in pixels.shape[1:])
        top, left = (pixels.shape[1] - height) // 2, (pixels.shape[2] - width) // 2
        if not height or not width or min(top, left) < 0:
            continue
        found = True
        yield pixels[:, top : top + height, left : left + width].expand(3, -1, -1).float() / 255
    if not found:
        raise UsageError(f"{folder}: no picture with sides of {side or _FACTOR} or more")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", metavar="MODEL", help="name in the zoo, or a file")
    parser.add_argument("--images", type=Path, required=True, metavar="DIR")
    parser.add_argument("--quality", type=float, help="of a model that has them all")
    parser.add_argument("--channels", type=int, default=16, help="%(default)s, ELIC's first group")
    parser.add_argument("--side", type=int, help="of crops, a multiple of 64")
    arguments = parser.parse_args(argv)
    if arguments.side is not None and (arguments.side < 1 or arguments.side % _FACTOR):
        raise UsageError(f"--side {arguments.side}: must be a multiple of {_FACTOR}")
    pictures = list(read(arguments.images, arguments.side))
    rows = []
    for name in arguments.models:
        model: Any = zoo.load(zoo.resolve(name))
        parts, pixels = parts_of(model, pictures, arguments.quality, arguments.channels)
        for (first, half), part in parts.items():
            before = f"from {arguments.channels} on" if first else f"before {arguments.channels}"
            ratio = part.errors / part.variances
            row = [Path(name).name, before, "others" if half else "anchors"]
            rows.append([*row, f"{part.bits / pixels:.4f}", f"{ratio:.2f}"])
    head = ["model", "channels", "half", "bpp", "squared error over variance"]
    print(markdown_table(head, rows))


if __name__ == "__main__":
    run(main)
