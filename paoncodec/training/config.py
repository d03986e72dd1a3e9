"""What the engine needs to know of a run; the task's own settings live with the task."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from paoncodec.errors import UsageError
from paoncodec.training.precision import PRECISIONS

#: Settings of a :class:`TrainConfig` that a resumed run may change: they decide how long it goes on
#: and how it is carried out, not what a step does (but ``steps`` stretches the schedule).
RESUMABLE = frozenset({"steps", "accumulate", "compile", "workers", "checkpoint_minutes"})


@dataclass(frozen=True)
class TrainConfig:
    """Settings of the training loop.

    Args:
        steps: optimiser steps of the whole run.
        batch_size: crops a step, in all processes together.
        accumulate: micro-batches that each process makes of its part of a batch, one after the
            other, to take less memory; the step is that of the whole batch.
        crop: side of the square training crops, pixels.
        validation_crop: side of the validation crops, pixels.
        validation_fraction: share of the pictures that only validate, in (0, 1).
        shrink: range of the random factor by which pictures are reduced before cropping, or None.
        schedule: ``"cosine"`` (to ``floor`` at the last step), ``"step"`` (÷10 at each milestone)
            or ``"plateau"`` (÷10 after ``plateau`` validations).
        hold: with ``"cosine"``, fraction of the steps before the decay starts; 1 never decays.
        floor: with ``"cosine"``, what the rates end at, as a fraction of what they began at.
        milestones: with ``"step"``, fractions of the steps at which the rates drop.
        plateau: with ``"plateau"``, validations in a row with no smaller loss than the best after
            which the rates drop.
        warmup: steps over which the rates rise linearly from 0.
        clip: largest norm of the gradient.
        ema: decay of the exponential moving average of the weights, which it rises to, (1 + n) /
            (10 + n) after n updates; 0 keeps the last weights.
        precision: ``"float32"``, ``"bfloat16"`` or ``"float16"``, the latter two by autocast, and
            float16 with a loss that is scaled; or ``"bfloat16-gradients"``: float32, but on a CPU
            the gradients of Padé layers' convolutions are products in bfloat16.
        compile: whether the quotients of Padé layers are compiled on a CPU, where that can be
            (:func:`paoncodec.layers.fused.fused_quotients`): some seconds at the start of every
            process, and faster steps.
        seed: of weights, noise, crops and their order.
        validate_every: steps between validations.
        checkpoint_minutes: minutes between checkpoints.
        workers: processes that decode pictures, for each that trains; 0 does it in the latter.
        patience: non-finite steps in a row after which the run stops.

    Raises:
        UsageError: a value is out of range.
    """

    steps: int = 10_000
    batch_size: int = 8
    accumulate: int = 1
    crop: int = 128
    validation_crop: int = 256
    validation_fraction: float = 0.03
    shrink: tuple[float, float] | None = None
    schedule: str = "cosine"
    hold: float = 0.0
    floor: float = 0.0
    milestones: tuple[float, ...] = (0.75, 0.9167)
    plateau: int = 3
    warmup: int = 100
    clip: float = 1.0
    ema: float = 0.999
    precision: str = "float32"
    compile: bool = False
    seed: int = 0
    validate_every: int = 1000
    checkpoint_minutes: float = 10.0
    workers: int = 1
    patience: int = 20

    def __post_init__(self) -> None:
        for name in ("shrink", "milestones"):  # JSON has lists
            if isinstance(getattr(self, name), list):
                object.__setattr__(self, name, tuple(getattr(self, name)))
        for name, (legal, text) in _LEGAL.items():
            value = getattr(self, name)
            if not legal(value):
                raise UsageError(f"{name} {value!r}: {text}")
        if self.batch_size % self.accumulate:
            raise UsageError(
                f"accumulate {self.accumulate}: must divide batch_size, {self.batch_size}"
            )

    def rate_factor(self, step: int) -> float:
        """What the learning rates are multiplied by at ``step`` (0-based), but for the drops of
        ``"plateau"``, which the run decides."""
        rise = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        progress = step / self.steps
        if self.schedule == "plateau":
            return rise
        if self.schedule == "step":
            return rise * 0.1 ** sum(progress >= m for m in self.milestones)
        if progress <= self.hold:
            return rise
        decay = (progress - self.hold) / (1 - self.hold)
        return rise * (self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * decay)))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _whole(least: int) -> tuple[Callable[[Any], bool], str]:
    def legal(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and value >= least

    return legal, f"must be a whole number, {least} or more"


def _choice(*names: str) -> tuple[Callable[[Any], bool], str]:
    return lambda value: value in names, f"choose {' or '.join(names)}"


def _is_shrink(value: Any) -> bool:
    if value is None:
        return True
    if not (isinstance(value, tuple) and len(value) == 2 and all(map(_is_number, value))):
        return False
    return bool(0 < value[0] <= value[1] <= 1)


def _is_milestones(value: Any) -> bool:
    if not (isinstance(value, tuple) and all(map(_is_number, value))):
        return False
    return all(0 < m <= 1 for m in value) and list(value) == sorted(value)


_LEGAL: dict[str, tuple[Callable[[Any], bool], str]] = {
    "steps": _whole(1),
    "batch_size": _whole(1),
    "accumulate": _whole(1),
    "crop": _whole(1),
    "validation_crop": _whole(1),
    "validation_fraction": (lambda v: _is_number(v) and 0 < v < 1, "must be in (0, 1)"),
    "shrink": (_is_shrink, "must be null or [low, high], 0 < low <= high <= 1"),
    "schedule": _choice("cosine", "step", "plateau"),
    "hold": (lambda v: _is_number(v) and 0 <= v <= 1, "must be in [0, 1]"),
    "floor": (lambda v: _is_number(v) and 0 <= v < 1, "must be in [0, 1)"),
    "milestones": (_is_milestones, "must be rising fractions in (0, 1]"),
    "plateau": _whole(1),
    "warmup": _whole(0),
    "clip": (lambda v: _is_number(v) and v > 0, "must be > 0"),
    "ema": (lambda v: _is_number(v) and 0 <= v < 1, "must be in [0, 1)"),
    "compile": (lambda v: isinstance(v, bool), "must be true or false"),
    "precision": _choice(*PRECISIONS),
    "seed": _whole(0),
    "validate_every": _whole(1),
    "checkpoint_minutes": (lambda v: _is_number(v) and v >= 0, "must be 0 or more"),
    "workers": _whole(0),
    "patience": _whole(1),
}
