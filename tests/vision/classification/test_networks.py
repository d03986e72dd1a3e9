"""The networks: they are the paper's, and all of them learns."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from paoncodec.errors import UsageError
from paoncodec.layers import PaLaConv2d, PaLaDeformConv2d, PaLaLinear, ProductUnit2d
from paoncodec.layers.base import PaLa
from paoncodec.vision.classification.networks import (
    NETWORKS,
    PadeResNet,
    ResidualBlock,
    ResNet,
    build,
    layer_count,
)
from paoncodec.vision.classification.pure import PUReBasicBlock
from paoncodec.vision.parts import SHIFTS, parameter_count

LAYERS = {
    "resnet-3-3-3": 20,
    "pade-resnet-2-2-2": 14,
    "pade-resnet-ii-2-2-2": 14,
    "pade-resnet-ii-1-1-2": 10,
}
#: Depth, and parameters of the ResNet and its PURe form. The latter has in each block the product
#: unit's threshold, and a factor for each of its outputs.
COUNTS = [
    (20, 269_722, 270_067),
    (32, 464_154, 464_729),
    (44, 658_586, 659_391),
    (56, 853_018, 854_053),
    (110, 1_727_962, 1_730_032),
    (272, 4_352_794, 4_357_969),
]


@pytest.mark.parametrize(("name", "count"), LAYERS.items())
def test_layers_are_the_papers(name: str, count: int) -> None:
    assert list(LAYERS) == list(NETWORKS)
    assert layer_count(build(name)) == count


def convolutions(blocks: tuple[int, ...]) -> list[tuple[int, int, int]]:
    """Channels in and out and the kernel's side of those inside the blocks, in their order."""
    found, width = [], 16
    for stage, count in enumerate(blocks):
        for place in range(count):
            wider = 16 << stage
            found += [(width, wider, 3), (wider, wider, 3)]
            found += [(width, wider, 1)] if stage and not place else []
            width = wider
    return found


@pytest.mark.parametrize("name", NETWORKS)
def test_parameters_are_those_of_its_layers(name: str) -> None:
    """Counted by hand: a Padé layer has twice the weights, and a shift 2·k² outputs of 1×1."""
    blocks = NETWORKS[name]["blocks"]
    pade, shifted = "pade" in name, "-ii-" in name
    weights = (1 + pade) * (3 * 16 * 9 + 64 * 10) + 10 + 2 * 16
    for wide_in, wide_out, side in convolutions(blocks):
        weights += (1 + pade) * wide_in * wide_out * side**2 + 2 * wide_out
        weights += shifted * (wide_in + 1) * 2 * side**2
    assert parameter_count(build(name)) == weights


def test_resnet_20_has_the_weights_that_are_known_of_it() -> None:
    """272,474 with 1×1 convolutions as shortcuts."""
    assert parameter_count(build("resnet-3-3-3")) == 272_474


def test_the_resnet_is_the_classic_one() -> None:
    """Written out with torch's own functions, IV-C1."""
    torch.manual_seed(0)
    model = build("resnet-3-3-3").eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.bias, -0.1, 0.1)

    def layer(both: nn.Sequential, x: torch.Tensor, stride: int = 1) -> torch.Tensor:
        weight, norm = both[0].numerator, both[1]
        y = F.conv2d(x, weight, stride=stride, padding=weight.shape[2] // 2)
        return F.batch_norm(y, norm.running_mean, norm.running_var, norm.weight, norm.bias)

    x = torch.randn(2, 3, 32, 32)
    y = layer(model.stem, x).relu()
    for place, block in enumerate(model.blocks):
        stride = 2 if place in (3, 6) else 1
        short = y if stride == 1 else layer(block.shortcut, y, 2)
        y = (layer(block.second, layer(block.first, y, stride).relu()) + short).relu()
    wanted = F.linear(y.mean((2, 3)), model.head.numerator, model.head.bias)
    torch.testing.assert_close(model(x), wanted)


@pytest.mark.parametrize("name", [name for name in NETWORKS if "pade" in name])
def test_pade_networks_have_pade_layers_alone(name: str) -> None:
    model = build(name)
    assert not any(isinstance(m, (nn.ReLU, nn.Conv2d)) for m in model.stem.modules())
    layers = [m for m in model.modules() if isinstance(m, PaLa)]
    assert {(m.spec.num, m.spec.den, m.spec.kind) for m in layers} == {(1, 1, "smooth")}
    assert isinstance(model.head, PaLaLinear)
    assert not any(isinstance(m, nn.ReLU) for m in model.modules())
    inside = [m for block in model.blocks for m in block.modules() if isinstance(m, PaLa)]
    assert {type(m) for m in inside} == {PaLaDeformConv2d if "-ii-" in name else PaLaConv2d}
    assert type(model.stem[0]) is PaLaConv2d


def test_resolution_halves_and_width_doubles() -> None:
    model = build("pade-resnet-ii-1-1-2").eval()
    sizes = []
    for block in model.blocks:
        assert isinstance(block, ResidualBlock)
        block.register_forward_hook(lambda _, __, y: sizes.append(tuple(y.shape[1:])))
    assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 10)
    assert sizes == [(16, 32, 32), (32, 16, 16), (64, 8, 8), (64, 8, 8)]


@pytest.mark.parametrize("name", NETWORKS)
def test_everything_learns(name: str) -> None:
    torch.manual_seed(0)
    model = build(name, {"channels": 4})
    model(torch.randn(4, 3, 12, 12)).logsumexp(1).sum().backward()
    still = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not still


@pytest.mark.parametrize(
    "options", [{"shift": s} for s in SHIFTS] + [{"degrees": (2, 1)}, {"bias": True}], ids=str
)
def test_options_make_networks_that_work(options: dict) -> None:
    model = build("pade-resnet-2-2-2", {**options, "channels": 4, "classes": ["a", "b", "c"]})
    assert model(torch.randn(2, 3, 9, 9)).shape == (2, 3)
    again = PadeResNet(**model.config)
    again.load_state_dict(model.state_dict())
    assert again.classes == ("a", "b", "c")


@pytest.mark.parametrize("options", [{"bias": False}, {"norm": False}, {"outer_relu": True}])
def test_options_of_product_units(options: dict) -> None:
    model = build("pure-resnet20", {**options, "size": 16}).eval()
    units = [m for m in model.modules() if isinstance(m, ProductUnit2d)]
    assert {unit.bias is not None for unit in units} == {options.get("bias", True)}
    blocks = [m for m in model.modules() if isinstance(m, PUReBasicBlock)]
    assert {block.outer_relu for block in blocks} == {options.get("outer_relu", False)}
    normed = {isinstance(block.bn2, nn.BatchNorm2d) for block in blocks}
    assert normed == {options.get("norm", True)}
    again = ResNet(**model.config).eval()
    again.load_state_dict(model.state_dict())
    x = torch.randn(2, 3, 16, 16)
    assert torch.equal(again(x), model(x))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"activation": "elu"}, "choose one of none, relu"),
        ({"shift": "far"}, "choose one of none"),
        ({"kind": "rough"}, "choose one of smooth"),
        ({"degrees": (1,)}, "two, K and L"),
        ({"blocks": (1, 0)}, "blocks 0"),
        ({"blocks": ()}, "blocks"),
        ({"classes": ["a", "a"]}, "a name of its own"),
        ({"colour": 1}, "colour"),
    ],
)
def test_wrong_options_are_refused(options: dict, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        build("pade-resnet-2-2-2", options)
    with pytest.raises(UsageError, match=r"choose one of resnet-3-3-3"):
        build("vgg")


def test_other_channels_are_refused(tiny: PadeResNet) -> None:
    with pytest.raises(ValueError, match=r"expected \(batch, 3, height, width\)"):
        tiny(torch.zeros(1, 4, 32, 32))


@pytest.mark.parametrize(("depth", "host", "pure"), COUNTS)
def test_small_resnets_have_so_many_parameters(depth: int, host: int, pure: int) -> None:
    for name, count in ((f"resnet{depth}", host), (f"pure-resnet{depth}", pure)):
        model = build(name)
        assert parameter_count(model) == count
        assert len(model.classes) == 10
    units = [m for m in model.modules() if isinstance(m, ProductUnit2d)]
    assert len(units) == (depth - 2) // 2


def test_small_resnets_take_any_size_and_refuse_other_options() -> None:
    model = build("pure-resnet20", {"depth": 8, "classes": ("a", "b")}).eval()
    assert model(torch.rand(2, 3, 9, 14)).shape == (2, 2)
    for options, said in (
        ({"depth": 9}, "6n"),
        ({"classes": ("a", "a")}, "a name of its own"),
        ({"blocks": (1,)}, "blocks"),
    ):
        with pytest.raises(UsageError, match=said):
            build("resnet20", options)
