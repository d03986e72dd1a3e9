"""The networks of super-resolution: one residual network, eight kinds of neurons in its blocks.

"Padé Neurons for Efficient Neural Models", IV-A1 and Tables II to VII.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, get_args

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import weight_norm

from paoncodec.errors import UsageError
from paoncodec.layers import PAU, ElementShift, Kind, PaLaConv2d, PaLaDeformConv2d
from paoncodec.layers.base import PaLa, require_at_least
from paoncodec.vision.parts import SHIFTS, drop_bias

#: What may stand between the two layers of a block.
ACTIVATIONS = ("none", "gelu", "pau")
SCALES = (2, 4)
#: Values of images and features that the residual branch starts with, of its full size (IV-A1).
_BRANCH_START = 0.1

_WIDE = {"degrees": (1, 0), "width": 2}
_DEFORMABLE = {**_WIDE, "bias": False, "norm_blocks": False, "norm_upsampler": False}
_GENERATIVE = {"degrees": (2, 0)}
_PADE = {"degrees": (1, 1), "shift": "element-1"}

#: Table IV: name → options of :class:`SuperResNet`.
NETWORKS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "resnet": _WIDE,
        "dcn-1x1": {**_DEFORMABLE, "shift": "element-1"},
        "dcn-3x3": {**_DEFORMABLE, "shift": "element-3"},
        "pau-net": {**_WIDE, "activation": "pau"},
        "self-onn": _GENERATIVE,
        "super-onn": {**_GENERATIVE, "shift": "static", "norm_blocks": False},
        "padenet": _PADE,
        "padenet-id": {**_PADE, "activation": "none"},
    }
)


class SuperResNet(nn.Module):
    """(B, 3, H, W) → (B, 3, scale·H, scale·W), both with values of [-1, 1] as their range.

    A convolution to the features; residual blocks and a convolution, added to the first features;
    ×2 up-samplers (convolution to four times the channels, GELU, PixelShuffle); a convolution to
    the picture. All borders are replicated.

    Args:
        scale: 2 or 4, by one or two up-samplers.
        blocks: R, residual blocks.
        channels: of the features.
        width: w, by which a block is wider inside: 1 is an RB, 2 a WRB.
        degrees, kind: of the blocks' layers (:class:`.PadeSpec`).
        activation: between the two layers of a block, one of :data:`ACTIVATIONS`; PAU is [7/6].
        shift: of the blocks' layers, one of :data:`.SHIFTS`.
        shared_upsampler: ×4 is the same ×2 up-sampler twice (Tables VI and VII).
        bias: whether the blocks' layers have a0.
        norm_blocks, norm_upsampler: weight normalisation (Salimans and Kingma, 2016) of these
            layers, an option of the published layer code. The paper does not speak of it; with
            :data:`NETWORKS` as they are, the numbers of parameters are those of its tables.

    Raises:
        ValueError: a value is out of range.
    """

    def __init__(
        self,
        scale: int = 4,
        blocks: int = 3,
        channels: int = 48,
        width: int = 1,
        degrees: tuple[int, int] = (1, 1),
        kind: Kind = "smooth",
        activation: str = "gelu",
        shift: str = "none",
        shared_upsampler: bool = False,
        bias: bool = True,
        norm_blocks: bool = True,
        norm_upsampler: bool = True,
    ) -> None:
        super().__init__()
        require_at_least(1, blocks=blocks, channels=channels, width=width)
        for name, value, legal in (
            ("scale", scale, SCALES),
            ("kind", kind, get_args(Kind)),
            ("activation", activation, ACTIVATIONS),
            ("shift", shift, tuple(SHIFTS)),
        ):
            if value not in legal:
                raise ValueError(f"{name} {value!r}: choose one of {', '.join(map(str, legal))}")
        if len(degrees) != 2:
            raise ValueError(f"degrees {degrees!r}: two, K and L")
        self.scale = scale
        self.config = {
            "scale": scale,
            "blocks": blocks,
            "channels": channels,
            "width": width,
            "degrees": list(degrees),
            "kind": kind,
            "activation": activation,
            "shift": shift,
            "shared_upsampler": shared_upsampler,
            "bias": bias,
            "norm_blocks": norm_blocks,
            "norm_upsampler": norm_upsampler,
        }

        def layer(wide_in: int, wide_out: int) -> PaLa:
            made = _layer(wide_in, wide_out, (degrees[0], degrees[1]), kind, shift)
            if not bias:
                drop_bias(made)
            return normalised(made) if norm_blocks else made

        def block() -> ResidualBlock:
            inner = width * channels
            ends = layer(channels, inner), layer(inner, channels)
            return ResidualBlock(ends[0], _activation(activation), ends[1])

        self.first = _plain(3, channels)
        self.blocks = nn.Sequential(*(block() for _ in range(blocks)))
        self.fuse = _plain(channels, channels)
        distinct = 1 if shared_upsampler else scale.bit_length() - 1
        self.upsamplers = nn.ModuleList(
            _upsampler(channels, norm_upsampler) for _ in range(distinct)
        )
        self.last = _plain(channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) → (B, 3, scale·H, scale·W)."""
        # A normalised weight is asked for again by each part of a batch.
        with parametrize.cached():
            features = self.first(x)
            features = features + self.fuse(self.blocks(features))
            for step in range(self.scale.bit_length() - 1):
                features = self.upsamplers[step % len(self.upsamplers)](features)
            return self.last(features)


class ResidualBlock(nn.Module):
    """``x + s · layer(activation(layer(x)))``, a learned s for each channel: Fig. 3."""

    def __init__(self, first: nn.Module, activation: nn.Module, second: PaLa) -> None:
        super().__init__()
        self.branch = nn.Sequential(first, activation, second)
        self.size = nn.Parameter(torch.full((second.out_channels, 1, 1), _BRANCH_START))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → the same."""
        return x + self.size * self.branch(x)


def build(name: str, options: Mapping[str, Any] = MappingProxyType({})) -> SuperResNet:
    """A new network of :data:`NETWORKS`, some of its options replaced.

    Raises:
        UsageError: no such network, or options it does not take.
    """
    if name not in NETWORKS:
        raise UsageError(f"network {name!r}: choose one of {', '.join(NETWORKS)}")
    try:
        return SuperResNet(**{**NETWORKS[name], **options})
    except (TypeError, ValueError) as error:
        raise UsageError(f"network {name}: {error}") from error


def normalised(layer: PaLa) -> PaLa:
    """The layer with weight-normalised polynomials: each output's length and direction apart."""
    for name in ("numerator", "denominator"):
        weight = getattr(layer, name)
        if weight is not None:
            _normalise(layer, name, weight)
    return layer


def _normalise(layer: nn.Module, name: str, weight: Tensor) -> None:
    """Rows that start at 0, as those of higher degrees do, have length 0 and some direction."""
    zero = weight.detach().flatten(1).norm(dim=1) == 0
    with torch.no_grad():
        weight[zero] = torch.randn_like(weight[zero])
    weight_norm(layer, name)
    length = getattr(layer.parametrizations, name).original0
    with torch.no_grad():
        length[zero] = 0


def _layer(
    wide_in: int, wide_out: int, degrees: tuple[int, int], kind: Kind, shift: str
) -> PaLaConv2d | PaLaDeformConv2d:
    spec = SHIFTS[shift]
    if isinstance(spec, ElementShift):
        return PaLaDeformConv2d(wide_in, wide_out, 3, degrees=degrees, kind=kind, shift=spec)
    return PaLaConv2d(wide_in, wide_out, 3, degrees=degrees, kind=kind, shift=spec)


def _plain(wide_in: int, wide_out: int) -> PaLaConv2d:
    """An ordinary convolution: outside the blocks all networks have the same."""
    return PaLaConv2d(wide_in, wide_out, 3, degrees=(1, 0))


def _activation(name: str) -> nn.Module:
    if name == "gelu":
        return nn.GELU()
    return PAU() if name == "pau" else nn.Identity()


def _upsampler(channels: int, norm: bool) -> nn.Sequential:
    layer = _plain(channels, 4 * channels)
    return nn.Sequential(normalised(layer) if norm else layer, nn.GELU(), nn.PixelShuffle(2))
