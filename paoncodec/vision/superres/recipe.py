"""How the networks of super-resolution are trained; the engine does the rest.

"Padé Neurons for Efficient Neural Models", IV-A2.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from paoncodec.errors import UsageError
from paoncodec.images.crops import EpochOrder, find_images, hold_out, weigh_images
from paoncodec.training import RESUMABLE, Samples, TrainConfig
from paoncodec.training.settings import Recipe, check_data_weights
from paoncodec.vision.parts import to_range
from paoncodec.vision.superres.data import PatchPairs, PatchSequence, PatchSpec
from paoncodec.vision.superres.loss import barron
from paoncodec.vision.superres.networks import SuperResNet, build
from paoncodec.vision.superres.starts import linear_start
from paoncodec.vision.superres.tiles import unit_range
from paoncodec.vision.superres.weights import save_weights

#: Decoded training pictures are kept up to this many bytes, all workers of a process together.
_CACHE_BYTES = 3 * 2**30
#: Of so many held-out patches the results are shown.
_SHOWN = 4


@dataclass(frozen=True)
class SuperResRecipe(Recipe):
    """All settings of a training.

    Args:
        network: one of :data:`.NETWORKS`.
        options: of it that are not as there (:class:`.SuperResNet`).
        data: folders of high-resolution pictures; the low-resolution ones are made of them.
        data_weights: how often the pictures of each are drawn an epoch; () for once.
        validation: folders of pictures that only validate; () for a share of ``data``.
        noise: signal-to-noise ratio of the low-resolution patches, dB; None for no noise.
        start: ``"linear"`` (:mod:`.starts`) or ``"random"``.
        alpha, c: shape and scale of the loss (:func:`.barron`), in the range [-1, 1].
        lr: learning rate of Adan.
        train: settings of the loop; crops are sides of low-resolution patches.

    Raises:
        UsageError: a value is out of range.
    """

    network: str
    options: dict[str, Any]
    data: tuple[str, ...]
    data_weights: tuple[float, ...] = ()
    validation: tuple[str, ...] = ()
    noise: float | None = 40.0
    start: str = "random"
    alpha: float = 1.5
    c: float = 2.0
    lr: float = 1e-3
    train: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self) -> None:
        check_data_weights(self.data, self.data_weights)
        if not (self.lr > 0 and math.isfinite(self.lr)):
            raise UsageError(f"lr {self.lr}: must be above 0, e.g. 1e-3")
        if not (self.c > 0 and math.isfinite(self.c)):
            raise UsageError(f"c {self.c}: must be above 0, e.g. 2")
        if self.start not in ("linear", "random"):
            raise UsageError(f"start {self.start!r}: choose linear or random")
        if math.isnan(self.alpha):
            raise UsageError("alpha is not a number: e.g. 1.5")
        if self.noise is not None and not math.isfinite(self.noise):
            raise UsageError(f"noise {self.noise}: must be a ratio in dB, e.g. 40, or null")


class SuperResTask:
    """A :class:`SuperResRecipe` as the engine wants it (:class:`paoncodec.training.Task`).

    Raises:
        UsageError: no pictures, no picture left for validation, or an unknown network.
        ImageError: no training picture can be read.
    """

    counts: AbstractSet[str] = frozenset()
    may_change: AbstractSet[str] = frozenset(
        {"data", "data_weights", "validation"} | {f"train.{name}" for name in RESUMABLE}
    )

    def __init__(self, recipe: SuperResRecipe) -> None:
        self.recipe, self.config = recipe, recipe.train
        torch.manual_seed(self.config.seed)
        network = build(recipe.network, recipe.options)
        if recipe.start == "linear":
            linear_start(network)
        self.model: nn.Module = network
        self.scale = network.scale
        found = weigh_images(recipe.data, recipe.data_weights)
        if recipe.validation:
            self.training, self.validation = list(found), find_images(recipe.validation)
        else:
            self.training, self.validation = hold_out(list(found), self.config.validation_fraction)
        self._weights = [found[path] for path in self.training]
        self._held_out_pairs: list[tuple[Tensor, Tensor]] | None = None

    def describe(self) -> dict[str, Any]:
        return asdict(self.recipe)

    def start(self) -> None:
        """The model was made with the weights that it starts with: they depend on no picture."""

    def optimizers(self) -> list[torch.optim.Optimizer]:
        try:
            from pytorch_optimizer import Adan
        except ImportError as error:
            raise UsageError(
                "training takes the optimiser Adan: pip install 'paoncodec[vision]'"
            ) from error
        rate = self.recipe.lr
        group = {"params": list(self.model.parameters()), "lr": rate, "initial_lr": rate}
        return [Adan([group], foreach=True)]

    def data(self) -> Dataset[tuple[Tensor, Tensor]]:
        config = self.config
        spec = PatchSpec(
            self.scale,
            config.crop,
            noise=self.recipe.noise,
            shrink=config.shrink,
            seed=config.seed,
            cache_bytes=_CACHE_BYTES // max(1, config.workers),  # each has a cache of its own
        )
        pairs = PatchPairs(self.training, spec)
        return PatchSequence(pairs, EpochOrder(self._weights, config.seed))

    def loss(
        self, model: Callable[..., Any], batch: Any, samples: Samples
    ) -> tuple[Tensor, dict[str, float]]:
        low, high = batch
        made, wanted = model(low).float(), to_range(high)
        loss = barron(made - wanted, self.recipe.alpha, self.recipe.c).mean()
        psnr = _psnr(made.detach(), wanted).mean()
        return loss, {"loss": loss.item(), "psnr": psnr.item()}

    def validate(self, model: nn.Module) -> dict[str, float]:
        """The mean PSNR of the held-out patches, RGB, and as ``loss`` what it stands for.

        That is the geometric mean of their errors, so the best weights are those of the highest
        PSNR.
        """
        device = next(model.parameters()).device
        found = []
        for low, high in self._held_out():
            made = model(low[None].to(device)).float().clamp(-1, 1)
            found.append(_psnr(made, to_range(high)[None].to(device)).item())
        psnr = sum(found) / len(found)
        return {"loss": 10 ** (-psnr / 10), "psnr": psnr}

    def pictures(self, model: nn.Module) -> Mapping[str, Tensor]:
        """Enlarged without a network, by the network, and what it should be."""
        device = next(model.parameters()).device
        shown = {}
        for number, (low, high) in enumerate(self._held_out()[:_SHOWN]):
            small = low[None].to(device)
            plain = F.interpolate(small, scale_factor=self.scale, mode="bicubic")
            row = [plain[0], model(small)[0].float(), to_range(high).to(device)]
            shown[f"patch {number}"] = unit_range(torch.cat(row, dim=2)).clamp(0, 1)
        return shown

    def export(self, model: nn.Module, path: str, metadata: dict[str, str]) -> None:
        if not isinstance(model, SuperResNet):
            raise ValueError(f"a {type(model).__name__}: expected a SuperResNet")
        try:
            save_weights(model, path, self.recipe.network, metadata)
        except SafetensorError as error:  # how safetensors says that the disk is full
            raise OSError(str(error)) from error

    def _held_out(self) -> list[tuple[Tensor, Tensor]]:
        if self._held_out_pairs is None:
            config = self.config
            spec = PatchSpec(
                self.scale,
                config.validation_crop,
                augment=False,
                small=True,
                shrink=config.shrink,
            )
            pairs = PatchPairs(self.validation, spec)
            self._held_out_pairs = [pairs[k] for k in range(len(pairs))]
        return self._held_out_pairs


def _psnr(made: Tensor, wanted: Tensor) -> Tensor:
    """(B,) dB, of values in [-1, 1]."""
    error = (made - wanted).square().flatten(1).mean(1) / 4
    return -10 * error.clamp(min=1e-12).log10()
