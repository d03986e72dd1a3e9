"""Settings of a recipe: presets and saved runs have them as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paoncodec.errors import UsageError
from paoncodec.training.config import TrainConfig

if TYPE_CHECKING:
    from typing_extensions import Self


def preset_names(package: str) -> list[str]:
    """Names of the presets that ship with a package, in its folder ``presets``."""
    folder = resources.files(package) / "presets"
    return sorted(Path(f.name).stem for f in folder.iterdir() if f.name.endswith(".json"))


def read_preset(package: str, name: str) -> dict[str, Any]:
    """The settings of a preset.

    Raises:
        UsageError: there is none of this name.
    """
    names = preset_names(package)
    if name not in names:
        raise UsageError(f"preset {name!r}: choose one of {', '.join(names)}")
    file = resources.files(package) / "presets" / f"{name}.json"
    settings: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return settings


class Recipe:
    """Base of the dataclasses that hold all settings of a training, the loop's as ``train``."""

    @classmethod
    def from_json(cls, settings: Mapping[str, Any]) -> Self:
        """The recipe that ``dataclasses.asdict`` and JSON made ``settings`` of.

        Raises:
            UsageError: a setting that does not exist, or one without a default is missing.
        """
        loop = settings.get("train", {})
        _refuse_unknown(settings, cls)
        _refuse_unknown(loop, TrainConfig, "train.")
        plain = {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}
        try:
            return cls(**{**plain, "train": TrainConfig(**loop)})
        except TypeError as error:
            raise UsageError(f"settings of a training: {error}") from error


def _refuse_unknown(settings: Mapping[str, Any], kind: Any, prefix: str = "") -> None:
    known = [f.name for f in fields(kind)]
    unknown = [prefix + name for name in settings if name not in known]
    if unknown:
        raise UsageError(
            f"{', '.join(unknown)}: no such setting; choose among {prefix}{{{', '.join(known)}}}"
        )


def check_data_weights(data: Sequence[str], weights: Sequence[float]) -> None:
    """Checks how often the pictures of each place of ``data`` are drawn.

    Raises:
        UsageError: another number of them than of places, or one that is not above 0.
    """
    if weights and len(weights) != len(data):
        raise UsageError(f"data_weights {tuple(weights)}: give one for each of data")
    if not all(w > 0 and math.isfinite(w) for w in weights):
        raise UsageError(f"data_weights {tuple(weights)}: each must be above 0")
