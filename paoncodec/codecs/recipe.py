"""How the codecs are trained: data, loss, optimisers, validation; the engine does the rest."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from compressai.models import CompressionModel
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.utils.data import Dataset

from paoncodec.codecs.mbt import MBTPaon
from paoncodec.codecs.noise import noise_of
from paoncodec.codecs.rate import draw_qualities, lmbdas_of, shares_of
from paoncodec.codecs.registry import (
    build,
    require_architecture,
    save_weights,
    sha256_of,
    weights_start,
)
from paoncodec.codecs.starts import (
    BETWEEN,
    Down,
    Up,
    entropy_start,
    hyper_start,
    linear_start,
    rescale_latents,
)
from paoncodec.errors import UsageError, WeightsError
from paoncodec.images.crops import (
    CropDataset,
    CropSequence,
    CropSpec,
    EpochOrder,
    split,
    weigh_images,
)
from paoncodec.layers import PadeSpec
from paoncodec.layers.base import PaLa
from paoncodec.quality import DEFAULT, LMBDA_GRID, VARIABLE, lmbda_of
from paoncodec.training import RESUMABLE, Samples, TrainConfig
from paoncodec.training.settings import (
    check_data_weights,
    preset_names,
    read_preset,
    refuse_unknown,
)

#: Decoded training pictures are kept up to this many bytes, all workers of a process together.
_CACHE_BYTES = 3 * 2**30
_START_CROPS = 128
#: Of so many held-out crops the reconstructions are shown.
_SHOWN = 4
#: Sides of what a codec's networks take are multiples of this.
_GRID = 64


@dataclass(frozen=True)
class CodecRecipe:
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
        for name in ("lr_transforms", "lr_entropy", "lr_aux"):
            rate = getattr(self, name)
            if not (rate >= 0 and math.isfinite(rate)):
                raise UsageError(f"{name} {rate}: must be 0 or more, e.g. 1e-4")
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

    @classmethod
    def from_json(cls, settings: Mapping[str, Any]) -> CodecRecipe:
        """The recipe that ``dataclasses.asdict`` and JSON made ``settings`` of.

        Raises:
            UsageError: a setting that does not exist, or one without a default is missing.
        """
        loop = settings.get("train", {})
        refuse_unknown(settings, cls)
        refuse_unknown(loop, TrainConfig, "train.")
        try:
            data = tuple(settings["data"])
            weights = tuple(settings.get("data_weights", ()))
            made = {"data": data, "data_weights": weights, "train": TrainConfig(**loop)}
            return cls(**{**settings, **made})
        except (KeyError, TypeError) as error:
            raise UsageError(f"settings of a training: {error}") from error


def presets() -> list[str]:
    """Names of the presets that ship with the package."""
    return preset_names(__package__)


class CodecTask:
    """A :class:`CodecRecipe` as the engine wants it (:class:`paoncodec.training.Task`).

    Raises:
        UsageError: no pictures, no picture left for validation, an unknown architecture, or one
            that the recipe's start does not fit.
        ImageError: no training picture can be read.
    """

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
        self.training, self.validation = split(list(found), self.config.validation_fraction)
        self._weights = [found[path] for path in self.training]
        if not self.validation:
            raise UsageError("validation needs pictures of its own: give at least two")
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
        groups: dict[str, list[nn.Parameter]] = {"transforms": [], "entropy": [], "aux": []}
        for name, parameter in self.model.named_parameters():
            if name.endswith(".quantiles"):
                groups["aux"].append(parameter)
            elif name.startswith(("g_a.", "g_s.")):
                groups["transforms"].append(parameter)
            else:
                groups["entropy"].append(parameter)
        recipe = self.recipe
        main = [
            (groups["transforms"], recipe.lr_transforms),
            (groups["entropy"], recipe.lr_entropy),
        ]
        return [_adam(main), _adam([(groups["aux"], recipe.lr_aux)])]

    def data(self) -> Dataset[Tensor]:
        share = _CACHE_BYTES // max(1, self.config.workers)  # each worker has a cache of its own
        crops = CropDataset(self.training, self._crop_spec(share))
        return CropSequence(crops, EpochOrder(self._weights, self.config.seed))

    def loss(
        self, model: Callable[..., Any], batch: Tensor, samples: Samples
    ) -> tuple[Tensor, dict[str, float]]:
        images = batch.float() / 255
        quality = draw_qualities(samples.spread()) if self.recipe.variable else None
        with noise_of(samples, self.model):
            out = model(images, quality)
        loss, figures = self._rate_distortion(out, images, quality)
        # The quantiles see only the auxiliary loss, and nothing else does (CompressAI's aux_loss).
        return loss + self.model.aux_loss(), figures

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
            config.crop, shrink=config.shrink, seed=config.seed, cache_bytes=cache_bytes
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


def _check_lmbda(lmbda: float | str) -> None:
    if lmbda == VARIABLE:
        return
    if isinstance(lmbda, str) or not (lmbda > 0 and math.isfinite(lmbda)):
        raise UsageError(f"lmbda {lmbda}: must be > 0, e.g. 0.013, or {VARIABLE!r}")


def check_linear_start(model: nn.Module) -> None:
    """Refuses a model whose transforms :func:`.linear_start` cannot set.

    Raises:
        UsageError: g_a and g_s are not mirrored smooth [1/1] Padé layers or convolutions, 5×5 with
            stride 2, of any number and widths, with nothing beside them but :data:`.BETWEEN`.
    """
    sides = [_stages(getattr(model, name, ())) for name in ("g_a", "g_s")]
    if not all(sides):
        fault = "g_a or g_s has layers of another kind"
    else:
        widths = [[(layer.in_channels, layer.out_channels) for layer in side] for side in sides]
        if widths[0] == [pair[::-1] for pair in reversed(widths[1])] and widths[0][0][0] == 3:
            return
        fault = "g_s does not mirror g_a"
    raise UsageError(
        f"start 'linear' does not fit {type(model).__name__}: {fault}; it takes smooth [1/1] Padé "
        "layers or convolutions, 5x5 with stride 2: choose start 'random'"
    )


def _stages(layers: Any) -> list[Down | Up]:
    """The stages of a transform; none where one of its layers does not fit."""
    found = [layer for layer in layers if not isinstance(layer, BETWEEN)]
    return found if all(_fits(layer) for layer in found) else []


def _fits(layer: nn.Module) -> bool:
    if isinstance(layer, PaLa):
        wanted: tuple[Any, ...] = (5, 2, 2, 1, PadeSpec(1, 1, "smooth"))
    elif isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
        if layer.bias is None:
            return False
        wanted = ((5, 5), (2, 2), (2, 2), 1, None)
    else:
        return False
    names = ("kernel_size", "stride", "padding", "groups", "spec")
    return tuple(getattr(layer, name, None) for name in names) == wanted


def _adam(groups: list[tuple[list[nn.Parameter], float]]) -> torch.optim.Optimizer:
    return torch.optim.Adam(
        [{"params": params, "lr": rate, "initial_lr": rate} for params, rate in groups],
        fused=True,  # one pass over memory: a fifth of the time
    )
