"""Put the weights of a training run into the package, with their card.

    python tools/ship_weights.py RUN --name mbt-paon-small --data-note "what they were trained on"

Takes the checkpoint with the best loss on the run's own held-out pictures. What it measures on a
test set is added to the card by tools/measure_model.py. A run that started from weights of the zoo
counts their steps and minutes as well.

The file has float16, whose effect on bpp and PSNR of the held-out pictures is measured with
--calibrate, and said on the card. Where a third digit would change it has float32.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from _common import (
    Shipment,
    best_validation,
    run,
    say_shipped,
    settings_of_run,
    shipping_parser,
    write_card,
    write_whole,
)
from compressai.models import CompressionModel

from paoncodec import codecs, zoo
from paoncodec.cli.train import train
from paoncodec.codecs.calibration import fit_tails
from paoncodec.codecs.recipe import CodecRecipe, presets
from paoncodec.codecs.task import rate_distortion
from paoncodec.entropy import Tails
from paoncodec.errors import UsageError
from paoncodec.evaluation.zoo_check import observe
from paoncodec.images.crops import CropDataset, CropSpec, find_images, split
from paoncodec.quality import VARIABLE, quality_of
from paoncodec.training import RunDirectory

#: What rounding to float16 may change, as a fraction of bpp and of PSNR: no third digit.
_THIRD_DIGIT = 5e-4


def ship(shipment: Shipment, pictures: Path | None = None) -> zoo.WeightsCard:
    """Write a run's best weights, in half precision where that does no harm, their card, and a
    file that they make of the test picture into a zoo's folder.

    Args:
        shipment: what is put there.
        pictures: those of the run, whose held-out part tells the shape of the latents'
            distributions, and what half precision costs; None: Gaussians, and nothing is measured.

    Nothing is written before everything is known to be right.

    Raises:
        UsageError: the run is not complete enough, or the name is taken.
        WeightsError: the weights cannot be loaded, or leave exact arithmetic.
    """
    folder, name = shipment.folder, shipment.name
    target = folder / f"{name}.safetensors"
    if target.exists() and not shipment.force:
        raise UsageError(f"{target} exists: choose another --name, or replace it with --force")
    directory = RunDirectory(shipment.run, resume=True)
    settings = settings_of_run(directory)
    model, metadata = codecs.load_weights(directory.weights_file("best"))
    best = best_validation(directory, metadata["step"])
    trained_by = shipment.command or training_command(settings)
    tails, note = None, shipment.note
    if pictures is not None:
        crops = list(held_out(pictures, CodecRecipe.from_json(settings)))
        qualities = range(1, 7) if metadata["lmbda"] == VARIABLE else (None,)
        tails, saved = fit_tails(model, crops, qualities)
        note = f"{note} {_words(tails)}: {saved:.1%} fewer bits held out.".strip()
    content = _content(model, metadata, tails)
    if pictures is not None:
        bpp, psnr = rounding_costs(model, content, crops, qualities)
        half = max(bpp, psnr) < _THIRD_DIGIT
        content = content if half else _content(model, metadata, tails, half=False)
        kept = "float16" if half else "float32, as float16"
        note += f" Kept as {kept} changes bpp held out by {bpp:.3%} at most, PSNR by {psnr:.3%}."
    written = replace(shipment, command=trained_by, note=note)
    card = _card(written, metadata, best, started_from(settings), content)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(target, content)
    coded, observed = observe(target)
    write_whole(folder / f"{name}.bin", coded)
    card = replace(card, check=observed)
    write_card(card, folder)
    return card


def _card(
    shipment: Shipment,
    metadata: Mapping[str, str],
    best: Mapping[str, Any],
    before: zoo.WeightsCard | None,
    content: bytes,
) -> zoo.WeightsCard:
    """The card, nothing being measured yet.

    Args:
        shipment: with the command.
        metadata: of the weights.
        best: record of their validation.
        before: card of what they started from.
        content: the weights file.

    Raises:
        UsageError: a value cannot be on a card.
    """
    lmbda = None if metadata["lmbda"] == VARIABLE else float(metadata["lmbda"])
    try:
        return zoo.WeightsCard(
            name=shipment.name,
            arch=metadata["arch"],
            config=json.loads(metadata["config"]),
            quality=None if lmbda is None else quality_of(lmbda),
            lmbda=lmbda,
            metric="mse",
            sha256=sha256(content).hexdigest(),
            licence=shipment.licence,
            steps=best["step"] + (before.steps if before else 0),
            data=shipment.data,
            command=shipment.command or "",
            results={},
            note=shipment.note,
            minutes=round(best.get("seconds", 0) / 60 + (before.minutes if before else 0), 1),
        )
    except ValueError as error:
        raise UsageError(f"{shipment.run}: no card can be made: {error}") from error


def _start_of(recipe: CodecRecipe) -> dict[str, Any]:
    return {name: getattr(recipe, name) for name in ("start", "start_from", "start_sha256")}


def _words(tails: Tails) -> str:
    return (
        f"Tables with tails (narrow {tails.narrow:g}, wide {tails.wide:g}, share {tails.share:g})"
    )


@torch.no_grad()
def rounding_costs(
    model: CompressionModel,
    content: bytes,
    images: Sequence[torch.Tensor],
    qualities: Sequence[float | None],
) -> tuple[float, float]:
    """The largest change of bpp and of PSNR, at any of the qualities, as fractions of them.

    Args:
        model: as it was trained, in evaluation mode.
        content: a weights file of it.
        images: each (3, H, W) in [0, 1]; means over them are compared.
        qualities: None where there is one only.
    """
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "weights.safetensors"
        path.write_bytes(content)
        rounded, _ = codecs.load_weights(path)

    def figures(codec: CompressionModel, quality: float | None) -> tuple[float, float]:
        outs = [rate_distortion(codec(x[None], quality), x[None], 1.0)[1] for x in images]
        bpp, psnr = (sum(out[name] for out in outs) for name in ("bpp", "psnr"))
        return bpp, psnr

    changes = []
    for quality in qualities:
        pairs = zip(figures(rounded, quality), figures(model, quality), strict=True)
        changes.append([abs(now / before - 1) for now, before in pairs])
    bpp, psnr = map(max, zip(*changes, strict=True))
    return bpp, psnr


def _content(
    model: CompressionModel, metadata: Mapping[str, str], tails: Tails | None, half: bool = True
) -> bytes:
    """The weights file that travels.

    Raises:
        WeightsError: the rounded weights do not fit exact arithmetic.
    """
    rest = {name: value for name, value in metadata.items() if name not in ("arch", "seconds")}
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "weights.safetensors"
        codecs.save_weights(model, path, metadata["arch"], rest, half=half, tails=tails)
        codecs.load_weights(path)
        return path.read_bytes()


def held_out(pictures: Path, recipe: CodecRecipe) -> Iterator[torch.Tensor]:
    """A crop (3, S, S) in [0, 1] of each picture that the run set aside."""
    config = recipe.train
    _, chosen = split(find_images(pictures), config.validation_fraction)
    spec = CropSpec(config.validation_crop, flips=False, shrink=config.shrink)
    for crop in CropDataset(chosen, spec):
        yield crop.float() / 255


def started_from(settings: Mapping[str, Any]) -> zoo.WeightsCard | None:
    """The card of the zoo's weights that a run started from; None if it started from no such."""
    digest = settings.get("start_sha256")
    return next((card for card in zoo.list_cards() if card.sha256 == digest), None)


def training_command(settings: Mapping[str, Any]) -> str:
    """The command that repeats a run, with `DIR` and `RUN` in place of this machine's folders.

    Args:
        settings: those that the run wrote down (config.json).

    Raises:
        UsageError: no preset and options of `paoncodec train` give these settings.
    """
    recipe, before = CodecRecipe.from_json(settings), started_from(settings)
    options = {parameter.name for parameter in train.params}
    for preset in presets():
        plain = CodecRecipe.from_preset(preset, recipe.arch_name, recipe.lmbda, recipe.data)
        usual, ours = asdict(plain.train), asdict(recipe.train)
        changed = {name: value for name, value in ours.items() if value != usual[name]}
        expected = replace(plain, train=recipe.train, **(_start_of(recipe) if before else {}))
        if expected != recipe or not options.issuperset(changed):
            continue
        words = {**({"start_from": before.name} if before else {}), **changed}
        extra = "".join(f" --{name.replace('_', '-')} {value}" for name, value in words.items())
        return (
            f"paoncodec train --arch {recipe.arch_name} --preset {preset} "
            f"--lmbda {recipe.lmbda}{extra} --data DIR --out RUN"
        )
    raise UsageError(
        f"no preset ({', '.join(presets())}) and options give the run's settings: "
        "say with --command what trained it"
    )


def main(argv: Sequence[str] | None = None) -> None:
    parser = shipping_parser(__doc__)
    parser.add_argument("--calibrate", type=Path, help="pictures of the run, to fit tables' tails")
    arguments = parser.parse_args(argv)
    card = ship(Shipment.of(arguments), arguments.calibrate)
    say_shipped(card, arguments.folder / f"{card.name}.safetensors")


if __name__ == "__main__":
    run(main)
