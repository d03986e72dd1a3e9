"""Blocks of ELIC: CompressAI's, with convolutions or with Padé layers, and as the identity."""

from __future__ import annotations

import pytest
import torch
from compressai.layers import AttentionBlock as TheirAttention
from compressai.models.sensetime import ResidualBottleneckBlock
from torch import nn

from paoncodec.coding.blocks import AttentionBlock, BottleneckBlock, chain, convolution
from paoncodec.layers import PaLaConv2d

PAIRS = [(BottleneckBlock, ResidualBottleneckBlock), (AttentionBlock, TheirAttention)]


def theirs_of(kind: type[nn.Module], channels: int) -> nn.Module:
    sizes = (channels, channels) if kind is ResidualBottleneckBlock else (channels,)
    return kind(*sizes)


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_convolutions_with_relu_are_compressais(
    ours: type[nn.Module], theirs: type[nn.Module]
) -> None:
    torch.manual_seed(0)
    peer, block = theirs_of(theirs, 6), ours(6, convolution, True)
    block.load_state_dict(peer.state_dict())
    x = torch.randn(2, 6, 5, 7)
    torch.testing.assert_close(block(x.clone()), peer(x.clone()), rtol=0, atol=0)


@pytest.mark.parametrize("ours", [BottleneckBlock, AttentionBlock])
def test_pade_layers_replace_the_relus(ours: type[nn.Module]) -> None:
    bare, kept = ours(6, PaLaConv2d, False), ours(6, PaLaConv2d, True)
    assert not any(isinstance(m, nn.ReLU) for m in bare.modules())
    assert any(isinstance(m, nn.ReLU) for m in kept.modules())
    layers = sum(isinstance(m, PaLaConv2d) for m in bare.modules())
    assert layers == sum(isinstance(m, nn.Conv2d) for m in ours(6, convolution, True).modules())


@pytest.mark.parametrize("layer", [convolution, PaLaConv2d])
@pytest.mark.parametrize(("ours", "off"), [(BottleneckBlock, 0), (AttentionBlock, 0.1)])
def test_a_block_starts_as_the_identity_and_learns(
    ours: type[nn.Module], off: float, layer: type[nn.Module]
) -> None:
    torch.manual_seed(0)
    block = ours(6, layer, layer is convolution)
    x = torch.randn(2, 6, 5, 7)
    assert (block(x) - x).abs().max() > 0.1
    block.start_as_identity()
    torch.testing.assert_close(block(x), x, rtol=0, atol=off)
    before = [p.detach().clone() for p in block.parameters()]
    optimizer = torch.optim.Adam(block.parameters(), 1e-2)
    for _ in range(3):
        optimizer.zero_grad()
        (block(x) - x.roll(1, 1)).square().mean().backward()
        optimizer.step()
    assert all((p != old).any() for p, old in zip(block.parameters(), before, strict=True))


@pytest.mark.parametrize("layer", [convolution, PaLaConv2d])
@pytest.mark.parametrize("ours", [BottleneckBlock, AttentionBlock])
def test_what_is_written_over_where_nothing_learns_changes_nothing(
    ours: type[nn.Module], layer: type[nn.Module]
) -> None:
    block, x = ours(6, layer, layer is convolution), torch.randn(2, 6, 5, 7)
    kept, expected = x.clone(), block(x).detach()
    with torch.no_grad():
        assert torch.equal(block(x), expected)
        assert torch.equal(x, kept)
        with torch.autocast("cpu", torch.bfloat16):
            assert block(x).dtype == torch.float32  # the sum's, not the branch's
    for parameter in block.parameters():
        parameter.requires_grad_(False)
    x.requires_grad_()
    block(x).sum().backward()
    assert x.grad is not None


def test_a_chain_has_its_relus_between() -> None:
    layers = [nn.Conv2d(2, 2, 1) for _ in range(3)]
    assert [type(m) for m in chain(layers, False)] == [nn.Conv2d] * 3
    assert [type(m) for m in chain(layers, True)] == [nn.Conv2d, nn.ReLU] * 2 + [nn.Conv2d]
