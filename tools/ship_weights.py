"""Put the weights of a training run into the package, with their card.

    python tools/ship_weights.py RUN --name mbt-paon-small --data-note "what they were trained on"

Takes the checkpoint with the best loss on the run's own held-out pictures. What it measures on a
test set is added to the card by tools/measure_model.py.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from _common import best_validation, run, write_card, write_whole
from compressai.models import CompressionModel

from paoncodec import codecs, zoo
from paoncodec.cli.train import train
from paoncodec.codecs.calibration import fit_tails
from paoncodec.codecs.recipe import CodecRecipe, presets
from paoncodec.entropy import Tails
from paoncodec.errors import UsageError
from paoncodec.evaluation.zoo_check import observe
from paoncodec.images.crops import CropDataset, CropSpec, find_images, split
from paoncodec.quality import VARIABLE, quality_of
from paoncodec.training import RunDirectory


def ship(
    run_folder: Path,
    folder: Path,
    name: str,
    data: str,
    licence: str,
    command: str | None = None,
    force: bool = False,
    note: str = "",
    pictures: Path | None = None,
) -> zoo.WeightsCard:
    """Write a run's best weights, in half precision, their card, and a file that they make of the
    test picture into a zoo's folder.

    Args:
        run_folder: directory of the run.
        folder: of the zoo.
        name: of the weights from now on, 1 to 32 of [a-z0-9._-].
        data: what they were trained on, in words.
        licence: of the weights.
        command: that trained them; None: made from the run's settings.
        force: replace weights of that name.
        note: what the card should add, such as changes made while the run was under way.
        pictures: those of the run, whose held-out part tells the shape of the latents'
            distributions; None: Gaussians.

    Nothing is written before everything is known to be right.

    Raises:
        UsageError: the run is not complete enough, or the name is taken.
        WeightsError: the weights cannot be loaded, or leave exact arithmetic.
    """
    target = folder / f"{name}.safetensors"
    if target.exists() and not force:
        raise UsageError(f"{target} exists: choose another --name, or replace it with --force")
    directory = RunDirectory(run_folder, resume=True)
    settings = directory.load_config()
    if settings is None:
        raise UsageError(f"{run_folder}: holds no run (config.json); give a run's directory")
    model, metadata = codecs.load_weights(directory.weights_file("best"))
    best = best_validation(directory, metadata["step"])
    trained_by = command or training_command(settings)
    tails = None
    if pictures is not None:
        crops = held_out(pictures, CodecRecipe.from_json(settings))
        qualities = range(1, 7) if metadata["lmbda"] == VARIABLE else (None,)
        tails, saved = fit_tails(model, crops, qualities)
        note = f"{note} {_words(tails)}: {saved:.1%} fewer bits held out.".strip()
    content = _half_precision(model, metadata, tails)
    lmbda = None if metadata["lmbda"] == VARIABLE else float(metadata["lmbda"])
    try:
        card = zoo.WeightsCard(
            name=name,
            arch=metadata["arch"],
            config=json.loads(metadata["config"]),
            quality=None if lmbda is None else quality_of(lmbda),
            lmbda=lmbda,
            metric="mse",
            sha256=sha256(content).hexdigest(),
            licence=licence,
            steps=best["step"],
            data=data,
            command=trained_by,
            results={},
            note=note,
            minutes=round(best.get("seconds", 0) / 60, 1),
        )
    except ValueError as error:
        raise UsageError(f"{run_folder}: no card can be made: {error}") from error
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(target, content)
    coded, observed = observe(target)
    write_whole(folder / f"{name}.bin", coded)
    card = replace(card, check=observed)
    write_card(card, folder)
    return card


def _words(tails: Tails) -> str:
    return (
        f"Tables with tails (narrow {tails.narrow:g}, wide {tails.wide:g}, share {tails.share:g})"
    )


def _half_precision(
    model: CompressionModel, metadata: Mapping[str, str], tails: Tails | None
) -> bytes:
    """The weights file that travels.

    Raises:
        WeightsError: the rounded weights do not fit exact arithmetic.
    """
    rest = {name: value for name, value in metadata.items() if name not in ("arch", "seconds")}
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "weights.safetensors"
        codecs.save_weights(model, path, metadata["arch"], rest, half=True, tails=tails)
        codecs.load_weights(path)
        return path.read_bytes()


def held_out(pictures: Path, recipe: CodecRecipe) -> Iterator[torch.Tensor]:
    """A crop (3, S, S) in [0, 1] of each picture that the run set aside."""
    config = recipe.train
    _, chosen = split(find_images(pictures), config.validation_fraction)
    spec = CropSpec(config.validation_crop, flips=False, shrink=config.shrink)
    for crop in CropDataset(chosen, spec):
        yield crop.float() / 255


def training_command(settings: Mapping[str, Any]) -> str:
    """The command that repeats a run, with `DIR` and `RUN` in place of this machine's folders.

    Args:
        settings: those that the run wrote down (config.json).

    Raises:
        UsageError: no preset and options of `paoncodec train` give these settings.
    """
    recipe = CodecRecipe.from_json(settings)
    options = {parameter.name for parameter in train.params}
    for preset in presets():
        plain = CodecRecipe.from_preset(preset, recipe.arch_name, recipe.lmbda, recipe.data)
        usual, ours = asdict(plain.train), asdict(recipe.train)
        changed = {name: value for name, value in ours.items() if value != usual[name]}
        if replace(plain, train=recipe.train) != recipe or not options.issuperset(changed):
            continue
        extra = "".join(f" --{name.replace('_', '-')} {value}" for name, value in changed.items())
        return (
            f"paoncodec train --arch {recipe.arch_name} --preset {preset} "
            f"--lmbda {recipe.lmbda}{extra} --data DIR --out RUN"
        )
    raise UsageError(
        f"no preset ({', '.join(presets())}) and options give the run's settings: "
        "say with --command what trained it"
    )


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="directory of a training run")
    parser.add_argument("--name", required=True, help="of the weights, such as mbt-paon-small")
    parser.add_argument("--data-note", required=True, help="what they were trained on, in words")
    parser.add_argument("--licence", default="BSD-3-Clause", help="of the weights (%(default)s)")
    parser.add_argument("--command", help="that trained them, if the run's settings do not tell")
    parser.add_argument("--calibrate", type=Path, help="pictures of the run, to fit tables' tails")
    parser.add_argument("--note", default="", help="what the card should add")
    parser.add_argument("--folder", type=Path, default=zoo.FOLDER, help="of the zoo (%(default)s)")
    parser.add_argument("--force", action="store_true", help="replace weights of that name")
    arguments = parser.parse_args(argv)
    card = ship(
        arguments.run,
        arguments.folder,
        arguments.name,
        arguments.data_note,
        arguments.licence,
        arguments.command,
        arguments.force,
        arguments.note,
        arguments.calibrate,
    )
    size = (arguments.folder / f"{card.name}.safetensors").stat().st_size
    print(f"{card.name}: {size} bytes, SHA-256 {card.sha256}, step {card.steps}")


if __name__ == "__main__":
    run(main)
