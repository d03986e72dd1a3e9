"""How the networks of classification are trained; the engine does the rest.

"Padé Neurons for Efficient Neural Models", IV-C2; "PURe: A Plug-and-Play Product-Unit Residual
Module for Vision Networks", 4.1.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from paoncodec.errors import PictureLeftOut, UsageError
from paoncodec.layers import ProductUnit2d, guarded_values
from paoncodec.training import RESUMABLE, Samples, TrainConfig
from paoncodec.training.settings import Recipe
from paoncodec.vision.classification.data import LabelledImages, WrongSize, read_images
from paoncodec.vision.classification.files import read_files
from paoncodec.vision.classification.networks import Classifier, build
from paoncodec.vision.classification.optimizer import RoundedAdamW
from paoncodec.vision.classification.prediction import answers, logits_of
from paoncodec.vision.classification.samples import AugmentedImages, Pictures, split
from paoncodec.vision.classification.weights import in_format, save_weights

#: Held-out pictures that are looked at for those that it gets wrong, and how many are shown.
_LOOKED_AT = 250
_SHOWN = 8
#: What the loss of a network in float16 is multiplied by: gradients of mean losses are smaller than
#: its numbers.
_SCALES = {"float16": 1024.0}
_MOMENTUM = 0.9


@dataclass(frozen=True)
class ClassificationRecipe(Recipe):
    """All settings of a training.

    Args:
        network: one of :data:`.NETWORKS` or :data:`.PURE_NETWORKS`.
        options: of it that are not as there (:class:`.PadeResNet`, :class:`.ResNet`). Classes
            and size of the pictures are those of the data.
        data: place of the pictures (:func:`.read_images`).
        validation: place of pictures that only validate; None for a share of ``data``.
        border: of what crops are cut from, pixels around each picture.
        noise: signal-to-noise ratio of training pictures, dB; None for no noise.
        upright: whether training pictures are mirrored from left to right alone, and keep their
            channels.
        optimizer: ``"adamw"``, or ``"sgd"`` with a momentum of 0.9.
        resized: whether training pictures are random parts, resized, in place of crops of a border
            (:func:`.resized_part`).
        rotation: most degrees that they are turned by before, either way.
        side: of the crops of picture files of any size, which are read when they are needed; None:
            all pictures are of one size, and decoded at the beginning.
        stratified: whether the share that validates is one of each class.
        select: what the best weights have, the highest ``"accuracy"`` on the validation pictures or
            the lowest ``"cross_entropy"``; the schedule ``"plateau"`` looks at it, too.
        each_epoch: whether the end of each epoch is validated, in place of every
            ``train.validate_every`` steps.
        lr: its learning rate.
        weight_decay: of all parameters.
        epochs: length of the run, in place of ``train.steps``; None for the latter.
        pure: format that the network itself is in, ``"bfloat16"`` or ``"float16"``, with no
            autocast; None for float32 weights, whose products ``train.precision`` says.
        train: settings of the loop; crops are as large as the pictures.

    Raises:
        UsageError: a value is out of range.
    """

    network: str
    options: dict[str, Any]
    data: str
    validation: str | None = None
    border: int = 4
    noise: float | None = 40.0
    upright: bool = False
    resized: bool = False
    rotation: float = 0.0
    side: int | None = None
    stratified: bool = False
    select: str = "accuracy"
    each_epoch: bool = False
    optimizer: str = "adamw"
    lr: float = 1e-3
    weight_decay: float = 5e-4
    epochs: float | None = None
    pure: str | None = None
    train: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self) -> None:
        if not (self.lr > 0 and math.isfinite(self.lr)):
            raise UsageError(f"lr {self.lr}: must be above 0, e.g. 1e-3")
        if not (self.weight_decay >= 0 and math.isfinite(self.weight_decay)):
            raise UsageError(f"weight_decay {self.weight_decay}: must be 0 or more, e.g. 5e-4")
        if self.border < 0:
            raise UsageError(f"border {self.border}: must be 0 or more pixels")
        if self.noise is not None and not math.isfinite(self.noise):
            raise UsageError(f"noise {self.noise}: must be a ratio in dB, e.g. 40, or null")
        if self.epochs is not None and not (self.epochs > 0 and math.isfinite(self.epochs)):
            raise UsageError(f"epochs {self.epochs}: must be above 0, e.g. 10, or null for steps")
        if self.pure not in (None, "bfloat16", "float16"):
            raise UsageError(f"pure {self.pure!r}: choose bfloat16 or float16, or null")
        if not (self.rotation >= 0 and math.isfinite(self.rotation)):
            raise UsageError(f"rotation {self.rotation}: must be 0 or more degrees")
        if self.side is not None and self.side < 1:
            raise UsageError(f"side {self.side}: must be 1 or more pixels, e.g. 224, or null")
        if not self.resized and (self.rotation or self.side is not None):
            raise UsageError(
                "rotation and side are of training pictures that are resized, as in the preset "
                "pure-imagenet: leave them out, or set resized"
            )
        if self.select not in ("accuracy", "cross_entropy"):
            raise UsageError(f"select {self.select!r}: choose accuracy or cross_entropy")
        if self.optimizer not in ("adamw", "sgd"):
            raise UsageError(f"optimizer {self.optimizer!r}: choose adamw or sgd")
        if self.pure is not None and self.optimizer != "adamw":
            raise UsageError(f"pure {self.pure}: takes the optimizer adamw, which rounds its steps")
        if self.pure is not None and self.train.precision != "float32":
            raise UsageError(
                f"precision {self.train.precision} is of autocast over float32 weights, and pure "
                f"{self.pure} of the weights themselves: give one of them"
            )


class ClassificationTask:
    """A :class:`ClassificationRecipe` as the engine wants it (:class:`paoncodec.training.Task`).

    All pictures are read when it is made, and kept decoded; but for picture files of any size
    (``side``), which are read when they are needed.

    Attributes:
        training, validation: the pictures.

    Warns:
        PictureLeftOut: a picture cannot be read.

    Raises:
        UsageError: no pictures, an unknown network, or one of other classes than the data.
        ImageError: no picture can be read, one is of another size than the first, or a label is
            out of range.
    """

    may_change: AbstractSet[str] = frozenset(
        {"data", "validation", "epochs"} | {f"train.{name}" for name in RESUMABLE}
    )

    def __init__(self, recipe: ClassificationRecipe) -> None:
        self.training, self.validation = _read(recipe)
        self.recipe = _completed(recipe, self.training)
        self.config = self.recipe.train
        torch.manual_seed(self.config.seed)
        network = build(recipe.network, self.recipe.options)
        self.model: nn.Module = in_format(network, recipe.pure or "float32")
        multiplies = any(isinstance(m, ProductUnit2d) for m in network.modules())
        self.counts: AbstractSet[str] = frozenset({"guarded"} if multiplies else ())
        self._scale = _SCALES.get(recipe.pure or "", 1.0)

    def describe(self) -> dict[str, Any]:
        return asdict(self.recipe)

    def start(self) -> None:
        """The model was made with the weights that it starts with: they depend on no picture."""

    def optimizers(self) -> list[torch.optim.Optimizer]:
        rate, decay = self.recipe.lr, self.recipe.weight_decay
        group = {"params": list(self.model.parameters()), "lr": rate, "initial_lr": rate}
        if self.recipe.pure:
            return [RoundedAdamW([group], weight_decay=decay, scale=self._scale)]
        if self.recipe.optimizer == "sgd":
            return [torch.optim.SGD([group], momentum=_MOMENTUM, weight_decay=decay)]
        return [torch.optim.AdamW([group], weight_decay=decay)]

    def data(self) -> Dataset[tuple[Tensor, int]]:
        recipe, seed = self.recipe, self.config.seed
        return AugmentedImages(
            self.training,
            recipe.border,
            recipe.noise,
            seed,
            recipe.upright,
            recipe.resized,
            recipe.rotation,
        )

    def loss(
        self, model: Callable[..., Any], batch: Any, samples: Samples
    ) -> tuple[Tensor, dict[str, float]]:
        values, labels = batch
        logits = model(values).float()
        entropy = F.cross_entropy(logits, labels)
        right = (logits.detach().argmax(1) == labels).float().mean()
        figures = {"loss": entropy.item(), "accuracy": right.item()}
        if "guarded" in self.counts:
            figures["guarded"] = float(guarded_values(self.model))
        return self._scale * entropy, figures

    def validate(self, model: nn.Module) -> dict[str, float]:
        """Share of the held-out pictures that are named rightly, their mean cross entropy in nats,
        and as ``loss`` the share of the others or the cross entropy, by what selects the best
        weights."""
        logits, labels = [], []
        for block, found in answers(model, self.validation):
            for _, error in block.faults:
                warnings.warn(f"picture left out: {error}", PictureLeftOut, stacklevel=2)
            logits.append(found)
            labels.append(torch.from_numpy(self.validation.labels[block.places]))
        every, truth = torch.cat(logits), torch.cat(labels)
        accuracy = (every.argmax(1) == truth).float().mean().item()
        entropy = F.cross_entropy(every, truth).item()
        loss = entropy if self.recipe.select == "cross_entropy" else 1 - accuracy
        # A network of numbers that are none answers nothing, not the first class.
        loss = loss if math.isfinite(entropy) else math.nan
        return {"loss": loss, "accuracy": accuracy, "cross_entropy": entropy}

    def pictures(self, model: nn.Module) -> Mapping[str, Tensor]:
        """The first held-out pictures that it gets wrong, side by side."""
        block = self.validation.block(0, _LOOKED_AT)
        if not len(block.places):
            return {}
        found = logits_of(model, block.pixels).argmax(1).numpy()
        wrong = block.pixels[found != self.validation.labels[block.places]][:_SHOWN]
        if not len(wrong):
            return {}
        row = torch.from_numpy(np.concatenate(list(wrong), axis=1))
        return {"wrong": row.permute(2, 0, 1).float() / 255}

    def export(self, model: nn.Module, path: str, metadata: dict[str, str]) -> None:
        if not isinstance(model, Classifier):
            raise ValueError(f"a {type(model).__name__}: expected a network of classification")
        try:
            save_weights(model, path, self.recipe.network, metadata)
        except SafetensorError as error:  # how safetensors says that the disk is full
            raise OSError(str(error)) from error


def _read(recipe: ClassificationRecipe) -> tuple[Pictures, Pictures]:
    """Training and validation pictures."""
    size = recipe.options.get("size")
    found = _part(recipe, recipe.data, "train", size)
    classes = recipe.options.get("classes")
    if classes is not None:
        found = found.of_classes(classes)
    if recipe.validation is not None:
        other = _part(recipe, recipe.validation, "test", found.size)
        return found, other.of_classes(found.classes)
    if len(found) < 2:
        raise UsageError("validation needs pictures of its own: give at least two")
    return split(found, recipe.train.validation_fraction, recipe.stratified)


def _part(recipe: ClassificationRecipe, place: str, part: str, size: int | None) -> Pictures:
    if recipe.side is not None:
        return read_files(Path(place), part, recipe.side)
    return _sound(read_images(Path(place), part, size))


def _sound(found: LabelledImages) -> LabelledImages:
    """The same pictures; those that cannot be read are warned of.

    Raises:
        WrongSize: one is of another size than the others.
    """
    for _, error in found.faults:
        if isinstance(error, WrongSize):
            raise error
        warnings.warn(f"picture left out: {error}", PictureLeftOut, stacklevel=5)
    return found


def _completed(recipe: ClassificationRecipe, images: Pictures) -> ClassificationRecipe:
    """The recipe with what the data decide."""
    of_data = {"classes": list(images.classes), "size": images.size}
    loop = replace(recipe.train, crop=images.size, validation_crop=images.size)
    if recipe.epochs is not None:
        steps = math.ceil(recipe.epochs * len(images) / loop.batch_size)
        loop = replace(loop, steps=max(1, steps))
    if recipe.each_epoch:
        loop = replace(loop, validate_every=math.ceil(len(images) / loop.batch_size))
    return replace(recipe, options={**recipe.options, **of_data}, train=loop)
