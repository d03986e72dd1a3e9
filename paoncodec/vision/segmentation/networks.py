"""The networks of segmentation: a residual U-Net, and its PURe form.

"PURe: A Plug-and-Play Product-Unit Residual Module for Vision Networks", 3.3: the two differ in
their residual blocks alone. The paper gives neither widths nor depths; the defaults are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.resnet import BasicBlock

from paoncodec.errors import UsageError
from paoncodec.layers.base import require_at_least
from paoncodec.vision.classification.pure import PUReOptions, to_pure

__all__ = ["NETWORKS", "NORMS", "ResUNet", "build"]

#: Name → the normalisation of blocks, as a function of the number of channels.
NORMS: Mapping[str, Callable[[int], nn.Module]] = MappingProxyType(
    {"batch": nn.BatchNorm2d, "instance": lambda width: nn.InstanceNorm2d(width, affine=True)}
)


class ResUNet(nn.Module):
    """Residual encoder–decoder: (B, in_channels, H, W) → (B, classes, H, W), scores of classes.

    A 3×3 convolution; on each level residual blocks, the first of which halves the sides on all
    levels but the first; on the way back 2×2 transposed convolutions, the encoder's features beside
    them, and residual blocks; a 1×1 convolution to the classes. Sides that are no multiple of
    ``2^(levels - 1)`` are padded by their border, and what comes of the padding is cut off.

    Args:
        classes: with the background, ≥ 2.
        in_channels: of the slices.
        widths: channels of the levels, from the finest; at least two.
        depths: residual blocks of each level, on the way down and again on the way up.
        norm: of the blocks, one of :data:`NORMS`.
        pure: whether blocks are PURe (:func:`.to_pure`).
        bias, outer_relu: of PURe blocks (:class:`.PUReOptions`).

    Raises:
        ValueError: a value is out of range.
    """

    def __init__(
        self,
        classes: int,
        in_channels: int = 1,
        widths: Sequence[int] = (32, 64, 128, 256, 512),
        depths: Sequence[int] = (2, 2, 2, 2, 2),
        norm: str = "batch",
        pure: bool = False,
        bias: bool = True,
        outer_relu: bool = False,
    ) -> None:
        super().__init__()
        require_at_least(2, classes=classes, levels=len(widths))
        require_at_least(1, in_channels=in_channels, width=min(widths))
        if len(depths) != len(widths) or min(depths) < 1:
            raise ValueError(
                f"depths {tuple(depths)}: need {len(widths)} numbers >= 1, one a width"
            )
        if norm not in NORMS:
            raise ValueError(f"norm {norm!r}: choose one of {', '.join(NORMS)}")
        self.classes = classes
        self.config = {
            "classes": classes,
            "in_channels": in_channels,
            "widths": list(widths),
            "depths": list(depths),
            "norm": norm,
            "pure": pure,
            "bias": bias,
            "outer_relu": outer_relu,
        }
        options = PUReOptions(bias=bias, outer_relu=outer_relu)
        layers = _Layers(NORMS[norm], options if pure else None)
        self.stem = nn.Conv2d(in_channels, widths[0], 3, padding=1)
        before = [widths[0], *widths[:-1]]
        self.encoder = nn.ModuleList(
            layers.level(wide_in, wide, depth, 1 if number == 0 else 2)
            for number, (wide_in, wide, depth) in enumerate(
                zip(before, widths, depths, strict=True)
            )
        )
        finer = list(range(len(widths) - 1))[::-1]
        self.upsamplers = nn.ModuleList(
            nn.ConvTranspose2d(widths[n + 1], widths[n], 2, stride=2) for n in finer
        )
        self.decoder = nn.ModuleList(
            layers.level(2 * widths[n], widths[n], depths[n], 1) for n in finer
        )
        self.head = nn.Conv2d(widths[0], classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) → (B, classes, H, W), before the softmax."""
        height, width = x.shape[-2:]
        step = 2 ** (len(self.encoder) - 1)
        padding = (0, -width % step, 0, -height % step)
        features = self.stem(F.pad(x, padding, mode="replicate") if any(padding) else x)
        kept: list[Tensor] = []
        for level in self.encoder:
            features = level(features)
            kept.append(features)
        kept.pop()
        for upsampler, level in zip(self.upsamplers, self.decoder, strict=True):
            features = level(torch.cat([kept.pop(), upsampler(features)], dim=1))
        return self.head(features)[..., :height, :width]


#: Name → options of :class:`ResUNet`.
NETWORKS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {"resunet": {"pure": False}, "pure-resunet": {"pure": True}}
)


def build(name: str, classes: int, options: Mapping[str, Any] = MappingProxyType({})) -> ResUNet:
    """A new network of :data:`NETWORKS`, some of its options replaced.

    Raises:
        UsageError: no such network, or options it does not take.
    """
    if name not in NETWORKS:
        raise UsageError(f"network {name!r}: choose one of {', '.join(NETWORKS)}")
    try:
        return ResUNet(classes, **{**options, **NETWORKS[name]})
    except (TypeError, ValueError) as error:
        raise UsageError(f"network {name}: {error}") from error


class _Layers:
    """Makes the residual blocks of a network.

    Args:
        norm: of so many channels.
        options: of PURe blocks; None for plain ones.
    """

    def __init__(self, norm: Callable[[int], nn.Module], options: PUReOptions | None) -> None:
        self._norm, self._options = norm, options

    def level(self, wide_in: int, wide: int, depth: int, stride: int) -> nn.Module:
        """``depth`` blocks, the first of which has the stride."""
        first = BasicBlock(
            wide_in, wide, stride, self._shortcut(wide_in, wide, stride), norm_layer=self._norm
        )
        further = (BasicBlock(wide, wide, norm_layer=self._norm) for _ in range(depth - 1))
        blocks = nn.Sequential(first, *further)
        for module in blocks.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        return blocks if self._options is None else to_pure(blocks, self._options)

    def _shortcut(self, wide_in: int, wide: int, stride: int) -> nn.Module | None:
        if stride == 1 and wide_in == wide:
            return None
        return nn.Sequential(nn.Conv2d(wide_in, wide, 1, stride, bias=False), self._norm(wide))
