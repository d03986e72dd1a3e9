"""Sizes and options of an ELIC-Paon, given or read from its weights."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from paoncodec.coding.exact_codec import (
    Padding,
    check_options,
    padding_of,
    rounding_of,
    shift_of,
)
from paoncodec.coding.exact_model import Rounding


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
        rounding: of y, to ``"integers"`` or to whole steps from its ``"means"``, as in CompressAI's
            model.

    Raises:
        ValueError: sizes, a shift, a padding or a rounding that do not exist or do not fit.
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
    rounding: Rounding = "integers"

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
        check_options(self.shift, self.padding, self.rounding)

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


def read_config(state: Mapping[str, Tensor], weight: str) -> ELICConfig:
    """The configuration of the model that has this state dict.

    Args:
        weight: what the names of g_s's weights end in.

    Raises:
        ValueError: it is of no such model.
    """
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
        rounding=rounding_of(state),
    )


def _numbered(state: Mapping[str, Tensor], chain: str, end: str) -> list[str]:
    """Names of the tensors ``end`` of a sequence's layers, in their order."""
    pattern = re.compile(rf"{re.escape(chain)}\.(\d+)\.{re.escape(end)}")
    found = {int(m[1]): m[0] for m in map(pattern.fullmatch, state) if m}
    return [found[i] for i in sorted(found)]
