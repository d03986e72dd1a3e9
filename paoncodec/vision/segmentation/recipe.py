"""How the networks of segmentation are trained; the engine does the rest.

"PURe: A Plug-and-Play Product-Unit Residual Module for Vision Networks", 4.2.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.utils.data import Dataset

from paoncodec.errors import UsageError
from paoncodec.layers import guarded_values
from paoncodec.training import RESUMABLE, Samples, TrainConfig
from paoncodec.training.settings import Recipe
from paoncodec.vision.segmentation.data import (
    Slices,
    SliceSpec,
    read_cases,
    read_pair,
    split_cases,
)
from paoncodec.vision.segmentation.inference import AXES, WINDOW, normalised
from paoncodec.vision.segmentation.loss import dice_cross_entropy
from paoncodec.vision.segmentation.metrics import dice, mean_dice
from paoncodec.vision.segmentation.networks import ResUNet, build
from paoncodec.vision.segmentation.pictures import beside
from paoncodec.vision.segmentation.weights import Segmenter, save_weights

#: Decoded volumes are kept up to this many bytes, all workers of a process together.
_CACHE_BYTES = 3 * 2**30
#: Held-out slices of a case and direction that a validation looks at, evenly apart.
_SLICES = 8


@dataclass(frozen=True)
class SegmentationRecipe(Recipe):
    """All settings of a training.

    Args:
        network: one of :data:`.NETWORKS`.
        options: of it that are not the defaults (:class:`.ResUNet`).
        data: folder of a data set as :func:`.read_cases` takes it.
        window: Hounsfield units that become -1 and 1.
        lr: learning rate of AdamW.
        pure_factor: what it is multiplied by for PURe networks; the paper's is a tenth.
        weight_decay: of AdamW.
        rotation, noise, scale, shift: see :class:`.SliceSpec`.
        epochs: passes over all slices, in place of ``train.steps``; None for the latter.
        train: settings of the loop; ``crop`` is the side of the slices' crops, and whole slices
            validate.

    Raises:
        UsageError: a value is out of range.
    """

    network: str
    options: dict[str, Any]
    data: str
    window: tuple[float, float] = WINDOW
    lr: float = 2e-4
    pure_factor: float = 0.1
    weight_decay: float = 1e-4
    rotation: float = 15.0
    noise: float = 0.05
    scale: float = 0.1
    shift: float = 0.1
    epochs: float | None = None
    train: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self) -> None:
        for name in ("lr", "pure_factor"):
            value = getattr(self, name)
            if not (value > 0 and math.isfinite(value)):
                raise UsageError(f"{name} {value}: must be above 0")
        for name in ("weight_decay", "rotation", "noise", "scale", "shift"):
            value = getattr(self, name)
            if not (value >= 0 and math.isfinite(value)):
                raise UsageError(f"{name} {value}: must be 0 or more")
        if self.epochs is not None and not (self.epochs > 0 and math.isfinite(self.epochs)):
            raise UsageError(f"epochs {self.epochs}: must be above 0, e.g. 10, or null for steps")
        if not (len(self.window) == 2 and -math.inf < self.window[0] < self.window[1] < math.inf):
            raise UsageError(f"window {self.window}: two rising numbers, in Hounsfield units")


class SegmentationTask:
    """A :class:`SegmentationRecipe` as the engine wants it (:class:`paoncodec.training.Task`).

    Attributes:
        training, held_out: the cases.
        classes: their names by label.
        of_mr: names of cases that are left out (:class:`.Cases`).

    Raises:
        UsageError: no data set, no case left to hold out, or an unknown network.
    """

    counts: AbstractSet[str] = frozenset({"guarded"})
    may_change: AbstractSet[str] = frozenset(
        {"data", "epochs"} | {f"train.{name}" for name in RESUMABLE}
    )

    def __init__(self, recipe: SegmentationRecipe) -> None:
        cases = read_cases(recipe.data)
        self.classes, self.of_mr = cases.classes, cases.of_mr
        fraction = recipe.train.validation_fraction
        self.training, self.held_out = split_cases(cases.training, fraction)
        if not self.held_out:
            raise UsageError("validation needs cases of its own: give at least two for training")
        self.recipe = self._in_steps(recipe)
        self.config = self.recipe.train
        torch.manual_seed(self.config.seed)
        self.model: nn.Module = build(recipe.network, len(cases.classes), recipe.options)
        self._seen: list[tuple[list[Tensor], list[Tensor]]] | None = None

    def describe(self) -> dict[str, Any]:
        return asdict(self.recipe)

    def start(self) -> None:
        """Makes sure that there is something to validate. The model was made with the weights that
        it starts with: they depend on no case.

        Raises:
            UsageError: no held-out case has an organ where validation looks.
            ImageError: one cannot be read.
        """
        if not any(part.any() for _, labels in self._slices() for part in labels):
            names = ", ".join(case.name for case in self.held_out)
            raise UsageError(
                f"no organ in the slices of the cases held out, {names}: nothing to validate on"
            )

    def optimizers(self) -> list[torch.optim.Optimizer]:
        pure = isinstance(self.model, ResUNet) and self.model.config["pure"]
        rate = self.recipe.lr * (self.recipe.pure_factor if pure else 1)
        group = {"params": list(self.model.parameters()), "lr": rate, "initial_lr": rate}
        return [torch.optim.AdamW([group], weight_decay=self.recipe.weight_decay)]

    def data(self) -> Dataset[tuple[Tensor, Tensor]]:
        recipe, config = self.recipe, self.config
        spec = SliceSpec(
            config.crop,
            recipe.window,
            recipe.rotation,
            recipe.noise,
            recipe.scale,
            recipe.shift,
            config.seed,
            _CACHE_BYTES // max(1, config.workers),  # each has a cache of its own
        )
        return Slices(self.training, len(self.classes), spec)

    def _in_steps(self, recipe: SegmentationRecipe) -> SegmentationRecipe:
        """The recipe with the steps that its epochs are."""
        if recipe.epochs is None:
            return recipe
        spec = SliceSpec(recipe.train.crop)
        slices = len(Slices(self.training, len(self.classes), spec).places)
        steps = math.ceil(recipe.epochs * slices / recipe.train.batch_size)
        return replace(recipe, train=replace(recipe.train, steps=steps))

    def loss(
        self, model: Callable[..., Any], batch: Any, samples: Samples
    ) -> tuple[Tensor, dict[str, float]]:
        values, labels = batch
        loss = dice_cross_entropy(model(values), labels)
        return loss, {"loss": loss.item(), "guarded": float(guarded_values(self.model))}

    def validate(self, model: nn.Module) -> dict[str, float]:
        """Mean Dice over held-out cases, of some of their slices in each direction; as ``loss``,
        what is missing to 1."""
        scores = []
        for values, labels in self._slices():
            found = [_labels(model, x) for x in values]
            truth = torch.cat([part.flatten() for part in labels])
            made = torch.cat([part.flatten() for part in found])
            scores.append(dice(made.numpy(), truth.numpy(), len(self.classes)))
        figure = float(np.nanmean(mean_dice(np.stack(scores))))
        return {"loss": 1 - figure, "dice": figure}

    def pictures(self, model: nn.Module) -> Mapping[str, Tensor]:
        """Of the first held-out case a slice of each direction: as it is, found, and wanted."""
        values, labels = self._slices()[0]
        shown = {}
        for name, x, wanted in zip(("sagittal", "coronal", "axial"), values, labels, strict=True):
            middle = len(x) // 2
            found = _labels(model, x[middle : middle + 1])[0]
            shown[name] = beside(x[middle, 0], found, wanted[middle])
        return shown

    def export(self, model: nn.Module, path: str, metadata: dict[str, str]) -> None:
        if not isinstance(model, ResUNet):
            raise ValueError(f"a {type(model).__name__}: expected a ResUNet")
        recipe = self.recipe
        try:
            segmenter = Segmenter(model, self.classes, recipe.window)
            save_weights(segmenter, path, recipe.network, metadata)
        except SafetensorError as error:  # how safetensors says that the disk is full
            raise OSError(str(error)) from error

    def _slices(self) -> list[tuple[list[Tensor], list[Tensor]]]:
        """Of each held-out case, by direction: (slices, 1, H, W) and labels (slices, H, W)."""
        if self._seen is None:
            self._seen = []
            for case in self.held_out:
                image, labels = read_pair(case, len(self.classes))
                values = normalised(image.values, self.recipe.window)
                found = [_apart(values, axis)[:, None] for axis in AXES]
                self._seen.append((found, [_apart(labels.values, axis) for axis in AXES]))
        return self._seen


def _apart(volume: Any, axis: int) -> Tensor:
    """Slices of a volume, evenly apart across an axis, none of them at its ends."""
    count = min(_SLICES, volume.shape[axis])
    places = (np.arange(count) + 0.5) / count * volume.shape[axis]
    taken = np.moveaxis(volume, axis, 0)[places.astype(int)]
    return torch.from_numpy(np.ascontiguousarray(taken))


def _labels(model: nn.Module, values: Tensor) -> Tensor:
    """(slices, 1, H, W) → (slices, H, W) uint8, on the CPU."""
    device = next(model.parameters()).device
    return model(values.to(device)).argmax(1).to(torch.uint8).cpu()
