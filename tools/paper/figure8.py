"""Figure 8: crops of kodim08, kodim01 and kodim21: as they were, MBT-Paon, and the original MBT.

    python tools/paper/figure8.py --images KODAK --paon W0018 W0035 --original M0018 M0035

First the weights of λ = 0.0018 (kodim08), then those of λ = 0.0035 (the others). Without --original
its column is left out; with --arch mbt2018 it is CompressAI's checkpoints, otherwise weights of
paoncodec, such as those of the architecture mbt-2018. The paper does not say where its crops lie:
these show what its text speaks of, and --crop moves them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from _paper import check_network, coder_of, options_of, parser_of, run
from PIL import Image, ImageDraw, ImageFont

from paoncodec.errors import UsageError
from paoncodec.evaluation.coders import Coder
from paoncodec.evaluation.metrics import bits_per_pixel
from paoncodec.images import psnr, read_image, to_pil, write_image

Pixels = npt.NDArray[np.uint8]

#: Picture → which of the two weights, and the upper left corners (x, y) of its crops.
CROPS: Mapping[str, tuple[int, tuple[tuple[int, int], ...]]] = {
    "kodim08": (0, ((630, 240), (150, 110))),  # shutters and the A; pole and roof
    "kodim01": (1, ((390, 260),)),  # window blinds
    "kodim21": (1, ((330, 20),)),  # the sky
}
#: PSNR in dB and bpp that the paper prints: MBT-Paon with GDN, then the original.
CLAIMED = {
    "kodim08": ((25.3827, 0.2424), (24.7371, 0.2424)),
    "kodim01": ((27.2582, 0.2877), (27.0812, 0.3135)),
    "kodim21": ((29.2820, 0.2157), (28.9629, 0.2159)),
}
ZOOM, GAP, LINE = 3, 10, 22


@dataclass(frozen=True)
class Version:
    """A picture as one column shows it, and two lines to write above its crops."""

    pixels: Pixels
    title: str
    figures: str


def versions(image: Path, coders: Mapping[str, Coder]) -> list[Version]:
    """The original, and what each coder makes of it, by way of a real file."""
    original = read_image(image)
    found = [Version(original, image.stem, "original")]
    with tempfile.TemporaryDirectory() as folder:
        for title, coder in coders.items():
            place = Path(folder) / f"x{coder.suffix}"
            place.write_bytes(coder.encode(original, coder.qualities()[0]))
            decoded = coder.decode(place)
            rate = bits_per_pixel(place.stat().st_size, original)
            found.append(Version(decoded, title, f"{psnr(original, decoded):.2f} dB, {rate:.4f}"))
    return found


def sheet(rows: Sequence[tuple[list[Version], tuple[int, int]]], side: int) -> Image.Image:
    """A row of crops for each corner, each under its two lines, on white."""
    step = side * ZOOM + GAP
    high = step + 2 * LINE
    width = GAP + step * max(len(columns) for columns, _ in rows)
    page = Image.new("RGB", (width, GAP + high * len(rows)), "white")
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(15)
    for j, (columns, (x, y)) in enumerate(rows):
        for i, version in enumerate(columns):
            left, top = GAP + i * step, GAP + j * high
            pen.text((left, top), version.title, fill="black", font=font)
            pen.text((left, top + LINE - 2), version.figures, fill="black", font=font)
            part = to_pil(version.pixels[y : y + side, x : x + side])
            large = part.resize((part.width * ZOOM, part.height * ZOOM), Image.Resampling.NEAREST)
            page.paste(large, (left, top + 2 * LINE))
    return page


def corners_of(moved: Sequence[str]) -> dict[str, tuple[tuple[int, int], ...]]:
    """Where crops lie, with those moved that `NAME=X,Y` words name."""
    corners = {name: places for name, (_, places) in CROPS.items()}
    for word in moved:
        name, _, place = word.partition("=")
        try:
            x, y = (int(number) for number in place.split(","))
        except ValueError as error:
            raise UsageError(f"--crop {word}: give NAME=X,Y, such as kodim08=630,240") from error
        if name not in corners:
            raise UsageError(f"--crop {word}: the pictures are {', '.join(corners)}")
        corners[name] = ((x, y),)
    return corners


def main(argv: Sequence[str] | None = None) -> None:
    parser = parser_of(__doc__)
    names = ("LOW", "HIGH")
    paon = "MBT-Paon: λ = 0.0018, λ = 0.0035"
    parser.add_argument("--paon", required=True, nargs=2, metavar=names, help=paon)
    parser.add_argument("--original", nargs=2, metavar=names, help="the original model, likewise")
    parser.add_argument("--arch", help="the originals are CompressAI checkpoints of it")
    parser.add_argument("--crop", action="append", default=[], metavar="NAME=X,Y")
    parser.add_argument("--side", type=int, default=128, help="of the crops, pixels (%(default)s)")
    arguments = parser.parse_args(argv)
    options_of(arguments)
    for path in arguments.paon:
        check_network(path, "mbt-paon")
    corners = corners_of(arguments.crop)
    rows: list[tuple[list[Version], tuple[int, int]]] = []
    for name, (which, _) in CROPS.items():
        coders = {"MBT-Paon": coder_of(arguments.paon[which])}
        if arguments.original:
            coders["MBT-2018"] = coder_of(arguments.original[which], arguments.arch)
        shown = versions(arguments.images / f"{name}.png", coders)
        rows += [(shown, corner) for corner in corners[name]]
        for version, (level, rate) in zip(shown[1:], CLAIMED[name], strict=False):
            print(f"{name} {version.title}: {version.figures} | paper {level:.2f} dB, {rate:.4f}")
    place = arguments.out / "figure8.png"
    write_image(np.asarray(sheet(rows, arguments.side)), place)
    print("written:", place)


if __name__ == "__main__":
    run(main)
