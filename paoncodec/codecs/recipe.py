"""What a codec's training is made of: all its settings, and the presets that ship."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from paoncodec.codecs.registry import require_architecture
from paoncodec.errors import UsageError
from paoncodec.quality import VARIABLE
from paoncodec.training import TrainConfig
from paoncodec.training.settings import (
    Recipe,
    check_data_weights,
    preset_names,
    read_preset,
)

#: Sides of what a codec's networks take are multiples of this.
_GRID = 64


@dataclass(frozen=True)
class CodecRecipe(Recipe):
    """All settings of a codec's training.

    Args:
        arch_name: architecture (:func:`paoncodec.codecs.registry.build`).
        arch: its options.
        lmbda: λ in ``λ·255²·MSE + bpp``; or :data:`paoncodec.quality.VARIABLE`, for one network of
            all qualities: λ is then drawn for each image.
        data: folders of pictures.
        data_weights: how often the pictures of each are drawn an epoch; () for once.
        start: ``"linear"`` (:mod:`.starts`), ``"random"`` or ``"weights"``: those of a file.
        start_from: with ``"weights"``, the path of the file (:func:`.load_start`).
        start_sha256: of that file; looked up where it is not given.
        lr_transforms: learning rate of g_a and g_s.
        lr_entropy: learning rate of all other networks.
        lr_aux: learning rate of the quantiles of the factorised prior.
        weight_decay: of the kernels of all networks but g_a and g_s, decoupled from the loss as in
            AdamW. They learn pictures by heart sooner than the transforms do.
        quality_tilt: of one network for all qualities: how much more often high ones are drawn
            (:func:`.draw_qualities`), 0 for all equally often. They ask most of the transforms.
        stretch, transpose: of training crops (:class:`.CropSpec`), more variety from few pictures.
        train: settings of the loop.

    Raises:
        UsageError: a value is out of range.
    """

    arch_name: str
    arch: dict[str, Any]
    lmbda: float | str
    data: tuple[str, ...]
    data_weights: tuple[float, ...] = ()
    start: str = "linear"
    start_from: str = ""
    start_sha256: str = ""
    lr_transforms: float = 1e-4
    lr_entropy: float = 1e-4
    lr_aux: float = 1e-3
    weight_decay: float = 0.0
    quality_tilt: float = 0.0
    stretch: bool = False
    transpose: bool = False
    train: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self) -> None:
        _check_lmbda(self.lmbda)
        if self.variable:
            object.__setattr__(self, "arch", {**self.arch, "variable_rate": True})
        elif self.arch.get("variable_rate"):
            raise UsageError(f"variable_rate with lmbda {self.lmbda}: it takes {VARIABLE!r}")
        if self.start not in ("linear", "random", "weights"):
            raise UsageError(f"start {self.start!r}: choose linear, random or weights")
        if (self.start == "weights") != bool(self.start_from):
            raise UsageError(
                f"start {self.start!r} with start_from {self.start_from!r}: a file is named with "
                "start 'weights' and with no other"
            )
        check_data_weights(self.data, self.data_weights)
        for name in ("lr_transforms", "lr_entropy", "lr_aux", "weight_decay", "quality_tilt"):
            value = getattr(self, name)
            if not (value >= 0 and math.isfinite(value)):
                raise UsageError(f"{name} {value}: must be 0 or more")
        if self.stretch and self.train.shrink is None:
            raise UsageError("stretch without train.shrink: give the range of the factors")
        for name in ("crop", "validation_crop"):
            side = getattr(self.train, name)
            if side % _GRID:
                raise UsageError(f"{name} {side}: must be a multiple of {_GRID} pixels")

    @property
    def variable(self) -> bool:
        """Whether one network learns all qualities."""
        return self.lmbda == VARIABLE

    @classmethod
    def from_preset(
        cls, preset: str, arch_name: str, lmbda: float | str, data: Sequence[str], **train: Any
    ) -> CodecRecipe:
        """A preset's settings, single ones of the loop replaced by ``train`` (None: as it is).

        Raises:
            UsageError: no such preset or architecture, or a setting that does not exist.
        """
        settings = read_preset(__package__, preset)
        require_architecture(arch_name)
        if arch_name not in settings["arch"]:
            raise UsageError(f"preset {preset!r} has no sizes for {arch_name}: take another preset")
        settings["arch"] = settings["arch"][arch_name]
        loop = {**settings.pop("train"), **{k: v for k, v in train.items() if v is not None}}
        given = {"arch_name": arch_name, "lmbda": lmbda, "data": list(data), "train": loop}
        return cls.from_json({**settings, **given})


def presets() -> list[str]:
    """Names of the presets that ship with the package."""
    return preset_names(__package__)


def _check_lmbda(lmbda: float | str) -> None:
    if lmbda == VARIABLE:
        return
    if isinstance(lmbda, str) or not (lmbda > 0 and math.isfinite(lmbda)):
        raise UsageError(f"lmbda {lmbda}: must be > 0, e.g. 0.013, or {VARIABLE!r}")
