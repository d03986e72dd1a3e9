"""The residual U-Nets: sizes, what sets them apart, that they learn."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision.models.resnet import BasicBlock

from paoncodec.errors import UsageError
from paoncodec.layers import ProductUnit2d
from paoncodec.vision.classification.pure import PUReBasicBlock
from paoncodec.vision.segmentation import NETWORKS, ResUNet, build
from paoncodec.vision.segmentation.loss import dice_cross_entropy

SMALL = {"widths": (4, 8, 12), "depths": (1, 2, 1)}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("size", [(16, 24), (13, 30), (1, 5)])
@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_slices_of_any_size_keep_it(name: str, size: tuple[int, int], norm: str) -> None:
    model = build(name, 3, {**SMALL, "norm": norm}).eval()
    y = model(torch.randn(2, 1, *size))
    assert y.shape == (2, 3, *size)
    assert y.isfinite().all()


def test_padding_leaves_what_is_far_from_it() -> None:
    torch.manual_seed(0)
    model = build("pure-resunet", 3, {"widths": (4, 8), "depths": (1, 1)}).eval()
    x = torch.randn(1, 1, 64, 64)
    whole, cut = model(x), model(x[..., :63])
    torch.testing.assert_close(whole[..., :32], cut[..., :32])


def test_blocks_alone_set_them_apart() -> None:
    torch.manual_seed(0)
    host, pure = build("resunet", 3, SMALL), build("pure-resunet", 3, SMALL)
    blocks = [n for n, m in host.named_modules() if isinstance(m, BasicBlock)]
    assert blocks == [n for n, m in pure.named_modules() if isinstance(m, PUReBasicBlock)]
    assert {n.split(".")[0] for n in blocks} == {"encoder", "decoder"}
    assert len(blocks) == 1 + 2 + 1 + 2 + 1
    ours, theirs = pure.state_dict(), host.state_dict()
    more = [n for n in ours if n.endswith(("conv2.theta", "conv2.bias"))]
    assert set(ours) - set(theirs) == set(more)
    assert all(ours[n].shape == theirs[n].shape for n in theirs)
    assert not any(isinstance(m, ProductUnit2d) for m in host.modules())


@pytest.mark.parametrize(("bias", "outer_relu"), [(True, True), (True, False), (False, True)])
def test_the_config_builds_the_same_network(bias: bool, outer_relu: bool) -> None:
    options = {"in_channels": 2, "norm": "instance", "bias": bias, "outer_relu": outer_relu}
    model = build("pure-resunet", 4, {**SMALL, **options})
    blocks = [m for m in model.modules() if isinstance(m, PUReBasicBlock)]
    assert {block.outer_relu for block in blocks} == {outer_relu}
    assert {block.conv2.bias is not None for block in blocks} == {bias}
    again = ResUNet(**model.config)
    again.load_state_dict(model.state_dict())
    x = torch.randn(1, 2, 16, 16)
    assert torch.equal(model.eval()(x), again.eval()(x))


@pytest.mark.parametrize("name", NETWORKS)
def test_they_learn(name: str) -> None:
    """A disc in noise."""
    torch.manual_seed(0)
    model = build(name, 2, {"widths": (8, 16), "depths": (1, 1)})
    rows, columns = torch.meshgrid(torch.arange(24), torch.arange(24), indexing="ij")
    labels = torch.stack([(rows - r).square() + (columns - r).square() < 30 for r in (8, 12, 16)])
    x = 0.5 * labels[:, None] + 0.2 * torch.randn(3, 1, 24, 24)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    for _ in range(40):
        optimizer.zero_grad()
        loss = dice_cross_entropy(model(x), labels.long())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 12)
        optimizer.step()
    assert loss < 0.3


@pytest.mark.parametrize(
    ("classes", "options", "said"),
    [
        (1, {}, "classes 1"),
        (3, {"widths": (8,), "depths": (1,)}, "levels 1"),
        (3, {"widths": (8, 0), "depths": (1, 1)}, "width 0"),
        (3, {"depths": (1, 1)}, "need 5 numbers"),
        (3, {"depths": (1, 1, 0, 1, 1)}, "need 5 numbers"),
        (3, {"norm": "layer"}, "choose one of batch, instance"),
        (3, {"colour": 1}, "colour"),
    ],
)
def test_impossible_options_are_refused(classes: int, options: dict, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        build("resunet", classes, options)


def test_unknown_networks_are_refused() -> None:
    with pytest.raises(UsageError, match="choose one of resunet, pure-resunet"):
        build("unet", 3)
