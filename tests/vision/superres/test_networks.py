"""The networks: their sizes are the paper's, and all of them learns."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from paoncodec.errors import UsageError
from paoncodec.layers import PaLaConv2d
from paoncodec.vision.parts import SHIFTS, drop_bias, parameter_count
from paoncodec.vision.superres.networks import NETWORKS, SuperResNet, build, normalised

# Table V: ×4, an up-sampler for each ×2. VI: one for both. VII: one, and a block more.
TABLE_V = {
    "resnet": 440,
    "dcn-1x1": 447,
    "dcn-3x3": 509,
    "pau-net": 440,
    "self-onn": 440,
    "super-onn": 440,
    "padenet": 445,
    "padenet-id": 445,
}
TABLE_VI = {
    "resnet": 357,
    "dcn-1x1": 363,
    "dcn-3x3": 426,
    "self-onn": 357,
    "super-onn": 357,
    "padenet-id": 362,
}
TABLE_VII = {
    "resnet": 440,
    "dcn-1x1": 449,
    "dcn-3x3": 532,
    "self-onn": 440,
    "super-onn": 440,
    "padenet-id": 447,
}
TABLE_II = {(1, 1): 469, (2, 0): 469, (2, 1): 593}
TABLE_III = {"whole-1": 441, "whole-3": 445, "element-1": 445, "element-3": 487}
SHARED = {"shared_upsampler": True}
ROWS = [
    *(("V", name, {}, count) for name, count in TABLE_V.items()),
    *(("VI", name, SHARED, count) for name, count in TABLE_VI.items()),
    *(("VII", name, {**SHARED, "blocks": 4}, count) for name, count in TABLE_VII.items()),
    *(
        ("II", "padenet-id", {"degrees": degrees, "shift": "predicted"}, count)
        for degrees, count in TABLE_II.items()
    ),
    *(("III", "padenet-id", {"shift": shift}, count) for shift, count in TABLE_III.items()),
]
SMALL = {"channels": 4, "blocks": 1}


def test_the_tables_are_whole() -> None:
    assert TABLE_V.keys() == NETWORKS.keys()


@pytest.mark.parametrize(("table", "name", "options", "thousands"), ROWS)
def test_numbers_of_parameters_are_those_of_the_paper(table, name, options, thousands) -> None:
    assert round(parameter_count(build(name, options)) / 1000) == thousands


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("name", NETWORKS)
def test_pictures_become_so_many_times_larger(name: str, scale: int) -> None:
    y = build(name, {**SMALL, "scale": scale})(torch.rand(2, 3, 7, 5))
    assert y.shape == (2, 3, 7 * scale, 5 * scale)


@pytest.mark.parametrize("options", [{"shift": s} for s in SHIFTS] + [{"degrees": (2, 1)}], ids=str)
@pytest.mark.parametrize("name", NETWORKS)
def test_every_parameter_learns(name: str, options) -> None:
    torch.manual_seed(0)
    model = build(name, {**SMALL, "scale": 2, **options})
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    alive = {n: torch.zeros_like(p, dtype=torch.bool) for n, p in model.named_parameters()}
    for _ in range(3):
        optimizer.zero_grad()
        (model(torch.rand(2, 3, 8, 8)) - torch.rand(2, 3, 16, 16)).square().mean().backward()
        for parameter_name, parameter in model.named_parameters():
            alive[parameter_name] |= parameter.grad != 0
        optimizer.step()
    dead = [n for n, seen in alive.items() if not seen.any()]
    assert dead == []


def test_blocks_begin_at_a_tenth_of_their_size() -> None:
    block = build("resnet", SMALL).blocks[0]
    assert torch.equal(block.size, torch.full((4, 1, 1), 0.1))
    x = torch.randn(1, 4, 6, 6)
    torch.testing.assert_close(block(x), x + 0.1 * block.branch(x))


def test_only_the_blocks_differ_in_kind() -> None:
    """IV-A5: first and last layers and the up-samplers are ordinary convolutions everywhere."""
    for name in NETWORKS:
        model = build(name, SMALL)
        outside = [model.first, model.fuse, model.last, *(up[0] for up in model.upsamplers)]
        assert all(layer.spec.num == 1 and layer.spec.den == 0 for layer in outside)
    identity = build("padenet-id", SMALL).blocks[0].branch[1]
    assert isinstance(identity, nn.Identity)


def test_a_shared_upsampler_is_used_twice() -> None:
    model = build("resnet", {**SMALL, "shared_upsampler": True})
    passed = []
    model.upsamplers[0].register_forward_hook(lambda *seen: passed.append(seen))
    assert len(model.upsamplers) == 1
    model(torch.rand(1, 3, 4, 4))
    assert len(passed) == 2


@pytest.mark.parametrize("degrees", [(1, 0), (1, 1), (3, 0), (2, 2)])
def test_weight_normalisation_changes_nothing_at_the_start(degrees) -> None:
    layer = PaLaConv2d(3, 5, 3, degrees=degrees)
    x = torch.randn(1, 3, 6, 6)
    plain = layer(x)
    torch.testing.assert_close(normalised(layer)(x), plain)


def test_a_dropped_bias_stays_zero() -> None:
    layer = PaLaConv2d(3, 5, 3, degrees=(1, 0))
    drop_bias(layer)
    assert [name for name, _ in layer.named_parameters()] == ["numerator"]
    assert torch.equal(layer(torch.zeros(1, 3, 4, 4)), torch.zeros(1, 5, 4, 4))


@pytest.mark.parametrize(
    "options",
    [
        {"scale": 3},
        {"blocks": 0},
        {"channels": 0},
        {"width": 0},
        {"kind": "rough"},
        {"activation": "relu"},
        {"shift": "sideways"},
        {"degrees": (0, 0)},
        {"degrees": (1,)},
        {"depth": 3},
    ],
    ids=str,
)
def test_impossible_options_are_refused(options) -> None:
    with pytest.raises(UsageError, match=next(iter(options))):
        build("resnet", options)


def test_an_unknown_network_is_refused() -> None:
    with pytest.raises(UsageError, match="choose one of resnet"):
        build("transformer")


def test_a_config_builds_the_same_network() -> None:
    model = build("dcn-3x3", {**SMALL, "shared_upsampler": True})
    again = SuperResNet(**model.config)
    assert again.config == model.config
    assert {n: p.shape for n, p in again.state_dict().items()} == {
        n: p.shape for n, p in model.state_dict().items()
    }
