"""The networks of MBT-Paon, an autoregressive and hierarchical codec of Padé neurons.

"Padé Neurons for Efficient Neural Models", IV-B, on CompressAI's form of Minnen, Ballé and
Toderici, "Joint Autoregressive and Hierarchical Priors for Learned Image Compression" (2018).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from paoncodec.coding.blocks import conv, deconv
from paoncodec.coding.compressai_layers import gdn
from paoncodec.coding.exact_codec import (
    SHIFTS,
    ExactCodec,
    Excerpt,
    Padding,
    Quantiles,
    check_options,
    padding_of,
    shift_of,
)
from paoncodec.coding.exact_mbt import causal_walk
from paoncodec.entropy import CausalWalk, Select
from paoncodec.layers import CausalConv2d, PaLaConv2d, PaLaConvTranspose2d
from paoncodec.layers.rounding import rounded_through


@dataclass(frozen=True)
class MBTConfig:
    """Sizes and options of an MBT-Paon. The defaults are the paper's (IV-B).

    A width of 0 or () stands for its default, and is replaced by it.

    Args:
        N: channels of the transforms' inner stages and of z; widths[0] where widths are given.
        M: channels of the latents y.
        widths: channels of the three inner stages of g_a (g_s mirrors them); default (N, N, N).
        hyper_width: channels of h_a and of z; default N.
        hyper_synthesis: the two inner widths of h_s; default (M, 3M/2).
        hyper_out: channels h_s hands to the entropy parameters; default 2M.
        context_width: channels the masked context convolution hands to them; default 2M.
        parameter_widths: the two inner widths of the entropy parameters; default (10M/3, 8M/3).
        gdn: generalised divisive normalisation between the stages (the paper does without).
        shift: ``"none"``, ``"static"`` (within one pixel) or ``"predicted"`` (per image), for every
            Padé layer of g_a and g_s.
        padding: what those layers see outside their maps, ``"replicate"`` (the border) or
            ``"zeros"``, as CompressAI's convolutions.
        variable_rate: one network for all qualities, by a :class:`.GainUnit`.

    Raises:
        ValueError: a width below 1, or an unknown shift or padding.
    """

    N: int = 192
    M: int = 192
    widths: tuple[int, ...] = ()
    hyper_width: int = 0
    hyper_synthesis: tuple[int, ...] = ()
    hyper_out: int = 0
    context_width: int = 0
    parameter_widths: tuple[int, ...] = ()
    gdn: bool = False
    shift: str = "predicted"
    padding: Padding = "replicate"
    variable_rate: bool = False

    def __post_init__(self) -> None:
        n, m = self.N, self.M
        defaults: dict[str, int | tuple[int, ...]] = {
            "widths": (n, n, n),
            "hyper_width": n,
            "hyper_synthesis": (m, m * 3 // 2),
            "hyper_out": 2 * m,
            "context_width": 2 * m,
            "parameter_widths": (m * 10 // 3, m * 8 // 3),
        }
        for name, default in defaults.items():
            value = getattr(self, name) or default
            object.__setattr__(self, name, value if isinstance(value, int) else tuple(value))
            wanted, given = _numbers(default), _numbers(getattr(self, name))
            if len(given) != len(wanted) or min(*given, n, m) < 1:
                raise ValueError(f"{name} {value!r}: expected {len(wanted)} width(s), each >= 1")
        object.__setattr__(self, "N", self.widths[0])
        check_options(self.shift, self.padding)

    def to_json(self) -> dict[str, Any]:
        """A dictionary that JSON can hold and ``MBTConfig(**d)`` reads back."""
        return asdict(self)


def _numbers(value: int | tuple[int, ...]) -> tuple[int, ...]:
    return (value,) if isinstance(value, int) else value


class MBTCoder(ExactCodec):
    """MBT-Paon, to code pictures with; :class:`.MBTPaon` is the model to train.

    Every convolution of g_a and g_s is a Padé layer of degrees [1/1] (5×5, stride 2); hyper,
    context and parameter networks are classical.

    Args:
        N, M: numbers of channels, as in CompressAI.
        **options: the other fields of :class:`MBTConfig`.

    Shapes: x (B, 3, H, W) in [0, 1] with H and W multiples of 64; y (B, M, H/16, W/16);
    z (B, hyper_width, H/64, W/64). :class:`.ExactCodec` says what ``quality`` is.
    """

    config: MBTConfig
    h_a: nn.Sequential
    h_s: nn.Sequential
    entropy_bottleneck: nn.Module

    def __init__(self, N: int = 192, M: int = 192, **options: Any) -> None:
        super().__init__()
        self.assemble(N, M, **options)
        self.entropy_bottleneck = Quantiles(self.config.hyper_width)
        self.add_module("gaussian_conditional", Excerpt())

    def assemble(self, N: int, M: int, **options: Any) -> None:
        """Adds all networks; the prior of z is left to the caller."""
        self.config = cfg = self.configure(N, M, **options)
        self.N, self.M = cfg.N, cfg.M
        stages = (3, *cfg.widths, cfg.M)
        self.g_a = _transform(self._down, stages, cfg, inverse=False)
        self.g_s = _transform(self._up, stages[::-1], cfg, inverse=True)
        m, h = cfg.M, cfg.hyper_width
        self.h_a = nn.Sequential(
            conv(m, h, stride=1, kernel_size=3),
            nn.LeakyReLU(),
            conv(h, h),
            nn.LeakyReLU(),
            conv(h, h),
        )
        first, second = cfg.hyper_synthesis
        self.h_s = nn.Sequential(
            deconv(h, first),
            nn.LeakyReLU(),
            deconv(first, second),
            nn.LeakyReLU(),
            conv(second, cfg.hyper_out, stride=1, kernel_size=3),
        )
        self.context_prediction = CausalConv2d(m, cfg.context_width)
        first, second = cfg.parameter_widths
        self.entropy_parameters = nn.Sequential(
            nn.Conv2d(cfg.hyper_out + cfg.context_width, first, 1),
            nn.LeakyReLU(),
            nn.Conv2d(first, second, 1),
            nn.LeakyReLU(),
            nn.Conv2d(second, 2 * m, 1),
        )
        self.note_padding(cfg.padding, self._weight)
        self.code_exactly(m, cfg.variable_rate)

    #: What the names of the transforms' weights end in.
    _weight = "numerator"

    @staticmethod
    def _down(n_in: int, n_out: int, cfg: MBTConfig) -> nn.Module:
        shift = SHIFTS[cfg.shift]
        return PaLaConv2d(n_in, n_out, 5, stride=2, shift=shift, padding_mode=cfg.padding)

    @staticmethod
    def _up(n_in: int, n_out: int, cfg: MBTConfig) -> nn.Module:
        shift = SHIFTS[cfg.shift]
        return PaLaConvTranspose2d(n_in, n_out, 5, stride=2, shift=shift, padding_mode=cfg.padding)

    @classmethod
    def configure(cls, N: int, M: int, **options: Any) -> MBTConfig:
        """What the arguments of the class ask for."""
        return MBTConfig(N, M, **options)

    def predict(self, y: Tensor, hyper: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y_hat = rounded_through(y)
        params = torch.cat((hyper, self.context_prediction(y_hat)), dim=1)
        scales, means = self.entropy_parameters(params).chunk(2, 1)
        return y_hat, scales, means

    def walk(self, select: Select) -> CausalWalk:
        return causal_walk(self, select)

    def predictors(self) -> list[nn.Module]:
        return [self.entropy_parameters[-1]]

    @classmethod
    def config_of(cls, state_dict: Mapping[str, Tensor]) -> MBTConfig:
        return _config_of(state_dict, cls._weight)


class MBT2018Coder(MBTCoder):
    """The same codec with CompressAI's own transforms: convolutions with GDN between them.

    :class:`.MBT2018` is the model to train.

    Raises:
        ValueError: options that convolutions do not have (a shift, another padding), or no GDN.
    """

    _weight = "weight"

    @classmethod
    def configure(cls, N: int, M: int, **options: Any) -> MBTConfig:
        fixed = {"gdn": True, "shift": "none", "padding": "zeros"}
        options = {**fixed, **options}
        if any(options[name] != value for name, value in fixed.items()):
            raise ValueError("convolutions come with GDN, without shift and padded with zeros")
        return super().configure(N, M, **options)

    @staticmethod
    def _down(n_in: int, n_out: int, cfg: MBTConfig) -> nn.Module:
        return conv(n_in, n_out)

    @staticmethod
    def _up(n_in: int, n_out: int, cfg: MBTConfig) -> nn.Module:
        return deconv(n_in, n_out)


def _transform(
    layer: Callable[[int, int, MBTConfig], nn.Module],
    stages: tuple[int, ...],
    cfg: MBTConfig,
    inverse: bool,
) -> nn.Sequential:
    steps: list[nn.Module] = []
    for i, (n_in, n_out) in enumerate(pairwise(stages)):
        steps.append(layer(n_in, n_out, cfg))
        if cfg.gdn and i < len(stages) - 2:
            steps.append(gdn(n_out, inverse))
    return nn.Sequential(*steps)


def _config_of(state: Mapping[str, Tensor], weight: str) -> MBTConfig:
    layers = [k for k in state if re.fullmatch(rf"g_a\.\d+\.{weight}", k)]
    layers.sort(key=lambda k: int(k.split(".")[1]))
    if len(layers) != len(MBTConfig().widths) + 1:
        raise ValueError("not the state dict of an MBT-Paon: it has other layers in g_a")
    *widths, latents = (state[k].shape[0] for k in layers)
    return MBTConfig(
        N=widths[0],
        M=latents,
        widths=tuple(widths),
        hyper_width=state["h_a.4.weight"].shape[0],
        hyper_synthesis=(state["h_s.0.weight"].shape[1], state["h_s.2.weight"].shape[1]),
        hyper_out=state["h_s.4.weight"].shape[0],
        context_width=state["context_prediction.weight"].shape[0],
        parameter_widths=(
            state["entropy_parameters.0.weight"].shape[0],
            state["entropy_parameters.2.weight"].shape[0],
        ),
        gdn="g_a.1.beta" in state,
        shift=shift_of(state, layers[0].removesuffix(weight)),
        padding=padding_of(state, weight),
        variable_rate="gain.log_gain" in state,
    )
