"""Measure weights on a folder of pictures, beside JPEG and WebP at the same bits per pixel.

    python tools/measure_model.py mbt-paon-small --images KODAK
    python tools/measure_model.py mbt-paon-small --images KODAK --card mbt-paon-small

Every picture becomes a real file on disk and is decoded from it. bpp counts every byte of the file,
PSNR is of 8-bit samples; both are means over the pictures. The gains are dB over Pillow's curve
(means over the pictures at each quality; PCHIP on log rate) at the model's mean bpp: JPEG with
optimised Huffman tables and Pillow's default 4:2:0, WebP with method 6.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from _common import bits_per_pixel, jpeg, run, webp, write_card
from PIL import features

import paoncodec
from paoncodec import zoo
from paoncodec.errors import UsageError
from paoncodec.images import psnr, read_image

Encoder: TypeAlias = Callable[[npt.NDArray[np.uint8], int], bytes]

# Name → encoder and the qualities of its curve: from below 0.1 bpp to far above our models.
PEERS: Mapping[str, tuple[Encoder, tuple[int, ...]]] = {
    "jpeg": (jpeg, (2, *range(5, 96, 5))),
    "webp": (webp, (0, 5, *range(10, 90, 10), 87, 95)),
}


@dataclass(frozen=True)
class Point:
    """What one picture costs and how good it is, or the mean of several.

    Attributes:
        bpp: 8 · bytes of the file / pixels.
        psnr: of the 8-bit samples, dB.
    """

    bpp: float
    psnr: float


@dataclass(frozen=True)
class Picture(Point):
    """One picture of the folder: its file name and the size of its coded file in bytes."""

    name: str
    bytes: int


def measure(images: Sequence[Path], model: str | Path) -> list[Picture]:
    """Code every picture to a file of its own and decode that file.

    Args:
        images: picture files.
        model: name in the zoo or path of a weights file.
    """
    pictures = []
    with tempfile.TemporaryDirectory() as folder:
        for index, image in enumerate(images):
            original = read_image(image)
            coded = Path(folder) / f"{index}.bin"
            coded.write_bytes(paoncodec.encode(image, model=model))
            decoded = read_image(paoncodec.decode(coded, model=model))
            size = coded.stat().st_size
            rate = bits_per_pixel(size, original)
            pictures.append(Picture(rate, psnr(original, decoded), image.name, size))
    return pictures


def curve(images: Sequence[Path], encode: Encoder, qualities: Sequence[int]) -> list[Point]:
    """A peer's mean bpp and mean PSNR over the pictures, a point per quality."""

    def one(image: Path) -> list[Point]:
        original = read_image(image)
        points = []
        for quality in qualities:
            coded = encode(original, quality)
            rate = bits_per_pixel(len(coded), original)
            points.append(Point(rate, psnr(original, read_image(coded))))
        return points

    # Pillow's codecs let go of the interpreter's lock.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        rows = list(pool.map(one, images))
    return [mean(column) for column in zip(*rows, strict=True)]


def mean(points: Sequence[Point]) -> Point:
    """Means of bpp and of PSNR."""
    return Point(
        float(np.mean([point.bpp for point in points])),
        float(np.mean([point.psnr for point in points])),
    )


def psnr_at(bpp: float, points: Sequence[Point]) -> float | None:
    """PSNR of a curve at a rate: PCHIP on log bpp; None beyond the curve's ends."""
    # With CompressAI; takes a second to import.
    from scipy.interpolate import PchipInterpolator  # type: ignore[import-untyped]

    rates, first = np.unique([point.bpp for point in points], return_index=True)
    if not rates[0] <= bpp <= rates[-1]:
        return None
    values = np.array([point.psnr for point in points])[first]
    return float(PchipInterpolator(np.log2(rates), values)(np.log2(bpp)))


def report(
    images: Sequence[Path], weights: zoo.Weights, model: str, dataset: str
) -> dict[str, Any]:
    """Everything that was measured, of JSON types; a gain is None beyond the peer's curve."""
    pictures = measure(images, model)
    ours = mean(pictures)
    peers: dict[str, Any] = {}
    for name, (encode, qualities) in PEERS.items():
        points = curve(images, encode, qualities)
        level = psnr_at(ours.bpp, points)
        peers[name] = {
            "psnr": level,
            "gain_db": None if level is None else ours.psnr - level,
            "curve": [
                {"quality": quality, **dataclasses.asdict(point)}
                for quality, point in zip(qualities, points, strict=True)
            ],
        }
    return {
        "model": weights.name,
        "sha256": weights.sha256,
        "dataset": dataset,
        "images": len(pictures),
        "bytes": sum(picture.bytes for picture in pictures),
        **dataclasses.asdict(ours),
        "peers": peers,
        "pictures": [dataclasses.asdict(picture) for picture in pictures],
        "command": f"python tools/measure_model.py {weights.name} --images DIR --dataset {dataset}",
        "versions": {
            "paoncodec": paoncodec.__version__,
            **{package: version(package) for package in ("torch", "compressai", "Pillow")},
            "libjpeg_turbo": features.version("libjpeg_turbo"),
            "libwebp": features.version("webp"),
        },
    }


def table(result: Mapping[str, Any]) -> str:
    """The report for people: a line per picture, the means, the gains."""
    rows = [f"{'picture':<20} {'bytes':>9} {'bpp':>8} {'PSNR dB':>8}"]
    average = {**result, "name": "mean", "bytes": result["bytes"] / result["images"]}
    rows += [
        f"{row['name']:<20} {row['bytes']:>9.0f} {row['bpp']:>8.4f} {row['psnr']:>8.3f}"
        for row in (*result["pictures"], average)
    ]
    rows += [_gain_line(name, peer) for name, peer in result["peers"].items()]
    return "\n".join(rows)


def _gain_line(name: str, peer: Mapping[str, Any]) -> str:
    if peer["gain_db"] is None:
        return f"{name}: no point at this rate"
    return f"{name} at this bpp: {peer['psnr']:.3f} dB, gain {peer['gain_db']:+.3f} dB"


def with_result(card: zoo.WeightsCard, result: Mapping[str, Any]) -> zoo.WeightsCard:
    """The card with the figures of this data set in place of earlier ones.

    Raises:
        UsageError: other weights than the card's were measured.
    """
    if result["sha256"] != card.sha256:
        raise UsageError(
            f"measured weights have SHA-256 {result['sha256']}, those of card {card.name!r} "
            f"{card.sha256}: measure {card.name!r} itself, or ship the new weights first"
        )
    figures: dict[str, float] = {
        "images": result["images"],
        "bytes": result["bytes"],
        "bpp": round(result["bpp"], 5),
        "psnr": round(result["psnr"], 4),
    }
    for name, peer in result["peers"].items():
        if peer["gain_db"] is not None:
            figures[f"{name}_gain_db"] = round(peer["gain_db"], 3)
    return dataclasses.replace(
        card,
        results={**card.results, result["dataset"]: figures},
        measured_by=f"python tools/measure_model.py {card.name} --images DIR --dataset SET",
    )


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="name in the zoo, or path of a weights file")
    parser.add_argument("--images", type=Path, required=True, metavar="DIR")
    parser.add_argument("--dataset", help="what to call the pictures (default: the folder's name)")
    parser.add_argument("--card", metavar="NAME", help="of the zoo: write the results into it")
    parser.add_argument("--json", action="store_true", help="print one JSON object, no table")
    arguments = parser.parse_args(argv)

    # It imports torch: after the arguments are known to be right.
    from paoncodec.images.crops import find_images

    card = _card(arguments.card) if arguments.card else None
    weights = zoo.resolve(arguments.model)
    dataset = arguments.dataset or arguments.images.resolve().name.lower()
    result = report(find_images(arguments.images), weights, arguments.model, dataset)
    print(json.dumps(result, indent=2) if arguments.json else table(result))
    if card is not None:
        write_card(with_result(card, result), zoo.FOLDER)


def _card(name: str) -> zoo.WeightsCard:
    for card in zoo.list_cards():
        if card.name == name:
            return card
    names = ", ".join(card.name for card in zoo.list_cards()) or "there is none"
    raise UsageError(f"no card {name!r} in the zoo: choose one of them ({names})")


if __name__ == "__main__":
    run(main)
