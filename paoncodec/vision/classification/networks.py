"""The networks of classification: a residual network of classic or of Padé neurons, and ResNets
with their PURe forms.

"Padé Neurons for Efficient Neural Models", IV-C1; "PURe: A Plug-and-Play Product-Unit Residual
Module for Vision Networks", 4.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, get_args

from torch import Tensor, nn

from paoncodec.errors import UsageError
from paoncodec.layers import ElementShift, Kind, PaLaConv2d, PaLaDeformConv2d, PaLaLinear
from paoncodec.layers.base import PaLa, require_at_least
from paoncodec.layers.pade import PaddingMode
from paoncodec.vision.classification.pure import (
    CIFAR_DEPTHS,
    IMAGENET_DEPTHS,
    PUReOptions,
    resnet,
    to_pure,
)
from paoncodec.vision.parts import SHIFTS, drop_bias

#: What may follow the first layer of a block, and its addition.
ACTIVATIONS = ("none", "relu")
#: The classes of CIFAR-10, in its order.
CIFAR10 = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)

_PADE = {"degrees": (1, 1)}
_SHIFTED = {**_PADE, "shift": "element-1"}

#: Table VIII: name → options of :class:`PadeResNet`.
NETWORKS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "resnet-3-3-3": {
            "blocks": (3, 3, 3),
            "degrees": (1, 0),
            "activation": "relu",
            "padding_mode": "zeros",
        },
        "pade-resnet-2-2-2": {**_PADE, "blocks": (2, 2, 2)},
        "pade-resnet-ii-2-2-2": {**_SHIFTED, "blocks": (2, 2, 2)},
        "pade-resnet-ii-1-1-2": {**_SHIFTED, "blocks": (1, 1, 2)},
    }
)

#: ResNets, of small pictures and torchvision's, and their PURe forms: name → options of
#: :class:`ResNet`.
PURE_NETWORKS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        f"{'pure-' if pure else ''}resnet{depth}": {"depth": depth, "pure": pure}
        for pure in (False, True)
        for depth in (*CIFAR_DEPTHS, *IMAGENET_DEPTHS)
    }
)


class PadeResNet(nn.Module):
    """(B, 3, H, W) with values of [-1, 1] as their range → (B, classes), logits.

    A 3×3 convolution to the first width; stages of residual blocks, each stage but the first of
    half the resolution and twice the width; the mean over all places; a fully connected layer.
    Batch normalisation follows each convolution.

    Args:
        blocks: of each stage.
        channels: of the first stage.
        degrees, kind: of all layers (:class:`.PadeSpec`); (1, 0) makes them classic.
        activation: after the first layer of a block and after its addition, and after the stem:
            one of :data:`ACTIVATIONS`.
        shift: of the convolutions inside blocks, one of :data:`.SHIFTS`.
        padding_mode: what convolutions see outside the picture (:class:`.PaLaConv2d`).
        bias: whether convolutions have a0. The paper's have not, since they are normalised.
        classes: their names.
        size: side of the pictures that it is for, pixels. Others pass through it, too.

    Raises:
        ValueError: a value is out of range.
    """

    def __init__(
        self,
        blocks: Sequence[int] = (2, 2, 2),
        channels: int = 16,
        degrees: tuple[int, int] = (1, 1),
        kind: Kind = "smooth",
        activation: str = "none",
        shift: str = "none",
        padding_mode: PaddingMode = "replicate",
        bias: bool = False,
        classes: Sequence[str] = CIFAR10,
        size: int = 32,
    ) -> None:
        super().__init__()
        require_at_least(1, channels=channels, size=size, blocks=min(blocks, default=0))
        for name, value, legal in (
            ("kind", kind, get_args(Kind)),
            ("activation", activation, ACTIVATIONS),
            ("shift", shift, tuple(SHIFTS)),
        ):
            if value not in legal:
                raise ValueError(f"{name} {value!r}: choose one of {', '.join(legal)}")
        if len(degrees) != 2:
            raise ValueError(f"degrees {degrees!r}: two, K and L")
        _require_classes(classes)
        self.classes = tuple(classes)
        self.size = size
        self.config = {
            "blocks": list(blocks),
            "channels": channels,
            "degrees": list(degrees),
            "kind": kind,
            "activation": activation,
            "shift": shift,
            "padding_mode": padding_mode,
            "bias": bias,
            "classes": list(classes),
            "size": size,
        }
        pair = (degrees[0], degrees[1])
        layer = partial(_Normalised, degrees=pair, kind=kind, padding_mode=padding_mode, bias=bias)
        inner = partial(layer, shift=shift)
        self.stem = layer(3, channels, 3)
        self.activation = nn.ReLU() if activation == "relu" else nn.Identity()
        stages: list[nn.Module] = []
        width = channels
        for stage, count in enumerate(blocks):
            for place in range(count):
                wider = channels << stage
                halves = stage > 0 and place == 0
                stages.append(ResidualBlock(inner, self.activation, width, wider, 1 + halves))
                width = wider
        self.blocks = nn.Sequential(*stages)
        self.head = PaLaLinear(width, len(classes), degrees=pair, kind=kind)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) of any floating-point format → (B, classes)."""
        features = self.activation(self.stem(x.to(self.head.bias.dtype)))
        return self.head(self.blocks(features).mean((2, 3)))


class ResidualBlock(nn.Module):
    """``a(layer(a(layer(x))) + shortcut(x))``, with a the activation.

    Args:
        layer: makes a normalised convolution.
        activation: a.
        wide_in, wide_out: channels.
        stride: of the first layer. Where the shape changes, the shortcut is a 1×1 convolution.
    """

    def __init__(
        self,
        layer: partial[_Normalised],
        activation: nn.Module,
        wide_in: int,
        wide_out: int,
        stride: int,
    ) -> None:
        super().__init__()
        self.first = layer(wide_in, wide_out, 3, stride)
        self.second = layer(wide_out, wide_out, 3)
        same = stride == 1 and wide_in == wide_out
        self.shortcut = nn.Identity() if same else layer(wide_in, wide_out, 1, stride)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) → (B, C_out, H / stride, W / stride), rounded up."""
        branch = self.second(self.activation(self.first(x)))
        return self.activation(branch + self.shortcut(x))


class _Normalised(nn.Sequential):
    """A Padé convolution and batch normalisation."""

    def __init__(
        self,
        wide_in: int,
        wide_out: int,
        kernel_size: int,
        stride: int = 1,
        *,
        degrees: tuple[int, int],
        kind: Kind,
        padding_mode: PaddingMode,
        bias: bool,
        shift: str = "none",
    ) -> None:
        spec = SHIFTS[shift]
        layer: PaLa
        if isinstance(spec, ElementShift):
            layer = PaLaDeformConv2d(
                wide_in,
                wide_out,
                kernel_size,
                stride,
                degrees=degrees,
                kind=kind,
                shift=spec,
                padding_mode=padding_mode,
            )
        else:
            layer = PaLaConv2d(
                wide_in,
                wide_out,
                kernel_size,
                stride,
                degrees=degrees,
                kind=kind,
                shift=spec,
                padding_mode=padding_mode,
            )
        if not bias:
            drop_bias(layer)
        super().__init__(layer, nn.BatchNorm2d(wide_out))


class ResNet(nn.Module):
    """(B, 3, H, W) with values of [-1, 1] as their range → (B, classes), logits.

    Args:
        depth: 18, 34, 50, 101 or 152 layers are torchvision's, 6n + 2 others those of
            :class:`.CifarResNet`.
        pure: whether its blocks have product units (:func:`.to_pure`).
        classes: their names.
        size: side of the pictures that it is for, pixels. Others pass through it, too.
        norm, bias, outer_relu: of its PURe form (:class:`.PUReOptions`).

    Raises:
        ValueError: a value is out of range.
    """

    def __init__(
        self,
        depth: int = 20,
        pure: bool = False,
        classes: Sequence[str] = CIFAR10,
        size: int = 32,
        norm: bool = True,
        bias: bool = True,
        outer_relu: bool = False,
    ) -> None:
        super().__init__()
        require_at_least(1, size=size)
        _require_classes(classes)
        self.classes = tuple(classes)
        self.size = size
        self.config = {
            "depth": depth,
            "pure": pure,
            "classes": list(classes),
            "size": size,
            "norm": norm,
            "bias": bias,
            "outer_relu": outer_relu,
        }
        host = resnet(depth, len(classes))
        options = PUReOptions(norm=norm, bias=bias, outer_relu=outer_relu)
        self.network = to_pure(host, options) if pure else host

    @property
    def any_size(self) -> bool:
        """Whether it is torchvision's, and takes the middle of picture files of any size."""
        return self.config["depth"] in IMAGENET_DEPTHS

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) of any floating-point format → (B, classes)."""
        return self.network(x.to(next(self.parameters()).dtype))


#: What the recipe trains.
Classifier = PadeResNet | ResNet


def build(name: str, options: Mapping[str, Any] = MappingProxyType({})) -> Classifier:
    """A new network of :data:`NETWORKS` or :data:`PURE_NETWORKS`, some of its options replaced.

    Raises:
        UsageError: no such network, or options it does not take.
    """
    every = {**NETWORKS, **PURE_NETWORKS}
    if name not in every:
        raise UsageError(f"network {name!r}: choose one of {', '.join(every)}")
    kind = PadeResNet if name in NETWORKS else ResNet
    try:
        return kind(**{**every[name], **options})
    except (TypeError, ValueError) as error:
        raise UsageError(f"network {name}: {error}") from error


def _require_classes(classes: Sequence[str]) -> None:
    if len(classes) < 2 or len(set(classes)) < len(classes):
        raise ValueError(f"classes {classes!r}: two or more, each of a name of its own")


def layer_count(model: PadeResNet) -> int:
    """Layers as the paper counts them: one after the other, so without those of shortcuts."""
    shortcuts = {
        id(layer)
        for block in model.modules()
        if isinstance(block, ResidualBlock)
        for layer in block.shortcut.modules()
    }
    return sum(isinstance(m, PaLa) and id(m) not in shortcuts for m in model.modules())
