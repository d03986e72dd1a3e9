"""The networks of ELIC-Paon, a codec of uneven channel groups with Padé neurons.

"Padé Neurons for Efficient Neural Models", IV-B, on CompressAI's form of He et al., "ELIC:
Efficient Learned Image Compression with Unevenly Grouped Space-Channel Contextual Adaptive Coding"
(2022).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from paoncodec.coding.blocks import (
    AttentionBlock,
    BottleneckBlock,
    chain,
    conv,
    convolution,
    deconv,
)
from paoncodec.coding.elic_config import ELICConfig, read_config
from paoncodec.coding.exact_codec import SHIFTS, ExactCodec, Excerpt, Quantiles
from paoncodec.coding.exact_elic import checkerboard_walk
from paoncodec.entropy import CheckerboardWalk, Select
from paoncodec.layers import CheckerboardPaLaConv2d, PaLaConv2d, PaLaConvTranspose2d
from paoncodec.layers.rounding import rounded_through


class Entropy(NamedTuple):
    """The networks of the entropy model.

    Attributes:
        groups: spatial context and parameter aggregation of each group of channels.
        channel: channel context of each group but the first.
        h_a, h_s: hyper encoder and decoder.
    """

    groups: list[tuple[nn.Module, nn.Sequential]]
    channel: list[nn.Sequential]
    h_a: nn.Sequential
    h_s: nn.Sequential


class ELICCoder(ExactCodec):
    """ELIC-Paon, to code pictures with; :class:`.ELICPaon` is the model to train.

    Padé layers of degrees [1/1] are: the transposed convolutions and residual blocks of g_s, the
    spatial and the channel contexts. g_a, the hyper networks and the parameter aggregation are
    classical. The networks of the entropy model have the names that CompressAI's latent codecs give
    them. CompressAI rounds y around its means; that is an option here (``rounding``).

    Args:
        N, M, groups: numbers of channels, as in CompressAI.
        **options: the other fields of :class:`ELICConfig`.

    Shapes: x (B, 3, H, W) in [0, 1] with H and W multiples of 64; y (B, M, H/16, W/16);
    z (B, hyper_width, H/64, W/64). :class:`.ExactCodec` says what ``quality`` is.
    """

    #: What the names of g_s's weights end in.
    _weight: ClassVar[str] = "numerator"
    # Convolution or transposed convolution, and attention: y needs steps finer than 1 in both.
    _precise = 2

    def __init__(
        self, N: int = 192, M: int = 320, groups: Sequence[int] | None = None, **options: Any
    ) -> None:
        super().__init__()
        self.assemble(N, M, groups, **options)

    def assemble(self, N: int, M: int, groups: Sequence[int] | None, **options: Any) -> None:
        """Adds all networks."""
        self.config = cfg = self.configure(N, M, groups, **options)
        self.N, self.M, self.groups = cfg.N, cfg.M, list(cfg.groups)
        self.g_a = self._analysis_layers(cfg)
        self.g_s = self._synthesis_layers(cfg)
        entropy = Entropy(
            [self._group(cfg, k) for k in range(len(cfg.groups))],
            [self._channel_context(cfg, k) for k in range(1, len(cfg.groups))],
            *_hyper_networks(cfg),
        )
        self.latent_codec = self.nest(entropy)
        if cfg.relu and self._weight == "numerator":
            self.note("relus_kept")
        self.note_padding(cfg.padding, self._weight)
        self.round_to(cfg.rounding)
        self.code_exactly(cfg.M, cfg.variable_rate)

    @classmethod
    def configure(cls, N: int, M: int, groups: Sequence[int] | None, **options: Any) -> ELICConfig:
        """What the arguments of the class ask for."""
        return ELICConfig(N, M, tuple(groups or ()), **options)

    def nest(self, entropy: Entropy) -> nn.Module:
        """The tree of the entropy model, with a prior of z."""
        groups = {
            f"y{k}": nn.ModuleDict(
                {"context_prediction": spatial, "entropy_parameters": layers, "y": Excerpt()}
            )
            for k, (spatial, layers) in enumerate(entropy.groups)
        }
        channel = {f"y{k}": layers for k, layers in enumerate(entropy.channel, 1)}
        y = {"latent_codec": nn.ModuleDict(groups), "channel_context": nn.ModuleDict(channel)}
        prior = Quantiles(self.config.hyper_width)
        hyper = {"h_a": entropy.h_a, "h_s": entropy.h_s, "entropy_bottleneck": prior}
        return nn.ModuleDict({"y": nn.ModuleDict(y), "hyper": nn.ModuleDict(hyper)})

    def group(self, k: int) -> Any:
        """Group k: ``context_prediction`` and ``entropy_parameters``."""
        return self.get_submodule(f"latent_codec.y.latent_codec.y{k}")

    def channel_context(self, k: int) -> Any:
        """What group k, not the first, sees of the groups before it."""
        return self.get_submodule(f"latent_codec.y.channel_context.y{k}")

    @property
    def h_a(self) -> Any:
        """Hyper encoder."""
        return self.get_submodule("latent_codec.hyper.h_a")

    @property
    def h_s(self) -> Any:
        """Hyper decoder."""
        return self.get_submodule("latent_codec.hyper.h_s")

    @property
    def entropy_bottleneck(self) -> Any:
        """Prior of z."""
        return self.get_submodule("latent_codec.hyper.entropy_bottleneck")

    @staticmethod
    def _analysis_layers(cfg: ELICConfig) -> nn.Sequential:
        layers: list[nn.Module] = []
        for i, (n_in, n_out) in enumerate(pairwise((3, *cfg.widths, cfg.M))):
            layers.append(conv(n_in, n_out))
            if i < 3:
                layers += [BottleneckBlock(n_out, convolution, True) for _ in range(cfg.blocks)]
            if i in (1, 3):
                width = cfg.attention_inner(n_out)
                layers.append(AttentionBlock(n_out, convolution, True, width))
        return nn.Sequential(*layers)

    def _synthesis_layers(self, cfg: ELICConfig) -> nn.Sequential:
        def layer(n_in: int, n_out: int, kernel: int) -> nn.Module:
            return self._layer(n_in, n_out, kernel, cfg, cfg.shift)

        def attention(channels: int) -> nn.Module:
            width = cfg.attention_inner(channels)
            if cfg.attention:
                return AttentionBlock(channels, layer, cfg.relu, width)
            return AttentionBlock(channels, convolution, True, width)

        layers = [attention(cfg.M)]
        for i, (n_in, n_out) in enumerate(pairwise((cfg.M, *cfg.widths[::-1], 3))):
            layers.append(self._up(n_in, n_out, cfg))
            if i == 1:
                layers.append(attention(n_out))
            if i < 3:
                layers += [BottleneckBlock(n_out, layer, cfg.relu) for _ in range(cfg.blocks)]
        return nn.Sequential(*layers)

    def _group(self, cfg: ELICConfig, k: int) -> tuple[nn.Module, nn.Sequential]:
        """Spatial context and parameter aggregation of group k."""
        group = cfg.groups[k]
        stages = (cfg.inputs()[k], *cfg.parameter_widths[k], 2 * group)
        aggregation = chain([nn.Conv2d(*pair, 1) for pair in pairwise(stages)], True)
        return self._spatial_context(group, cfg.spatial_out[k]), aggregation

    def _channel_context(self, cfg: ELICConfig, k: int) -> nn.Sequential:
        stages = (sum(cfg.groups[:k]), *cfg.channel_widths, cfg.channel_out[k - 1])
        sizes = zip(pairwise(stages), cfg.channel_kernels, strict=True)
        layers = [self._layer(n_in, n_out, kernel, cfg) for (n_in, n_out), kernel in sizes]
        return chain(layers, cfg.relu)

    @staticmethod
    def _layer(
        n_in: int, n_out: int, kernel: int, cfg: ELICConfig, shift: str = "none"
    ) -> nn.Module:
        return PaLaConv2d(n_in, n_out, kernel, shift=SHIFTS[shift], padding_mode=cfg.padding)

    @staticmethod
    def _up(n_in: int, n_out: int, cfg: ELICConfig) -> nn.Module:
        shift = SHIFTS[cfg.shift]
        return PaLaConvTranspose2d(n_in, n_out, 5, stride=2, shift=shift, padding_mode=cfg.padding)

    @staticmethod
    def _spatial_context(n_in: int, n_out: int) -> nn.Module:
        return CheckerboardPaLaConv2d(n_in, n_out)

    def predict(self, y: Tensor, hyper: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        rows, columns = (torch.arange(side, device=y.device) for side in y.shape[2:])
        # Anchors, the positions of even row + column, have no spatial context.
        others = ((rows[:, None] + columns) % 2).to(y.dtype)
        known: list[Tensor] = []
        predicted: list[Tensor] = []
        for k, here in enumerate(y.split(self.groups, dim=1)):
            features = [hyper]
            if k:
                features.insert(0, self.channel_context(k)(torch.cat(known, dim=1)))
            parameters = self._group_parameters(k, here, features, others)
            known.append(self._rounded_through(here, parameters))
            predicted.append(parameters)
        halves = zip(*(parameters.chunk(2, 1) for parameters in predicted), strict=True)
        scales, means = (torch.cat(half, dim=1) for half in halves)
        return torch.cat(known, dim=1), scales, means

    def _group_parameters(
        self, k: int, y: Tensor, features: list[Tensor], others: Tensor
    ) -> Tensor:
        """Deviations and means of group k (B, 2·C, H, W), from its latents before rounding.

        Args:
            k, y: the group and its latents (B, C, H, W).
            features: what is known of it before its latents.
            others: (H, W), 0 at anchors and 1 elsewhere.
        """
        spatial, layers = self.group(k).context_prediction, self.group(k).entropy_parameters
        if self.rounding == "means":
            nothing = y.new_zeros(len(y), spatial.out_channels, *y.shape[2:])
            blind = layers(torch.cat((nothing, *features), dim=1))
            anchors = self._rounded_through(y, blind)
        else:
            anchors = rounded_through(y)
        # The others see anchors only, so what stands elsewhere does not matter.
        return layers(torch.cat((others * spatial(anchors), *features), dim=1))

    def _rounded_through(self, y: Tensor, parameters: Tensor) -> Tensor:
        """Latents (B, C, H, W) as they will be decoded, from their deviations and means."""
        if self.rounding == "integers":
            return rounded_through(y)
        means = parameters.chunk(2, 1)[1]
        return rounded_through(y - means) + means

    def walk(self, select: Select) -> CheckerboardWalk:
        return checkerboard_walk(self, select)

    def predictors(self) -> list[nn.Module]:
        return [self.group(k).entropy_parameters[-1] for k in range(len(self.groups))]

    @classmethod
    def config_of(cls, state_dict: Mapping[str, Tensor]) -> ELICConfig:
        return read_config(state_dict, cls._weight)


class ELIC2022Coder(ELICCoder):
    """The same codec of CompressAI's own layers: convolutions and ReLUs, three blocks a stage.

    :class:`.ELIC2022` is the model to train.

    Raises:
        ValueError: options that convolutions do not have (a shift, another padding, Padé layers in
            the attention), or no ReLUs.
    """

    _weight = "weight"

    @classmethod
    def configure(cls, N: int, M: int, groups: Sequence[int] | None, **options: Any) -> ELICConfig:
        fixed = {"relu": True, "shift": "none", "padding": "zeros", "attention": False}
        options = {"blocks": 3, **fixed, **options}
        if any(options[name] != value for name, value in fixed.items()):
            raise ValueError(
                "convolutions come with ReLU, without shift and padded with zeros; attention must "
                "be off"
            )
        return super().configure(N, M, groups, **options)

    @staticmethod
    def _layer(
        n_in: int, n_out: int, kernel: int, cfg: ELICConfig, shift: str = "none"
    ) -> nn.Module:
        return convolution(n_in, n_out, kernel)

    @staticmethod
    def _up(n_in: int, n_out: int, cfg: ELICConfig) -> nn.Module:
        return deconv(n_in, n_out)

    @staticmethod
    def _spatial_context(n_in: int, n_out: int) -> nn.Module:
        # Without a denominator: CompressAI's CheckerboardMaskedConv2d, without its hidden weights.
        return CheckerboardPaLaConv2d(n_in, n_out, degrees=(1, 0))


def _hyper_networks(cfg: ELICConfig) -> tuple[nn.Sequential, nn.Sequential]:
    """h_a and h_s."""
    width = cfg.hyper_width
    stages = (width, *cfg.hyper_synthesis, cfg.hyper_out)
    options = ({"kernel_size": 5, "stride": 2},) * 2 + ({"kernel_size": 3, "stride": 1},)
    ups = [deconv(*pair, **how) for pair, how in zip(pairwise(stages), options, strict=True)]
    downs = [conv(cfg.M, width, kernel_size=3, stride=1), conv(width, width), conv(width, width)]
    return chain(downs, True), chain(ups, True)
