"""Measure weights on a folder of pictures, beside JPEG and WebP at the same bits per pixel.

    python tools/measure_model.py mbt-paon-small --images KODAK
    python tools/measure_model.py mbt-paon-small --images KODAK --card mbt-paon-small

`paoncodec eval` measures whole curves; this adds the figures that a card of the zoo quotes. The
gains are dB over Pillow's curve at the model's mean bpp (PCHIP on log rate).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from _common import run, write_card

from paoncodec import zoo
from paoncodec.errors import ImageError, UsageError
from paoncodec.evaluation.coders import Coder, PaonCoder
from paoncodec.evaluation.curves import Curve, level_at
from paoncodec.evaluation.pillow import PillowCoder
from paoncodec.evaluation.runs import Options, evaluate, settings_of
from paoncodec.quality import DEFAULT

# Peer → the qualities of its curve: from below 0.1 bpp to far above our models.
PEERS: Mapping[str, tuple[float, ...]] = {
    "jpeg": (2, *range(5, 96, 5)),
    "webp": (0, 5, *range(10, 90, 10), 87, 95),
}


def report(
    images: Sequence[Path], model: str, dataset: str, quality: float | None = None
) -> dict[str, Any]:
    """Everything that was measured, of JSON types; a gain is None beyond the peer's curve.

    Args:
        images: picture files.
        model: name in the zoo or path of a weights file.
        dataset: what to call the pictures.
        quality: None: that of the model, or the default if it has them all.

    Raises:
        ImageError: a picture cannot be measured.
    """
    weights = zoo.resolve(model)
    chosen = quality or weights.quality or DEFAULT
    ours = _measured(images, PaonCoder(model), (chosen,))
    bpp, psnr = ours["results"]["bpp"][0], ours["results"]["psnr-rgb"][0]
    peers: dict[str, Any] = {}
    for name, qualities in PEERS.items():
        figures = _measured(images, PillowCoder(name), qualities)["results"]
        level = level_at(bpp, Curve(name, figures["bpp"], figures["psnr-rgb"]))
        peers[name] = {
            "psnr": level,
            "gain_db": None if level is None else psnr - level,
            "curve": [
                {"quality": quality, "bpp": rate, "psnr": value}
                for quality, rate, value in zip(
                    figures["quality"], figures["bpp"], figures["psnr-rgb"], strict=True
                )
            ],
        }
    return {
        "model": weights.name,
        "sha256": weights.sha256,
        "dataset": dataset,
        "images": len(images),
        "quality": chosen,
        "bytes": sum(row["bytes"] for row in ours["images"]),
        "bpp": bpp,
        "psnr": psnr,
        "peers": peers,
        "pictures": [
            {"name": r["image"], "bytes": r["bytes"], "bpp": r["bpp"], "psnr": r["psnr-rgb"]}
            for r in ours["images"]
        ],
        "command": f"python tools/measure_model.py {weights.name} --images DIR --dataset {dataset}"
        + ("" if quality is None else f" --quality {quality:g}"),
        "conditions": ours["conditions"],
    }


def _measured(images: Sequence[Path], coder: Coder, qualities: Sequence[float]) -> dict[str, Any]:
    named = {image.name: image for image in images}
    result = evaluate(named, settings_of([coder], qualities), Options(ms_ssim=False))
    for failure in result["failures"]:
        raise ImageError(f"{failure['image']}: {failure['error']}")
    return result


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
        "quality": result["quality"],
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
    parser.add_argument("--quality", type=float, help="of a model that has them all")
    parser.add_argument("--card", metavar="NAME", help="of the zoo: write the results into it")
    parser.add_argument("--json", action="store_true", help="print one JSON object, no table")
    arguments = parser.parse_args(argv)

    # It imports torch: after the arguments are known to be right.
    from paoncodec.images.crops import find_images

    card = _card(arguments.card) if arguments.card else None
    dataset = arguments.dataset or arguments.images.resolve().name.lower()
    result = report(find_images(arguments.images), arguments.model, dataset, arguments.quality)
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
