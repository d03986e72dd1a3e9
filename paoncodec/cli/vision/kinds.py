"""What training needs to know of each task. Nothing heavy is imported before a task is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paoncodec.cli.training_run import data_settings
from paoncodec.errors import UsageError

if TYPE_CHECKING:
    from paoncodec.training import Task

__all__ = ["KINDS", "Kind", "settings_of"]

Places = tuple[str, ...]


@dataclass(frozen=True)
class Kind:
    """A task as the command line has it.

    Attributes:
        package: that holds its presets.
        network: that is trained where none is named.
        preset: that is taken where none is named.
        options: words of the command line that are options of the network.
        own: words of the command line that this task has, and some other lacks.
        places: places of pictures to train on, and to validate on → settings.
        make: settings → the task, and a line about it.
    """

    package: str
    network: str
    preset: str
    options: frozenset[str]
    own: frozenset[str]
    places: Callable[[Places, Places], dict[str, Any]]
    make: Callable[[Mapping[str, Any]], tuple[Task, str]]

    def has(self, saved: Mapping[str, Any]) -> bool:
        """Whether the settings of a run are of this task."""
        from paoncodec.training.settings import read_preset

        return read_preset(self.package, self.preset).keys() <= saved.keys()


def settings_of(
    kind: Kind, saved: dict[str, Any] | None, preset: str | None, given: dict[str, Any]
) -> dict[str, Any]:
    """The settings asked for: those of the saved run or of a preset, and over them those given.

    Args:
        kind: of the task.
        saved: settings of the run that goes on.
        preset: its name, where one was named.
        given: settings, with those of ``options`` and ``train`` under these names.

    Raises:
        UsageError: there is no such preset, or no data.
    """
    from paoncodec.training.settings import read_preset

    if saved is None or preset is not None:
        base = read_preset(kind.package, preset or kind.preset)
        kept = ("network", "options", "data", "data_weights", "validation")
        base.update({name: saved[name] for name in kept if saved and name in saved})
    else:
        base = saved
    settings = {"network": kind.network, "options": {}, **base, **given}
    for part in ("options", "train"):
        settings[part] = {**base.get(part, {}), **given.get(part, {})}
    if "data" not in settings:
        raise UsageError("no --data: beginning a run takes a place of pictures or volumes")
    return settings


def _superres_places(data: Places, validation: Places) -> dict[str, Any]:
    own = [str(Path(place).absolute()) for place in validation]
    return {**data_settings(data), **({"validation": own} if own else {})}


def _superres(settings: Mapping[str, Any]) -> tuple[Task, str]:
    from paoncodec.vision.parts import parameter_count
    from paoncodec.vision.superres.recipe import SuperResRecipe, SuperResTask

    task = SuperResTask(SuperResRecipe.from_json(settings))
    network = f"{task.recipe.network} x{task.scale}"
    pictures = f"{len(task.training)} to train on, {len(task.validation)} to validate on"
    count = parameter_count(task.model) / 1e3
    return task, f"{network}, {count:.0f} K parameters; pictures: {pictures}"


def _single_places(data: Places, validation: Places) -> dict[str, Any]:
    given = {"data": data, "validation": validation}
    for name, places in given.items():
        if len(places) > 1:
            raise UsageError(f"--{name} {' '.join(places)}: one place is what this task takes")
    return {name: str(Path(places[0]).absolute()) for name, places in given.items() if places}


def _classification(settings: Mapping[str, Any]) -> tuple[Task, str]:
    from paoncodec.vision.classification.recipe import ClassificationRecipe, ClassificationTask
    from paoncodec.vision.parts import parameter_count

    task = ClassificationTask(ClassificationRecipe.from_json(settings))
    recipe, images = task.recipe, task.training
    form = f" in {recipe.pure}" if recipe.pure else ""
    network = f"{recipe.network}{form}, {len(images.classes)} classes"
    pictures = f"{len(images)} to train on, {len(task.validation)} to validate on"
    count = parameter_count(task.model) / 1e3
    return task, f"{network}, {count:.0f} K parameters; pictures: {pictures}"


def _segmentation(settings: Mapping[str, Any]) -> tuple[Task, str]:
    from paoncodec.vision.parts import parameter_count
    from paoncodec.vision.segmentation.recipe import SegmentationRecipe, SegmentationTask

    task = SegmentationTask(SegmentationRecipe.from_json(settings))
    network = f"{task.recipe.network}, {len(task.classes)} classes"
    cases = f"{len(task.training)} to train on, {len(task.held_out)} to validate on"
    if task.of_mr:
        cases += f"; {len(task.of_mr)} of MR are left out"
    count = parameter_count(task.model) / 1e3
    return task, f"{network}, {count:.0f} K parameters; cases: {cases}"


KINDS = {
    "superres": Kind(
        package="paoncodec.vision.superres",
        network="padenet-id",
        preset="small",
        options=frozenset({"scale", "blocks", "degrees", "shift", "shared_upsampler"}),
        own=frozenset(
            {"scale", "blocks", "degrees", "shift", "shared_upsampler", "crop", "validation"}
        ),
        places=_superres_places,
        make=_superres,
    ),
    "classification": Kind(
        package="paoncodec.vision.classification",
        network="pade-resnet-ii-2-2-2",
        preset="small",
        options=frozenset({"degrees", "shift"}),
        own=frozenset({"degrees", "shift", "epochs", "pure", "side", "validation"}),
        places=_single_places,
        make=_classification,
    ),
    "segmentation": Kind(
        package="paoncodec.vision.segmentation",
        network="pure-resunet",
        preset="small",
        options=frozenset(),
        own=frozenset({"epochs", "crop"}),
        places=_single_places,
        make=_segmentation,
    ),
}
