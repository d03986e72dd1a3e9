"""How the codecs are trained: data, loss, optimisers, validation; the engine does the rest."""

from __future__ import annotations

import math
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import asdict, replace
from typing import Any

import torch
from compressai.models import CompressionModel
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.utils.data import Dataset

from paoncodec.codecs.mbt import MBTPaon
from paoncodec.codecs.noise import noise_of
from paoncodec.codecs.recipe import CodecRecipe
from paoncodec.codecs.registry import build, save_weights, sha256_of, weights_start
from paoncodec.codecs.starts import (
    check_linear_start,
    entropy_start,
    hyper_start,
    linear_start,
    rescale_latents,
)
from paoncodec.coding.rate import draw_qualities, lmbdas_of, shares_of
from paoncodec.errors import WeightsError
from paoncodec.images.crops import (
    CropDataset,
    CropSequence,
    CropSpec,
    EpochOrder,
    hold_out,
    weigh_images,
)
from paoncodec.quality import DEFAULT, LMBDA_GRID, VARIABLE, lmbda_of
from paoncodec.training import RESUMABLE, Samples

#: Decoded training pictures are kept up to this many bytes, all workers of a process together.
_CACHE_BYTES = 3 * 2**30
_START_CROPS = 128
#: What the names of kernels end in: of convolutions, and of Padé layers.
_KERNELS = (".weight", ".numerator", ".denominator")
#: Of so many held-out crops the reconstructions are shown.
_SHOWN = 4


class CodecTask:
    """A :class:`CodecRecipe` as the engine wants it (:class:`paoncodec.training.Task`).

    Raises:
        UsageError: no pictures, no picture left for validation, an unknown architecture, or one
            that the recipe's start does not fit.
        ImageError: no training picture can be read.
    """

    counts: AbstractSet[str] = frozenset()
    may_change: AbstractSet[str] = frozenset(
        {"data", "data_weights", "start_from"} | {f"train.{name}" for name in RESUMABLE}
    )

    def __init__(self, recipe: CodecRecipe) -> None:
        if recipe.start_from and not recipe.start_sha256:
            recipe = replace(recipe, start_sha256=sha256_of(recipe.start_from))
        self.recipe, self.config = recipe, recipe.train
        torch.manual_seed(self.config.seed)
        self.model: CompressionModel = build(recipe.arch_name, recipe.arch)
        if recipe.start == "linear":
            check_linear_start(self.model)
        found = weigh_images(recipe.data, recipe.data_weights)
        self.training, self.validation = hold_out(list(found), self.config.validation_fraction)
        self._weights = [found[path] for path in self.training]
        self._validation_crops: list[Tensor] | None = None

    def describe(self) -> dict[str, Any]:
        return asdict(self.recipe)

    def start(self) -> None:
        if self.recipe.start == "random":
            return
        if self.recipe.start == "weights":
            self._start_from_weights()
            return
        crops = CropDataset(self.training, self._crop_spec())
        every = max(1, len(crops) // _START_CROPS)
        images = torch.stack([crops[i] for i in range(0, len(crops), every)]).float() / 255
        deviations = linear_start(self.model, images, self._first_lmbda())
        entropy_start(self.model.predictors(), deviations)
        with torch.no_grad():
            hyper_start(self.model, self.model.analysis(images))

    def _start_from_weights(self) -> None:
        recipe = self.recipe
        found = sha256_of(recipe.start_from)
        if found != recipe.start_sha256:
            raise WeightsError(
                f"{recipe.start_from}: its SHA-256 is {found}, the run was to start from "
                f"{recipe.start_sha256}; give that file"
            )
        about = weights_start(self.model, recipe.arch_name, recipe.start_from)
        lmbda = about.get("lmbda", VARIABLE)  # of a checkpoint it may not be known
        if lmbda == VARIABLE:
            return
        factor = math.sqrt(self._first_lmbda() / float(lmbda))
        if isinstance(self.model, MBTPaon):
            rescale_latents(self.model, factor)
        elif self.model.gain is not None:
            self.model.gain.rescale(factor)

    def _first_lmbda(self) -> float:
        """The λ that the transforms start at; gains lead from it to the others."""
        return lmbda_of(DEFAULT) if self.recipe.variable else float(self.recipe.lmbda)

    def optimizers(self) -> list[torch.optim.Optimizer]:
        recipe = self.recipe
        settings = {  # learning rate, weight decay
            "transforms": (recipe.lr_transforms, 0.0),
            "entropy kernels": (recipe.lr_entropy, recipe.weight_decay),
            "entropy": (recipe.lr_entropy, 0.0),
            "quantiles": (recipe.lr_aux, 0.0),
        }
        members: dict[str, list[nn.Parameter]] = {kind: [] for kind in settings}
        for name, parameter in self.model.named_parameters():
            members[_kind(name)].append(parameter)
        groups = {
            kind: {"params": members[kind], "lr": rate, "initial_lr": rate, "weight_decay": decay}
            for kind, (rate, decay) in settings.items()
        }
        aux = groups.pop("quantiles")
        return [_adam(list(groups.values())), _adam([aux])]

    def data(self) -> Dataset[Tensor]:
        share = _CACHE_BYTES // max(1, self.config.workers)  # each worker has a cache of its own
        crops = CropDataset(self.training, self._crop_spec(share))
        return CropSequence(crops, EpochOrder(self._weights, self.config.seed))

    def loss(
        self, model: Callable[..., Any], batch: Tensor, samples: Samples
    ) -> tuple[Tensor, dict[str, float]]:
        images = batch.float() / 255
        quality = self._qualities(samples) if self.recipe.variable else None
        with noise_of(samples, self.model):
            out = model(images, quality)
        loss, figures = self._rate_distortion(out, images, quality)
        # The quantiles see only the auxiliary loss, and nothing else does (CompressAI's aux_loss).
        return loss + self.model.aux_loss(), figures

    def _qualities(self, samples: Samples) -> Tensor:
        return draw_qualities(samples.spread(), self.recipe.quality_tilt)

    def validate(self, model: nn.Module) -> dict[str, float]:
        if not self.recipe.variable:
            return self._validate_at(model, None)
        points = {q: self._validate_at(model, float(q)) for q in range(1, len(LMBDA_GRID) + 1)}
        totals = {
            name: sum(figures[name] for figures in points.values()) / len(points)
            for name in points[1]
        }
        for quality, figures in points.items():
            totals.update({f"{name}_q{quality}": figures[name] for name in ("bpp", "psnr")})
        return totals

    def _validate_at(self, model: nn.Module, quality: float | None) -> dict[str, float]:
        """Means over the held-out crops, each by itself."""
        totals: dict[str, float] = {}
        crops = self._held_out()
        device = next(model.parameters()).device
        each = None if quality is None else torch.tensor([quality], device=device)
        for crop in crops:
            batch = crop[None].to(device).float() / 255
            _, figures = self._rate_distortion(model(batch, each), batch, each)
            for name, value in figures.items():
                totals[name] = totals.get(name, 0.0) + value / len(crops)
        return totals

    def pictures(self, model: nn.Module) -> dict[str, Tensor]:
        """Crops and beside them what becomes of them, at the lowest to the highest quality."""
        device = next(model.parameters()).device
        qualities = (1.0, 4.0, 6.0) if self.recipe.variable else (None,)
        shown = {}
        for number, crop in enumerate(self._held_out()[:_SHOWN]):
            x = crop[None].to(device).float() / 255
            decoded = [model(x, quality)["x_hat"].clamp(0, 1) for quality in qualities]
            shown[f"crop {number}"] = torch.cat([x, *decoded], dim=3)[0]
        return shown

    def _held_out(self) -> list[Tensor]:
        if self._validation_crops is None:
            spec = CropSpec(self.config.validation_crop, flips=False, shrink=self.config.shrink)
            self._validation_crops = list(CropDataset(self.validation, spec))
        return self._validation_crops

    def _rate_distortion(
        self, out: dict[str, Any], batch: Tensor, quality: Tensor | None
    ) -> tuple[Tensor, dict[str, float]]:
        if quality is None:
            return rate_distortion(out, batch, float(self.recipe.lmbda))
        lmbdas = lmbdas_of(quality)
        return rate_distortion(out, batch, lmbdas, shares_of(lmbdas))

    def export(self, model: nn.Module, path: str, metadata: dict[str, str]) -> None:
        about = {"lmbda": str(self.recipe.lmbda), **metadata}
        try:
            save_weights(model, path, self.recipe.arch_name, about)
        except SafetensorError as error:  # how safetensors says that the disk is full
            raise OSError(str(error)) from error

    def _crop_spec(self, cache_bytes: int = 0) -> CropSpec:
        config = self.config
        return CropSpec(
            config.crop,
            shrink=config.shrink,
            stretch=self.recipe.stretch,
            transpose=self.recipe.transpose,
            seed=config.seed,
            cache_bytes=cache_bytes,
        )


def rate_distortion(
    out: dict[str, Any],
    x: Tensor,
    lmbda: float | Tensor,
    shares: float | Tensor = 1.0,
) -> tuple[Tensor, dict[str, float]]:
    """``λ·255²·MSE + bpp`` of a model's output, and its parts: loss, bpp, mse, psnr in dB.

    Each is a mean over the images.

    Args:
        out: ``x_hat`` and ``likelihoods``, as CompressAI's models return them.
        x: (B, 3, H, W) in [0, 1].
        lmbda: one for all images, or (B,).
        shares: what the loss of each image is multiplied by before the mean, one or (B,).
    """
    pixels = x.shape[2] * x.shape[3]
    bits = [-torch.log2(p).flatten(1).sum(1) for p in out["likelihoods"].values()]
    bpp = torch.stack(bits).sum(0) / pixels
    mse = (out["x_hat"] - x).square().flatten(1).mean(1)
    loss = (shares * (lmbda * 255**2 * mse + bpp)).mean()
    psnr = -10 * mse.detach().clamp(min=1e-12).log10()
    means = {"loss": loss, "bpp": bpp.mean(), "mse": mse.mean(), "psnr": psnr.mean()}
    return loss, {name: value.item() for name, value in means.items()}


def _kind(name: str) -> str:
    """Of a parameter: what its optimiser has settings for."""
    if name.endswith(".quantiles"):
        return "quantiles"
    if name.startswith(("g_a.", "g_s.")):
        return "transforms"
    return "entropy kernels" if name.endswith(_KERNELS) else "entropy"


def _adam(groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    # Fused is one pass over memory: a fifth of the time.
    return torch.optim.AdamW(groups, fused=True)
