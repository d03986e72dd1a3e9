"""PURe networks: what becomes of a host, sizes as published, that they learn at any depth."""

from __future__ import annotations

import copy

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.resnet import BasicBlock

from paoncodec.errors import UsageError
from paoncodec.layers import ProductUnit2d, guarded_values
from paoncodec.vision.classification import pure
from paoncodec.vision.classification.pure import (
    NETWORKS,
    CifarResNet,
    PUReBasicBlock,
    PUReBottleneck,
    PUReOptions,
    build,
    pure_resnet,
    resnet,
    to_pure,
)

#: Network, classes, millions of parameters as Tables 1, 3 and 4 print them.
PUBLISHED = [
    ("pure-resnet18", 10, "11.18"),
    ("pure-resnet34", 10, "21.29"),
    ("pure-resnet18", 1000, "11.69"),
    ("pure-resnet34", 1000, "21.80"),
    ("pure-resnet50", 1000, "25.56"),
    ("pure-resnet20", 10, "0.27"),
    ("pure-resnet32", 10, "0.46"),
    ("pure-resnet44", 10, "0.66"),
    ("pure-resnet56", 10, "0.85"),
    ("pure-resnet110", 10, "1.73"),
    ("pure-resnet272", 10, "4.36"),
]
#: Depth, classes, millions: what the paper prints of the hosts.
PUBLISHED_HOSTS = [
    (18, 10, "11.18"),
    (34, 10, "21.29"),
    (50, 10, "23.53"),
    (101, 10, "42.52"),
    (152, 10, "58.16"),
    (34, 1000, "21.80"),
    (50, 1000, "25.56"),
    (101, 1000, "44.55"),
    (152, 1000, "60.19"),
    (20, 10, "0.27"),
    (32, 10, "0.46"),
    (44, 10, "0.66"),
    (56, 10, "0.85"),
    (110, 10, "1.73"),
]


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def images(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("name", "classes", "millions"), PUBLISHED)
def test_numbers_of_parameters_are_the_papers(name: str, classes: int, millions: str) -> None:
    with torch.device("meta"):
        model = build(name, classes)
    assert f"{parameters(model) / 1e6:.2f}" == millions


@pytest.mark.parametrize(("depth", "classes", "millions"), PUBLISHED_HOSTS)
def test_numbers_of_the_hosts_are_the_papers(depth: int, classes: int, millions: str) -> None:
    with torch.device("meta"):
        host = resnet(depth, classes)
        model = to_pure(host, PUReOptions(bias=False))
    assert f"{parameters(host) / 1e6:.2f}" == millions
    units = sum(isinstance(m, ProductUnit2d) for m in model.modules())
    assert parameters(model) == parameters(host) + units  # τ


@pytest.mark.parametrize(
    ("depth", "options", "millions"),
    [
        (110, PUReOptions(norm=False), "1.72"),
        (272, PUReOptions(norm=False), "4.34"),
        (272, PUReOptions(bias=False), "4.35"),
    ],
)
def test_other_forms_have_other_numbers(depth: int, options: PUReOptions, millions: str) -> None:
    """The paper's are 1.73 and 4.36: hence the default of norms and biases."""
    with torch.device("meta"):
        model = pure_resnet(depth, 10, options)
    assert f"{parameters(model) / 1e6:.2f}" == millions


def test_all_names_are_listed() -> None:
    further = {"pure-resnet101", "pure-resnet152"}
    assert set(NETWORKS) == {name for name, _, _ in PUBLISHED} | further


def test_a_basic_block_is_the_formula() -> None:
    host = torchvision.models.resnet18(num_classes=4)
    block = to_pure(host).eval().layer2[0]
    assert isinstance(block, PUReBasicBlock)
    assert isinstance(block.conv2, ProductUnit2d)
    x = images(2, 64, 12, 12)
    with torch.no_grad():
        branch = block.bn2(block.conv2(block.bn1(block.conv1(x))))
        assert torch.equal(block(x), branch + block.downsample(x))
        block.outer_relu = True
        assert torch.equal(block(x), F.relu(branch + block.downsample(x)))


def test_a_bottleneck_is_the_formula() -> None:
    host = torchvision.models.resnet50(num_classes=4)
    block = to_pure(host).eval().layer2[0]
    assert isinstance(block, PUReBottleneck)
    assert (block.conv2.kernel_size, block.conv2.stride) == (3, 2)
    x = images(2, 256, 8, 8)
    with torch.no_grad():
        inner = block.bn2(block.conv2(block.bn1(block.conv1(x))))
        branch = block.bn3(block.conv3(inner))
        assert torch.equal(block(x), branch + block.downsample(x))
        block.outer_relu = True
        assert torch.equal(block(x), F.relu(branch + block.downsample(x)))


def test_the_host_keeps_its_weights_and_gives_them() -> None:
    torch.manual_seed(0)
    host = torchvision.models.resnet18(num_classes=4)
    before = copy.deepcopy(host.state_dict())
    made = to_pure(host).state_dict()
    after = host.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    same = {n for n in made if n in before and torch.equal(made[n], before[n])}
    changed = set(before) - same
    assert changed == {n for n in before if n.startswith("layer") and n.endswith("conv2.weight")}
    new = {n.replace("weight", part) for n in changed for part in ("theta", "bias")}
    assert set(made) - set(before) == new


def test_convolutions_are_drawn_anew_where_wanted() -> None:
    torch.manual_seed(0)
    host = torchvision.models.resnet50(num_classes=4)
    with torch.no_grad():
        host.layer1[0].bn1.weight.fill_(3)
    made = to_pure(host, PUReOptions(keep_convolutions=False))
    block, before = made.layer1[0], host.layer1[0]
    assert torch.equal(block.downsample[0].weight, before.downsample[0].weight)
    assert torch.equal(made.conv1.weight, host.conv1.weight)
    for name in ("conv1", "conv3"):
        new, old = getattr(block, name).weight, getattr(before, name).weight
        assert not torch.equal(new, old)
        assert new.std().item() == pytest.approx(old.std().item(), rel=0.1)
    assert block.bn1.weight.unique().tolist() == [1]


def test_statistics_behind_a_unit_begin_anew() -> None:
    host = CifarResNet(8)
    host(images(4, 3, 16, 16))
    block = to_pure(host).layer1[0]
    assert block.bn1.num_batches_tracked == 1
    assert block.bn2.num_batches_tracked == 0


def test_norms_may_go() -> None:
    host = torchvision.models.resnet50(num_classes=4)
    made = to_pure(host, PUReOptions(norm=False, outer_relu=True))
    for name, module in made.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            assert name == "bn1" or "downsample" in name
    assert made.layer1[0].outer_relu is True
    assert made.eval()(images(1, 3, 64, 64)).isfinite().all()


def test_other_hosts_are_taken_as_they_are() -> None:
    """ResNeXt has groups, a segmentation backbone dilation and no strides."""
    resnext = to_pure(torchvision.models.resnext50_32x4d(num_classes=3)).eval()
    assert resnext.layer1[0].conv2.groups == 32
    assert resnext(images(1, 3, 64, 64)).shape == (1, 3)
    host = torchvision.models.resnet50(
        num_classes=3, replace_stride_with_dilation=[False, True, True]
    )
    made = to_pure(host).eval()
    assert made.layer4[1].conv2.dilation == 4
    assert made(images(1, 3, 64, 64)).shape == (1, 3)
    assert isinstance(to_pure(host.layer1[0]), PUReBottleneck)


def test_formats_and_modes_are_the_hosts() -> None:
    host = CifarResNet(8).double().eval()
    made = to_pure(host)
    assert not any(module.training for module in made.modules())
    assert made(images(1, 3, 16, 16).double()).dtype == torch.float64


def test_a_block_in_two_places_is_replaced_in_both() -> None:
    host = CifarResNet(8)
    host.layer1.append(host.layer1[0])
    host.stage = host.layer1
    made = to_pure(host).eval()
    assert made.layer1[0] is made.layer1[1]
    assert made.stage is made.layer1
    assert not any(isinstance(module, BasicBlock) for module in made.modules())
    assert made(images(1, 3, 16, 16)).shape == (1, 10)


def test_a_network_without_blocks_is_refused() -> None:
    with pytest.raises(ValueError, match="a Sequential: has no BasicBlock"):
        to_pure(nn.Sequential(nn.Conv2d(3, 3, 3)))
    with pytest.raises(ValueError, match="a CifarResNet: has no BasicBlock"):
        to_pure(to_pure(CifarResNet(8)))


@pytest.mark.parametrize(
    ("name", "classes", "said"),
    [
        ("pure-resnet19", 10, "choose one of pure-resnet18"),
        ("pure-resnet18", 0, "num_classes 0"),
        ("pure-resnet20", 0, "num_classes 0"),
    ],
)
def test_unknown_networks_are_refused(name: str, classes: int, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        build(name, classes)


@pytest.mark.parametrize("depth", [7, 21, 2, 0])
def test_depths_of_small_pictures(depth: int) -> None:
    with pytest.raises(ValueError, match=f"depth {depth}: must be 6n"):
        resnet(depth)


def test_the_padded_shortcut_is_option_a() -> None:
    x = images(2, 16, 8, 8)
    y = pure.CifarResNet(8).layer2[0].downsample(x)
    assert y.shape == (2, 32, 4, 4)
    assert torch.equal(y[:, 8:24], x[:, :, ::2, ::2])
    assert not y[:, :8].any()
    assert not y[:, 24:].any()


@pytest.mark.parametrize("norm", [True, False])
def test_272_layers_neither_explode_nor_vanish(norm: bool) -> None:
    """Branches of new networks give values of one size from the first block to the last, and the
    gradient reaches the first convolution."""
    torch.manual_seed(0)
    model = pure_resnet(272, options=PUReOptions(norm=norm))
    branches: list[float] = []
    for block in model.modules():
        if isinstance(block, PUReBasicBlock):
            block.bn2.register_forward_hook(lambda m, i, y: branches.append(y.std().item()))
    y = model(images(4, 3, 16, 16))
    F.cross_entropy(y, torch.arange(4)).backward()
    least, most = (0.9, 1.1) if norm else (0.02, 2.0)
    assert len(branches) == 135
    assert least < min(branches)
    assert max(branches) < most
    assert 0.1 < y.std() < 200
    first = model.conv1.weight.grad.norm()
    assert all(p.grad.isfinite().all() for p in model.parameters())
    assert 0.1 < first < 1e4
    assert guarded_values(model) == 0


@pytest.mark.parametrize("options", [PUReOptions(), PUReOptions(norm=False)], ids=["norm", "plain"])
def test_they_learn(options: PUReOptions) -> None:
    torch.manual_seed(0)
    model = pure_resnet(8, 4, options)
    x, classes = images(16, 3, 12, 12), torch.arange(16) % 4
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), classes)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.75 * losses[0]
