"""The networks of ELIC-Paon, a codec of uneven channel groups with Padé neurons.

"Padé Neurons for Efficient Neural Models", IV-B, on CompressAI's form of He et al., "ELIC:
Efficient Learned Image Compression with Unevenly Grouped Space-Channel Contextual Adaptive Coding"
(2022).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
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
from paoncodec.coding.exact_codec import (
    PADDINGS,
    SHIFTS,
    ExactCodec,
    Excerpt,
    Padding,
    Quantiles,
    padding_of,
    shift_of,
)
from paoncodec.coding.exact_elic import checkerboard_walk
from paoncodec.entropy import CheckerboardWalk, Select
from paoncodec.layers import CheckerboardPaLaConv2d, PaLaConv2d, PaLaConvTranspose2d


@dataclass(frozen=True)
class ELICConfig:
    """Sizes and options of an ELIC-Paon. The defaults are the paper's (IV-B).

    A width of 0 or () stands for its default, and is replaced by it.

    Args:
        N: channels of the transforms' inner stages and of z; widths[0] where widths are given.
        M: channels of the latents y.
        groups: channels of y's groups, M in all; default (16, 16, 32, 64, M - 128).
        widths: channels of the three inner stages of g_a (g_s mirrors them); default (N, N, N).
        hyper_width: channels of h_a and of z; default N.
        hyper_synthesis: the two inner widths of h_s; default (N, 3N/2).
        hyper_out: channels h_s hands to the parameter aggregation; default 2N.
        spatial_out: channels each group's spatial context hands to it; default twice the group's.
        channel_widths: inner widths of the channel contexts.
        channel_kernels: sides of their kernels, one more than there are inner widths; odd.
        channel_out: channels that the channel context of each group but the first hands to the
            aggregation; default twice the group's.
        parameter_widths: the two inner widths of each group's aggregation; default a third and two
            thirds of the way from its inputs to its outputs, at least hyper_out.
        blocks: residual bottleneck blocks a stage (ELIC has 3).
        attention: attention blocks of g_s of Padé layers too.
        attention_width: most channels inside the residual units of the attention blocks, of g_a
            and g_s; 0 for half of each block's, as ELIC has it.
        relu: keep the ReLUs where Padé layers replace convolutions (to start from weights of
            CompressAI's model).
        shift: ``"none"``, ``"static"`` (within one pixel) or ``"predicted"`` (per image), for every
            Padé layer of g_s; contexts have none.
        padding: what the Padé layers of g_s and of the channel contexts see outside their maps,
            ``"replicate"`` (the border) or ``"zeros"``, as convolutions do.
        variable_rate: one network for all qualities, by a :class:`.GainUnit`.

    Raises:
        ValueError: sizes, a shift or a padding that do not exist or do not fit.
    """

    N: int = 192
    M: int = 320
    groups: tuple[int, ...] = ()
    widths: tuple[int, ...] = ()
    hyper_width: int = 0
    hyper_synthesis: tuple[int, ...] = ()
    hyper_out: int = 0
    spatial_out: tuple[int, ...] = ()
    channel_widths: tuple[int, ...] = (224, 128)
    channel_kernels: tuple[int, ...] = (5, 5, 5)
    channel_out: tuple[int, ...] = ()
    parameter_widths: tuple[tuple[int, ...], ...] = ()
    blocks: int = 1
    attention: bool = False
    attention_width: int = 0
    relu: bool = False
    shift: str = "predicted"
    padding: Padding = "replicate"
    variable_rate: bool = False

    def __post_init__(self) -> None:
        n, m = self.N, self.M
        self._default("groups", (16, 16, 32, 64, m - 128))
        self._default("widths", (n, n, n))
        self._default("hyper_width", n)
        self._default("hyper_synthesis", (n, n * 3 // 2))
        self._default("hyper_out", 2 * n)
        twice = tuple(2 * g for g in self.groups)
        self._default("spatial_out", twice)
        self._default("channel_out", twice[1:])
        for name in ("channel_widths", "channel_kernels"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        object.__setattr__(self, "N", self.widths[0])
        self._check()
        self._default("parameter_widths", tuple(self._ramps()))
        self._check_parameter_widths()

    def _default(self, name: str, default: Any) -> None:
        value = getattr(self, name) or default
        object.__setattr__(self, name, value if isinstance(value, int) else _tuples(value))

    def inputs(self) -> list[int]:
        """Channels that enter each group's parameter aggregation."""
        channel = (0, *self.channel_out)
        return [s + c + self.hyper_out for s, c in zip(self.spatial_out, channel, strict=True)]

    def attention_inner(self, channels: int) -> int:
        """Channels inside the residual units of an attention block of so many."""
        return min(self.attention_width or channels, channels // 2)

    def _ramps(self) -> Iterator[tuple[int, int]]:
        for n_in, group in zip(self.inputs(), self.groups, strict=True):
            n_out, least = 2 * group, self.hyper_out
            yield max(least, (2 * n_in + n_out) // 3), max(least, (n_in + 2 * n_out) // 3)

    def _check(self) -> None:
        count = len(self.groups)
        lengths = {
            "widths": 3,
            "hyper_synthesis": 2,
            "spatial_out": count,
            "channel_out": count - 1,
            "channel_kernels": len(self.channel_widths) + 1,
        }
        for name, length in lengths.items():
            if len(getattr(self, name)) != length:
                raise ValueError(f"{name} {getattr(self, name)}: expected {length} number(s)")
        for name in ("groups", *lengths, "channel_widths", "hyper_width", "hyper_out", "blocks"):
            value = getattr(self, name)
            if min(value if isinstance(value, tuple) else (value,), default=1) < 1:
                raise ValueError(f"{name} {value}: each must be >= 1")
        if count < 2 or sum(self.groups) != self.M:
            raise ValueError(
                f"groups {self.groups}: give at least two, which add up to M, {self.M}"
            )
        if min(self.M, *self.widths) < 2:
            raise ValueError(f"widths {self.widths}, M {self.M}: bottlenecks halve them")
        if self.attention_width < 0:
            raise ValueError(f"attention_width {self.attention_width}: must be 0 or more")
        if any(kernel % 2 == 0 for kernel in self.channel_kernels):
            raise ValueError(f"channel_kernels {self.channel_kernels}: must be odd")
        if self.shift not in SHIFTS:
            raise ValueError(f"shift {self.shift!r}: choose one of {', '.join(SHIFTS)}")
        if self.padding not in PADDINGS:
            raise ValueError(f"padding {self.padding!r}: choose one of {', '.join(PADDINGS)}")

    def _check_parameter_widths(self) -> None:
        pairs = self.parameter_widths
        if len(pairs) != len(self.groups) or any(len(p) != 2 or min(p) < 1 for p in pairs):
            raise ValueError(
                f"parameter_widths {pairs}: expected a pair for each group, each width >= 1"
            )

    def to_json(self) -> dict[str, Any]:
        """A dictionary that JSON can hold and ``ELICConfig(**d)`` reads back."""
        return asdict(self)


def _tuples(value: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(v if isinstance(v, int) else tuple(v) for v in value)


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
    them; y is rounded to integers, not to integers around its means, so an encoder knows all of it
    at once.

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

    def predict(self, y_hat: Tensor, hyper: Tensor) -> tuple[Tensor, Tensor]:
        first = 0
        rows, columns = (torch.arange(side, device=y_hat.device) for side in y_hat.shape[2:])
        # Anchors, the positions of even row + column, have no spatial context.
        others = ((rows[:, None] + columns) % 2).to(y_hat.dtype)
        scales: list[Tensor] = []
        means: list[Tensor] = []
        for k, channels in enumerate(self.groups):
            here = self.group(k)
            contexts = [others * here.context_prediction(y_hat[:, first : first + channels])]
            if k:
                contexts.append(self.channel_context(k)(y_hat[:, :first]))
            parameters = here.entropy_parameters(torch.cat((*contexts, hyper), dim=1))
            for part, half in zip((scales, means), parameters.chunk(2, 1), strict=True):
                part.append(half)
            first += channels
        return torch.cat(scales, dim=1), torch.cat(means, dim=1)

    def walk(self, select: Select) -> CheckerboardWalk:
        return checkerboard_walk(self, select)

    def predictors(self) -> list[nn.Module]:
        return [self.group(k).entropy_parameters[-1] for k in range(len(self.groups))]

    @classmethod
    def config_of(cls, state_dict: Mapping[str, Tensor]) -> ELICConfig:
        return _config_of(state_dict, cls._weight)


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


def _config_of(state: Mapping[str, Tensor], weight: str) -> ELICConfig:
    ups = _numbered(state, "g_s", weight)
    downs = _numbered(state, "g_a", "weight")
    if len(ups) != 4 or len(downs) != 4:
        raise ValueError("not the state dict of an ELIC-Paon: it has other layers in g_a or g_s")
    *widths, latents = (state[name].shape[0] for name in downs)
    y, hyper = "latent_codec.y.latent_codec.y", "latent_codec.hyper.h_"
    count = sum(1 for name in state if re.fullmatch(rf"{y}\d+\.entropy_parameters\.4\.bias", name))
    each = range(count)
    contexts = [_numbered(state, f"latent_codec.y.channel_context.y{k}", weight) for k in each[1:]]
    attentions = [state[name].shape for name in _numbered(state, "g_a", "conv_a.0.conv.0.weight")]
    narrowed = any(shape[0] != shape[1] // 2 for shape in attentions)
    # All channel contexts have the same inner layers.
    inner = [state[name].shape for name in (contexts[0] if contexts else ())]
    return ELICConfig(
        N=widths[0],
        M=latents,
        groups=tuple(state[f"{y}{k}.entropy_parameters.4.bias"].shape[0] // 2 for k in each),
        widths=tuple(widths),
        hyper_width=state[f"{hyper}a.4.weight"].shape[0],
        hyper_synthesis=tuple(state[f"{hyper}s.{i}.weight"].shape[1] for i in (0, 2)),
        hyper_out=state[f"{hyper}s.4.weight"].shape[1],
        spatial_out=tuple(state[f"{y}{k}.context_prediction.bias"].shape[0] for k in each),
        channel_widths=tuple(shape[0] for shape in inner[:-1]),
        channel_kernels=tuple(shape[2] for shape in inner),
        channel_out=tuple(state[names[-1]].shape[0] for names in contexts),
        parameter_widths=tuple(
            tuple(state[f"{y}{k}.entropy_parameters.{i}.bias"].shape[0] for i in (0, 2))
            for k in each
        ),
        blocks=len(_numbered(state, "g_a", "conv1.weight")) // 3,
        attention="g_s.0.conv_b.3.numerator" in state,
        attention_width=max(shape[0] for shape in attentions) if narrowed else 0,
        relu=weight == "weight" or "relus_kept" in state,
        shift=shift_of(state, ups[0].removesuffix(weight)),
        padding=padding_of(state, weight),
        variable_rate="gain.log_gain" in state,
    )


def _numbered(state: Mapping[str, Tensor], chain: str, end: str) -> list[str]:
    """Names of the tensors ``end`` of a sequence's layers, in their order."""
    pattern = re.compile(rf"{re.escape(chain)}\.(\d+)\.{re.escape(end)}")
    found = {int(m[1]): m[0] for m in map(pattern.fullmatch, state) if m}
    return [found[i] for i in sorted(found)]
