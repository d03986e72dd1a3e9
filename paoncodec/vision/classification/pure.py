"""PURe: residual blocks whose spatial layer multiplies, for any torchvision ResNet.

"PURe: A Plug-and-Play Product-Unit Residual Module for Vision Networks", 3.2 and 3.3.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import torchvision
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.resnet import BasicBlock, Bottleneck

from paoncodec.errors import UsageError
from paoncodec.layers import ProductUnit2d

__all__ = [
    "NETWORKS",
    "CifarResNet",
    "PUReBasicBlock",
    "PUReBottleneck",
    "PUReOptions",
    "build",
    "pure_resnet",
    "resnet",
    "to_pure",
]

#: Depths of the ResNets with a 7×7 stem and four stages.
IMAGENET_DEPTHS = (18, 34, 50, 101, 152)
#: Depths of those with a 3×3 stem and three stages, 6n + 2.
CIFAR_DEPTHS = (20, 32, 44, 56, 110, 272)


@dataclass(frozen=True)
class PUReOptions:
    """What the paper leaves open, or to the user.

    Args:
        norm: whether the branch keeps the host's batch norms. The paper does not say; its numbers
            of parameters (1.73 M and not 1.72 M for PURe-ResNet110, 4.36 M and not 4.34 M for
            PURe-ResNet272) are those of networks that have them. Without them product units start
            nearer to the constant 1.
        bias: whether each output of a product unit has a learned factor. The paper does not say;
            with them all its numbers of parameters are met, without them PURe-ResNet272 has 4.35 M
            and not 4.36 M.
        outer_relu: whether the ReLU after the addition stays. The paper speaks of removing those
            *inside* the branch; without this one PURe-ResNet20 learns better (docs/pure.md).
        keep_convolutions: whether the branch's other convolutions and norms keep their weights, or
            are drawn anew. Shortcuts, and all outside the blocks, always keep theirs.
    """

    norm: bool = True
    bias: bool = True
    outer_relu: bool = False
    keep_convolutions: bool = True


class PUReBasicBlock(nn.Module):
    """``S(x) + PU(conv(x))``: a basic block whose second 3×3 layer is a product unit.

    (B, C_in, H, W) → (B, C_out, H / stride, W / stride). Norms and parts keep the host's names.

    Args:
        host: taken apart: its parts become this block's.
        options: of the form.
    """

    def __init__(self, host: BasicBlock, options: PUReOptions = PUReOptions()) -> None:
        super().__init__()
        self.conv1 = _kept(host.conv1, options)
        self.bn1 = _norm(host.bn1, options)
        self.conv2 = _unit(host.conv2, options)
        self.bn2 = _norm(host.bn2, options, stale=True)
        self.downsample = host.downsample
        self.outer_relu = options.outer_relu

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) → (B, C_out, H', W')."""
        branch = self.bn2(self.conv2(self.bn1(self.conv1(x))))
        return _joined(x, branch, self.downsample, self.outer_relu)


class PUReBottleneck(nn.Module):
    """``S(x) + conv(PU(conv(x)))``: a bottleneck whose middle 3×3 layer is a product unit.

    (B, C_in, H, W) → (B, C_out, H / stride, W / stride). Norms and parts keep the host's names.

    Args:
        host: taken apart: its parts become this block's.
        options: of the form.
    """

    def __init__(self, host: Bottleneck, options: PUReOptions = PUReOptions()) -> None:
        super().__init__()
        self.conv1 = _kept(host.conv1, options)
        self.bn1 = _norm(host.bn1, options)
        self.conv2 = _unit(host.conv2, options)
        self.bn2 = _norm(host.bn2, options, stale=True)
        self.conv3 = _kept(host.conv3, options)
        self.bn3 = _norm(host.bn3, options, stale=True)
        self.downsample = host.downsample
        self.outer_relu = options.outer_relu

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) → (B, C_out, H', W')."""
        branch = self.bn2(self.conv2(self.bn1(self.conv1(x))))
        branch = self.bn3(self.conv3(branch))
        return _joined(x, branch, self.downsample, self.outer_relu)


def to_pure(model: nn.Module, options: PUReOptions = PUReOptions()) -> nn.Module:
    """The PURe form of a network of torchvision's residual blocks, which stays as it is.

    Every ``BasicBlock`` and ``Bottleneck`` becomes its PURe form: the second 3×3 convolution, or
    the middle layer, a product unit of the same stride, dilation and groups, and the ReLUs inside
    the branch go. Running statistics of norms behind a product unit begin anew.

    Raises:
        ValueError: the network has no such block.
    """
    if not any(isinstance(m, (BasicBlock, Bottleneck)) for m in model.modules()):
        raise ValueError(
            f"a {type(model).__name__}: has no BasicBlock or Bottleneck of torchvision to replace"
        )
    return _converted(copy.deepcopy(model), options, {})


class CifarResNet(nn.Module):
    """The ResNet of small pictures: (B, 3, H, W) → (B, num_classes), H and W multiples of 4.

    He et al., "Deep Residual Learning for Image Recognition" (2016), 4.2: a 3×3 convolution, three
    stages of n blocks with 16, 32 and 64 channels, average, linear layer; shortcuts to more
    channels take every second pixel and add channels of zeros (option A), without parameters.

    Args:
        depth: 6n + 2, n ≥ 1.
        num_classes: ≥ 1.

    Raises:
        ValueError: another depth, or no classes.
    """

    def __init__(self, depth: int = 20, num_classes: int = 10) -> None:
        super().__init__()
        if depth < 8 or depth % 6 != 2:
            raise ValueError(f"depth {depth}: must be 6n + 2, e.g. 20")
        if num_classes < 1:
            raise ValueError(f"num_classes {num_classes}: must be >= 1")
        blocks = (depth - 2) // 6
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _stage(16, 16, blocks)
        self.layer2 = _stage(16, 32, blocks)
        self.layer3 = _stage(32, 64, blocks)
        self.fc = nn.Linear(64, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                _draw(module)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) → (B, num_classes)."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(x.mean((2, 3)))


def resnet(depth: int, num_classes: int | None = None) -> nn.Module:
    """The host network, untrained: torchvision's of 18 to 152 layers, or of small pictures.

    Args:
        depth: one of :data:`IMAGENET_DEPTHS` or :data:`CIFAR_DEPTHS`, or any other 6n + 2 from 8.
        num_classes: default 1000 for torchvision's and 10 for the others.

    Raises:
        ValueError: another depth, or no classes.
    """
    if depth not in IMAGENET_DEPTHS:
        return CifarResNet(depth, 10 if num_classes is None else num_classes)
    classes = 1000 if num_classes is None else num_classes
    if classes < 1:
        raise ValueError(f"num_classes {classes}: must be >= 1")
    return torchvision.models.get_model(f"resnet{depth}", weights=None, num_classes=classes)


def pure_resnet(
    depth: int, num_classes: int | None = None, options: PUReOptions = PUReOptions()
) -> nn.Module:
    """PURe-ResNet of so many layers, untrained: the PURe form of :func:`resnet`.

    Raises:
        ValueError: as there.
    """
    return to_pure(resnet(depth, num_classes), options)


#: Name → the network as a function of the number of classes (None: the data set's) and options.
NETWORKS: Mapping[str, Callable[..., nn.Module]] = MappingProxyType(
    {f"pure-resnet{n}": partial(pure_resnet, n) for n in (*IMAGENET_DEPTHS, *CIFAR_DEPTHS)}
)


def build(
    name: str, num_classes: int | None = None, options: PUReOptions = PUReOptions()
) -> nn.Module:
    """A new network of :data:`NETWORKS`.

    Raises:
        UsageError: no such network, or no classes.
    """
    if name not in NETWORKS:
        raise UsageError(f"network {name!r}: choose one of {', '.join(NETWORKS)}")
    try:
        return NETWORKS[name](num_classes, options)
    except ValueError as error:
        raise UsageError(f"network {name}: {error}") from error


class _PaddedShortcut(nn.Module):
    """Every second pixel, with channels of zeros before and after: (B, C, H, W) → (B, 2C, ⌈H/2⌉,
    ⌈W/2⌉)."""

    def forward(self, x: Tensor) -> Tensor:
        half = x.shape[1] // 2
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, half, half))


def _stage(in_channels: int, channels: int, blocks: int) -> nn.Sequential:
    grows = channels != in_channels
    shortcut = _PaddedShortcut() if grows else None
    first = BasicBlock(in_channels, channels, 2 if grows else 1, shortcut)
    return nn.Sequential(first, *(BasicBlock(channels, channels) for _ in range(blocks - 1)))


def _converted(
    module: nn.Module, options: PUReOptions, known: dict[nn.Module, nn.Module]
) -> nn.Module:
    """``known``: forms of the modules met before, as one may be in several places of a network."""
    if module in known:
        return known[module]
    known[module] = made = _form(module, options)
    if made is module:
        for name, child in list(module._modules.items()):
            if child is not None:
                setattr(module, name, _converted(child, options, known))
    return made


def _form(module: nn.Module, options: PUReOptions) -> nn.Module:
    if isinstance(module, BasicBlock):
        return PUReBasicBlock(module, options).train(module.training)
    if isinstance(module, Bottleneck):
        return PUReBottleneck(module, options).train(module.training)
    return module


def _unit(host: nn.Conv2d, options: PUReOptions) -> ProductUnit2d:
    """In place of a square convolution, on its device and in its format."""
    unit = ProductUnit2d(
        host.in_channels,
        host.out_channels,
        host.kernel_size[0],
        host.stride[0],
        int(host.padding[0]),
        host.dilation[0],
        host.groups,
        bias=options.bias,
        deviation=0.5 if options.norm else 0.05,
    )
    return unit.to(host.weight)


def _kept(host: nn.Conv2d, options: PUReOptions) -> nn.Conv2d:
    if not options.keep_convolutions:
        _draw(host)
    return host


def _norm(host: nn.Module, options: PUReOptions, stale: bool = False) -> nn.Module:
    """The branch's norm; ``stale``: what it has seen is not what it will see."""
    if not options.norm:
        return nn.Identity()
    anew = "reset_running_stats" if options.keep_convolutions else "reset_parameters"
    reset = getattr(host, anew, None)
    if reset is not None and (stale or not options.keep_convolutions):
        reset()
    return host


def _draw(layer: nn.Conv2d) -> None:
    """As He et al. start theirs."""
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")


def _joined(x: Tensor, branch: Tensor, shortcut: nn.Module | None, relu: bool) -> Tensor:
    y = branch + (x if shortcut is None else shortcut(x))
    return F.relu(y) if relu else y
