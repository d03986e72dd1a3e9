"""Put a vision model of a training run into the package, with its card.

    python tools/ship_vision.py RUN --name padenet-id-x4 --data-note "what it was trained on" \
        --measure Set5/HR Set14/HR

Takes the best weights on the run's own held-out pictures, and measures them on each place that
--measure names, as `paoncodec vision eval` does.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

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

from paoncodec import vision_zoo
from paoncodec.cli.pictures import dataset_name, named_images
from paoncodec.cli.vision.kinds import KINDS, settings_of
from paoncodec.errors import UsageError
from paoncodec.evaluation import classification as of_classification
from paoncodec.evaluation import segmentation as of_segmentation
from paoncodec.evaluation import superres as of_superres
from paoncodec.evaluation.vision_check import load_vision, observe_vision
from paoncodec.training import RunDirectory
from paoncodec.training.settings import preset_names
from paoncodec.vision.classification import Classifier
from paoncodec.vision.classification.files import read_test
from paoncodec.vision.classification.recipe import ClassificationRecipe
from paoncodec.vision.segmentation import Segmenter
from paoncodec.vision.segmentation.data import validation_cases
from paoncodec.vision.segmentation.recipe import SegmentationRecipe
from paoncodec.vision.superres import upscale
from paoncodec.vision.superres.recipe import SuperResRecipe

RECIPES: Mapping[str, Any] = {
    "superres": SuperResRecipe,
    "classification": ClassificationRecipe,
    "segmentation": SegmentationRecipe,
}

#: Settings of the loop that a command can give.
_LOOP = {"steps", "batch_size", "accumulate", "seed", "precision", "workers"}
#: Words that name a place of this machine.
_PLACES = {"validation"}
#: Options of networks that follow from the data.
_OF_DATA = ("classes", "size")


def ship(shipment: Shipment, places: Sequence[Path] = ()) -> vision_zoo.VisionCard:
    """Write a run's best weights and their card into the folder of vision models of a zoo.

    Args:
        shipment: what is put there.
        places: of what to measure it on, as `paoncodec vision eval --images` takes them.

    Nothing is written before everything is known to be right.

    Raises:
        UsageError: the run is not complete enough, the name is taken, or something of ``places``
            cannot be measured.
        WeightsError: the weights cannot be loaded.
    """
    folder, name = shipment.folder, shipment.name
    target = folder / "vision" / f"{name}.safetensors"
    taken = [path for path in (target, folder / f"{name}.json") if path.exists()]
    if taken and not (shipment.force and taken == [target]):
        raise UsageError(f"{taken[0]} exists: choose another --name, or replace it with --force")
    directory = RunDirectory(shipment.run, resume=True)
    settings = settings_of_run(directory)
    weights = directory.weights_file("best")
    task = _task_of(settings)
    _, metadata = load_vision(weights, task)
    best = best_validation(directory, metadata["step"])
    content = weights.read_bytes()
    try:
        card = vision_zoo.VisionCard(
            name=name,
            task=task,
            network=metadata["network"],
            config=json.loads(metadata["config"]),
            sha256=sha256(content).hexdigest(),
            licence=shipment.licence,
            steps=best["step"],
            data=shipment.data,
            command=shipment.command or training_command(task, settings),
            results={dataset_name((str(p),)): measure(weights, task, p) for p in places},
            minutes=round(best.get("seconds", 0) / 60, 1),
            check=observe_vision(weights, task),
            note=shipment.note,
        )
    except ValueError as error:
        raise UsageError(f"{shipment.run}: no card can be made: {error}") from error
    if places:
        measured_by = f"paoncodec vision eval --task {task} --model {name} --images DIR"
        card = replace(card, measured_by=measured_by)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_whole(target, content)
    write_card(card, target.parent)
    return card


def measure(weights: Path, task: str, place: Path) -> dict[str, float]:
    """The figures of `paoncodec vision eval`, but for the time, and how many pictures or cases they
    are of; of segmentation the mean Dice.

    Raises:
        UsageError: a picture or a case cannot be measured.
    """
    network, _ = load_vision(weights, task)
    about: dict[str, Any] = {"name": weights.stem, "dataset": place.name, "command": []}
    if isinstance(network, Classifier):
        images = read_test(place, network)
        found = of_classification.evaluate(images, network, progress=lambda name: None, **about)
    elif isinstance(network, Segmenter):
        found = of_segmentation.evaluate(
            validation_cases(place, network.classes),
            network,
            of_segmentation.Options(),
            progress=lambda name, fault: None,
            **about,
        )
        found["results"] = {"mdice": found["results"]["mdice"]["mean"]}
    else:
        found = of_superres.evaluate(
            named_images((str(place),)),
            partial(upscale, network),
            of_superres.Options(network.scale),
            progress=lambda name, fault: None,
            **about,
        )
    if found["failures"]:
        raise UsageError(f"{place}: cannot be measured whole: {found['failures'][0]['error']}")
    figures = {key: round(v, 5) for key, v in found["results"].items() if key != "seconds"}
    counts = {key: count for key, count in found["dataset"].items() if key != "name"}
    return {**counts, **figures}


def training_command(task: str, settings: Mapping[str, Any]) -> str:
    """The command that repeats a run, with `DIR` and `RUN` in place of this machine's folders.

    Args:
        task: its name.
        settings: those that the run wrote down (config.json).

    Raises:
        UsageError: no preset and options of `paoncodec vision train` give these settings.
    """
    kind, recipe = KINDS[task], RECIPES[task]
    given = {name: settings[name] for name in ("network", "data")}
    own = {k: v for k, v in settings["options"].items() if k not in _OF_DATA}
    commands: list[list[str]] = []
    for preset in preset_names(kind.package):
        whole = recipe.from_json(settings_of(kind, None, preset, given))
        usual = json.loads(json.dumps(asdict(whole)))  # tuples become lists, as in the file
        usual_options = usual.pop("options")
        if not usual_options.keys() <= own.keys():
            continue  # no word takes an option of the preset back
        options = _changed(usual_options, own)
        loop = _changed(usual.pop("train"), settings["train"])
        parts = ("options", "train")
        others = _changed(usual, {k: v for k, v in settings.items() if k not in parts})
        if task == "classification":  # crops are as large as the pictures
            loop = {k: v for k, v in loop.items() if k not in ("crop", "validation_crop")}
        if settings.get("epochs") is not None:
            loop.pop("steps", None)
        elif "epochs" in others:
            del others["epochs"]
            loop["steps"] = settings["train"]["steps"]
        plain = {k: v for k, v in options.items() if k in kind.options}
        words = {**plain, **others, **loop}
        if words.keys() <= (kind.options | kind.own | _LOOP) - _PLACES:
            first = f"--network {settings['network']} --preset {preset}"
            further = [_option(k, v) for k, v in options.items() if k not in plain]
            commands.append([first, *further, *(_word(k, v) for k, v in words.items())])
    if commands:
        shortest = min(commands, key=len)
        return f"paoncodec vision train --task {task} {' '.join(shortest)} --data DIR --out RUN"
    raise UsageError(
        f"no preset ({', '.join(preset_names(kind.package))}) and options give the run's settings: "
        "say with --command what trained it"
    )


def _task_of(settings: Mapping[str, Any]) -> str:
    """The task whose recipe has these settings.

    Raises:
        UsageError: there is none.
    """
    for task, recipe in RECIPES.items():
        if settings.keys() <= {field.name for field in fields(recipe)}:
            return task
    raise UsageError(f"settings of no task of vision models: {', '.join(settings)}")


def _changed(usual: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in ours.items() if k not in usual or usual[k] != v}


def _option(name: str, value: Any) -> str:
    return shlex.join(["--option", f"{name}={json.dumps(value, separators=(',', ':'))}"])


def _word(name: str, value: Any) -> str:
    flag = f"--{name.replace('_', '-')}"
    if name == "degrees":
        return f"{flag} {value[0]}/{value[1]}"
    return flag if value is True else f"{flag} {value}"


def main(argv: Sequence[str] | None = None) -> None:
    parser = shipping_parser(__doc__)
    parser.add_argument("--measure", nargs="+", type=Path, default=[], help="places of pictures")
    arguments = parser.parse_args(argv)
    card = ship(Shipment.of(arguments), arguments.measure)
    say_shipped(card, arguments.folder / "vision" / f"{card.name}.safetensors")


if __name__ == "__main__":
    run(main)
