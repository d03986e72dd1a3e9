"""Residual and attention blocks of ELIC, of convolutions or of Padé layers.

He et al., "ELIC: Efficient Learned Image Compression with Unevenly Grouped Space-Channel Contextual
Adaptive Coding" (2022); the attention is that of Cheng et al. (2020). What they compute and how
their parts are named is as in CompressAI, whose weights therefore fit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from paoncodec.layers import PaLaConv2d

#: (channels in, channels out, kernel size) → a layer that keeps the sides of its maps.
MakeLayer = Callable[[int, int, int], nn.Module]

#: At the start the mask lets 1 / (1 + e^5), less than a hundredth, of the branch through: enough
#: for a gradient, too little to be seen in a picture.
_CLOSED = -5.0


def convolution(n_in: int, n_out: int, kernel: int) -> nn.Module:
    """A convolution as CompressAI pads it, with zeros."""
    return nn.Conv2d(n_in, n_out, kernel, padding=kernel // 2)


def conv(n_in: int, n_out: int, kernel_size: int = 5, stride: int = 2) -> nn.Conv2d:
    """CompressAI's of this name: halves the sides of its maps."""
    return nn.Conv2d(n_in, n_out, kernel_size, stride, kernel_size // 2)


def deconv(n_in: int, n_out: int, kernel_size: int = 5, stride: int = 2) -> nn.ConvTranspose2d:
    """CompressAI's of this name: doubles the sides of its maps."""
    return nn.ConvTranspose2d(
        n_in, n_out, kernel_size, stride, kernel_size // 2, output_padding=stride - 1
    )


def chain(layers: Iterable[nn.Module], relu: bool) -> nn.Sequential:
    """The layers, with a ReLU between two of them where Padé neurons do not replace it."""
    first, *rest = layers
    steps = [first]
    for layer in rest:
        steps += [*_activation(relu), layer]
    return nn.Sequential(*steps)


def _activation(relu: bool) -> list[nn.Module]:
    return [nn.ReLU(inplace=True)] if relu else []


class BottleneckBlock(nn.Module):
    """x + (1×1, 3×3 of half the channels, 1×1)(x): (B, C, H, W) → the same.

    Args:
        channels: C ≥ 2.
        layer: makes the three layers.
        relu: ReLU between them.
    """

    def __init__(self, channels: int, layer: MakeLayer, relu: bool) -> None:
        super().__init__()
        half = channels // 2
        self.conv1 = layer(channels, half, 1)
        self.relu1 = nn.Sequential(*_activation(relu))
        self.conv2 = layer(half, half, 3)
        self.relu2 = nn.Sequential(*_activation(relu))
        self.conv3 = layer(half, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C, H, W)."""
        return _sum(self.conv3(self.relu2(self.conv2(self.relu1(self.conv1(x))))), x)

    def start_as_identity(self) -> None:
        """Silences the branch; its last layer learns at once, the others after it."""
        _set_constant(self.conv3, 0.0)


class ResidualUnit(nn.Module):
    """A bottleneck as in :class:`BottleneckBlock`, with a ReLU after the sum too.

    Args:
        channels: C ≥ 2.
        layer: makes the three layers.
        relu: ReLU between them, and after the sum.
        width: channels inside; 0 for half of C.
    """

    def __init__(self, channels: int, layer: MakeLayer, relu: bool, width: int = 0) -> None:
        super().__init__()
        width = width or channels // 2
        layers = layer(channels, width, 1), layer(width, width, 3), layer(width, channels, 1)
        self.conv = chain(layers, relu)
        self.relu = nn.Sequential(*_activation(relu))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C, H, W)."""
        return self.relu(_sum(self.conv(x), x))


class AttentionBlock(nn.Module):
    """x + branch(x) · sigmoid(mask(x)): (B, C, H, W) → the same.

    Args:
        channels: C ≥ 2.
        layer: makes all layers.
        relu: ReLU inside the residual units.
        width: channels inside those; 0 for half of C.
    """

    def __init__(self, channels: int, layer: MakeLayer, relu: bool, width: int = 0) -> None:
        super().__init__()
        units = [ResidualUnit(channels, layer, relu, width) for _ in range(6)]
        self.conv_a = nn.Sequential(*units[:3])
        self.conv_b = nn.Sequential(*units[3:], layer(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C, H, W)."""
        return _sum(self.conv_a(x) * torch.sigmoid(self.conv_b(x)), x)

    def start_as_identity(self) -> None:
        """Closes the mask, nearly: what comes out is x + 0.007 · branch(x)."""
        _set_constant(self.conv_b[-1], _CLOSED)


def _sum(branch: Tensor, x: Tensor) -> Tensor:
    """``branch + x``, written over the branch where nothing learns: new memory costs time."""
    if branch.requires_grad or branch.dtype != x.dtype:
        return branch + x
    return branch.add_(x)


def _set_constant(layer: nn.Module, value: float) -> None:
    """``value`` at every output, whatever the input; the weights have gradients nevertheless."""
    names = ("numerator", "denominator") if isinstance(layer, PaLaConv2d) else ("weight",)
    for name in names:
        nn.init.zeros_(layer.get_parameter(name))
    nn.init.constant_(layer.get_parameter("bias"), value)
