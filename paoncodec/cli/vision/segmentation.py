"""What `paoncodec vision` does where the task is segmentation."""

from __future__ import annotations

import json
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import click

from paoncodec.cli.files import STREAM, check_output, write_output
from paoncodec.cli.progress import progress
from paoncodec.cli.typed import typed_command
from paoncodec.errors import ImageError, UsageError

if TYPE_CHECKING:
    from paoncodec.vision.segmentation.recipe import SegmentationTask

__all__ = ["about", "evaluate", "predict", "refuse", "training_task"]

_PRESET = "small"
_NETWORK = "pure-resunet"


def refuse(**options: Any) -> None:
    """Refuses options of other tasks that were given.

    Raises:
        UsageError: one was; names it.
    """
    given = [name for name, value in options.items() if value not in (None, False, ())]
    if given:
        names = ", ".join("--" + name.replace("_", "-") for name in given)
        raise UsageError(f"{names}: not an option of --task segmentation")


def training_task(
    saved: dict[str, Any] | None,
    preset: str | None,
    network: str | None,
    data: tuple[str, ...],
    loop: dict[str, Any],
) -> SegmentationTask:
    """The task asked for: settings of the saved run or of a preset, and over them those given.

    Raises:
        UsageError: a setting is missing, unknown or out of range, or there is no data set.
        ImageError: the header of a case cannot be read.
    """
    from paoncodec.training.settings import read_preset
    from paoncodec.vision.segmentation import recipe

    if len(data) > 1:
        raise UsageError("--data: segmentation takes one folder, with a dataset.json")
    if saved is None or preset is not None:
        base = read_preset(recipe.__package__ or "", preset or _PRESET)
        kept = ("network", "options", "data")
        base.update({name: saved[name] for name in kept if saved and name in saved})
    else:
        base = saved
    settings = {"network": _NETWORK, "options": {}, **base}
    if network is not None:
        settings["network"] = network
    if data:
        settings["data"] = str(Path(data[0]).absolute())
    settings["train"] = {**settings.get("train", {}), **loop}
    if "steps" in loop:
        settings["epochs"] = None
    if "data" not in settings:
        raise UsageError("no --data: beginning a run takes a folder with a dataset.json")
    return recipe.SegmentationTask(recipe.SegmentationRecipe.from_json(settings))


def about(task: SegmentationTask) -> str:
    """The network and its cases in a line."""
    count = sum(p.numel() for p in task.model.parameters()) / 1e6
    cases = f"{len(task.training)} to train on, {len(task.held_out)} to validate on"
    return f"{task.recipe.network}, {count:.2f} M parameters; cases: {cases}"


def evaluate(
    model: str | None,
    folders: tuple[str, ...],
    against: str | None,
    output: str | None,
    name: str | None,
    dataset: str | None,
    force: bool,
) -> None:
    """Measures weights on the validation cases of a data set, and prints what came of it.

    Raises:
        UsageError: no model, several folders, or a result that cannot be compared with.
        ImageError: some cases could not be measured.
    """
    from paoncodec.evaluation import segmentation as measuring
    from paoncodec.vision.segmentation.data import read_cases
    from paoncodec.vision.segmentation.weights import load_weights

    if model is None:
        raise UsageError("no --model: give a file that training has made")
    if len(folders) != 1:
        raise UsageError("--images: segmentation takes one folder, with a dataset.json")
    other = None if against is None else measuring.read_result(against)
    segmenter = load_weights(model)
    found = read_cases(folders[0])
    if found.classes != segmenter.classes:
        raise UsageError(f"{folders[0]}: has other classes than {model}")
    if not found.validation:
        raise UsageError(f"{folders[0]}: its dataset.json names no validation cases")
    with progress(len(found.validation)) as bar:

        def hear(case: str, fault: str | None) -> None:
            bar.step(case)
            if fault:
                bar.say(f"{case}: {fault}")

        result = measuring.evaluate(
            found.validation,
            segmenter,
            measuring.Options(),
            name=name or Path(model).stem,
            dataset=dataset or Path(folders[0]).resolve().name,
            command=typed_command(),
            progress=hear,
        )
    if other is not None:
        result["against"] = measuring.comparison(other, result)
    text = json.dumps(result, indent=1, allow_nan=False) + "\n"
    if output not in (None, STREAM):
        write_output(str(output), text.encode(), force)
    click.echo(text if output == STREAM else _table(result), nl=output != STREAM)
    if result["failures"]:
        raise ImageError(
            f"{len(result['failures'])} of {len(found.validation)} cases could not be measured and "
            "are left out of the means: they are named above"
        )


def predict(image: str, model: str, output: str, force: bool) -> None:
    """Segments a NIfTI volume and writes its labels, with its affine.

    Raises:
        UsageError: the output is no NIfTI file, or is there.
        ImageError: the volume cannot be read.
    """
    if STREAM in (image, output) or not output.endswith((".nii", ".nii.gz")):
        raise UsageError("segmentation takes and makes .nii or .nii.gz files, and no streams")
    check_output(output, image, force)

    from paoncodec.vision.segmentation.inference import normalised, segment
    from paoncodec.vision.segmentation.volumes import Volume, read_volume, write_labels
    from paoncodec.vision.segmentation.weights import load_weights

    segmenter = load_weights(model)
    volume = read_volume(image)
    begun = perf_counter()
    labels = segment(segmenter.model, normalised(volume.values, segmenter.window))
    seconds = perf_counter() - begun
    write_labels(output, Volume(labels, volume.affine))
    size = "x".join(map(str, labels.shape))
    click.echo(f"{size} voxels, {len(segmenter.classes)} classes in {seconds:.2f} s", err=True)


def _table(result: dict[str, Any]) -> str:
    """Means and intervals for people, in per cent, and what the comparison says."""
    data = "{name}, {cases} cases".format(**result["dataset"])
    lines = [f"{result['name']} on {data}: Dice in %, mean [95% interval]"]
    against = result.get("against")
    if against:
        lines[0] += f"; difference from {against['first']} in points, p, adjusted p"
    figures = {"mean": result["results"]["mdice"], **result["results"]["dice"]}
    compared = {"mean": against["mdice"], **against["dice"]} if against else {}
    width = max(map(len, figures))
    for name, found in figures.items():
        line = f"{name:<{width}}  {_spread(found)}"
        if name in compared:
            tested = compared[name]
            line += f"  {_spread(tested['difference'], '+')}  p {_chance(tested['p'])}"
            line += f"  q {_chance(tested['q'])}" if "q" in tested else ""
        lines.append(line)
    return "\n".join(lines)


def _spread(found: dict[str, float | None], sign: str = "") -> str:
    mean, low, high = (found[key] for key in ("mean", "low", "high"))
    if mean is None:
        return "in no case"
    text = f"{100 * mean:{sign}.1f}"
    if low is None or high is None:
        return text
    return f"{text} [{100 * low:.1f}, {100 * high:.1f}]"


def _chance(value: float | None) -> str:
    return "-" if value is None else f"{value:.2g}"
