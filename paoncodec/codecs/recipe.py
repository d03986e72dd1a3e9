"""How the codecs are trained: data, loss, optimisers, validation; the engine does the rest."""

from __future__ import annotations

import json
import math
import signal
from collections.abc import Generator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from compressai.models import CompressionModel
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.utils.data import DataLoader

from paoncodec.codecs.rate import draw_qualities, lmbdas_of, shares_of
from paoncodec.codecs.registry import build, require_architecture, save_weights
from paoncodec.codecs.starts import BETWEEN, Down, Up, entropy_start, hyper_start, linear_start
from paoncodec.errors import UsageError
from paoncodec.images.crops import CropDataset, CropSpec, EpochSampler, find_images, split
from paoncodec.layers import PadeSpec
from paoncodec.layers.base import PaLa
from paoncodec.quality import DEFAULT, LMBDA_GRID, VARIABLE, lmbda_of
from paoncodec.training import RESUMABLE, TrainConfig

#: Decoded training pictures are kept up to this many bytes, all workers together.
_CACHE_BYTES = 3 * 2**30
_START_CROPS = 128
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
        start: ``"linear"`` (:mod:`.starts`) or ``"random"``.
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
    start: str = "linear"
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
        if self.start not in ("linear", "random"):
            raise UsageError(f"start {self.start!r}: choose linear or random")
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
        if preset not in presets():
            raise UsageError(f"preset {preset!r}: choose one of {', '.join(presets())}")
        file = resources.files(__package__) / "presets" / f"{preset}.json"
        settings = json.loads(file.read_text(encoding="utf-8"))
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
        _refuse_unknown(settings, cls)
        _refuse_unknown(loop, TrainConfig, "train.")
        try:
            data = tuple(settings["data"])
            return cls(**{**settings, "data": data, "train": TrainConfig(**loop)})
        except (KeyError, TypeError) as error:
            raise UsageError(f"settings of a training: {error}") from error


def presets() -> list[str]:
    """Names of the presets that ship with the package."""
    folder = resources.files(__package__) / "presets"
    return sorted(Path(f.name).stem for f in folder.iterdir() if f.name.endswith(".json"))


class CodecTask:
    """A :class:`CodecRecipe` as the engine wants it (:class:`paoncodec.training.Task`).

    Raises:
        UsageError: no pictures, no picture left for validation, an unknown architecture, or one
            that the recipe's start does not fit.
        ImageError: no training picture can be read.
    """

    may_change: AbstractSet[str] = frozenset({"data"} | {f"train.{name}" for name in RESUMABLE})

    def __init__(self, recipe: CodecRecipe) -> None:
        self.recipe, self.config = recipe, recipe.train
        torch.manual_seed(self.config.seed)
        self.model: CompressionModel = build(recipe.arch_name, recipe.arch)
        if recipe.start == "linear":
            check_linear_start(self.model)
        paths = find_images(recipe.data)
        self.training, self.validation = split(paths, self.config.validation_fraction)
        if not self.validation:
            raise UsageError("validation needs pictures of its own: give at least two")
        self._validation_crops: list[Tensor] | None = None

    def describe(self) -> dict[str, Any]:
        return asdict(self.recipe)

    def start(self) -> None:
        if self.recipe.start == "random":
            return
        crops = CropDataset(self.training, self._crop_spec())
        every = max(1, len(crops) // _START_CROPS)
        images = torch.stack([crops[i] for i in range(0, len(crops), every)]).float() / 255
        recipe = self.recipe
        lmbda = lmbda_of(DEFAULT) if recipe.variable else float(recipe.lmbda)
        deviations = linear_start(self.model, images, lmbda)
        entropy_start(self.model.predictors(), deviations)
        with torch.no_grad():
            hyper_start(self.model, self.model.analysis(images))

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

    def batches(self, first_step: int) -> Generator[Tensor, None, None]:
        config = self.config
        share = _CACHE_BYTES // max(1, config.workers)  # each worker has a cache of its own
        dataset = CropDataset(self.training, self._crop_spec(share))
        sampler = EpochSampler(
            len(dataset),
            config.steps * config.batch_size,
            config.seed,
            first_step * config.batch_size,
        )
        loader = DataLoader(
            dataset,
            config.batch_size,
            sampler=sampler,
            num_workers=config.workers,
            worker_init_fn=_ignore_interrupt,
            # A loader draws a number as it starts. From a generator of its own: taken from the
            # default one, the noise of a resumed run would differ from an unbroken one's.
            generator=torch.Generator().manual_seed(config.seed),
        )
        for crops in loader:
            yield crops.float() / 255

    def loss(self, batch: Tensor) -> tuple[Tensor, dict[str, float]]:
        quality = draw_qualities(len(batch)) if self.recipe.variable else None
        with torch.autocast(
            batch.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16"
        ):
            out = self.model(batch, quality)
        loss, figures = self._rate_distortion(out, batch, quality)
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
        if self._validation_crops is None:
            spec = CropSpec(self.config.validation_crop, flips=False, shrink=self.config.shrink)
            self._validation_crops = list(CropDataset(self.validation, spec))
        totals: dict[str, float] = {}
        crops = self._validation_crops
        each = None if quality is None else torch.tensor([quality])
        for crop in crops:
            batch = crop[None].float() / 255
            _, figures = self._rate_distortion(model(batch, each), batch, each)
            for name, value in figures.items():
                totals[name] = totals.get(name, 0.0) + value / len(crops)
        return totals

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
    """``λ·255²·MSE + bpp`` of a model's output, and its parts (loss, bpp, mse, psnr in dB).

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
    error = mse.mean().item()
    figures = {"loss": loss.item(), "bpp": bpp.mean().item(), "mse": error}
    return loss, {**figures, "psnr": -10 * math.log10(max(error, 1e-12))}


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


def _ignore_interrupt(worker: int) -> None:
    """Ctrl-C reaches the whole group; the training process says when its workers end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _refuse_unknown(settings: Mapping[str, Any], kind: type, prefix: str = "") -> None:
    known = [f.name for f in fields(kind)]
    unknown = [prefix + name for name in settings if name not in known]
    if unknown:
        raise UsageError(
            f"{', '.join(unknown)}: no such setting; choose among {prefix}{{{', '.join(known)}}}"
        )
