"""The deformable convolution of CPUs: torchvision's, faster."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import deform_conv2d

from paoncodec.layers import sampling
from paoncodec.layers.sampling import deform_by_places


def places(generator: torch.Generator, side: int, stride: int, size: int) -> Tensor:
    """Offsets within the padded input, none of them where a slope is not defined."""
    out = (size - side) // stride + 1
    centre = stride * torch.arange(out, dtype=torch.float64)
    tap = torch.arange(side, dtype=torch.float64)
    wanted = torch.rand(2, side, side, 2, out, out, generator=generator, dtype=torch.float64)
    wanted = (size - 1) * (0.02 + 0.96 * wanted)
    wanted[:, :, :, 0] -= centre[:, None] + tap[:, None, None, None]
    wanted[:, :, :, 1] -= centre + tap[:, None, None]
    return wanted.flatten(1, 3)


def assert_same(
    ours: Tensor, theirs: Tensor, leaves: list[Tensor], generator: torch.Generator
) -> None:
    """Equal values, and equal gradients of all leaves."""
    torch.testing.assert_close(ours, theirs)
    pull = torch.randn(ours.shape, generator=generator, dtype=torch.float64)
    for mine, wanted in zip(
        torch.autograd.grad(ours, leaves, pull),
        torch.autograd.grad(theirs, leaves, pull),
        strict=True,
    ):
        torch.testing.assert_close(mine, wanted)


@pytest.mark.parametrize("part", [1, 2**20], ids=["image by image", "at once"])
@pytest.mark.parametrize(("side", "stride", "groups"), [(3, 1, 1), (3, 2, 2), (1, 1, 2), (4, 2, 1)])
def test_it_is_torchvisions_with_its_gradients(
    side: int, stride: int, groups: int, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "_PART_SIZE", part)
    generator = torch.Generator().manual_seed(side)
    x = torch.randn(2, 4, 9, 9, generator=generator, dtype=torch.float64)
    weight = torch.randn(6, 4 // groups, side, side, generator=generator, dtype=torch.float64)
    offset = places(generator, side, stride, 9)
    leaves = [leaf.requires_grad_() for leaf in (x, offset, weight)]
    ours = deform_by_places(*leaves, stride, groups)
    theirs = deform_conv2d(*leaves, stride=stride)
    assert_same(ours, theirs, leaves, generator)


def test_a_tap_that_would_leave_is_held_at_the_border() -> None:
    x = torch.arange(12.0).view(1, 1, 3, 4)
    weight = torch.ones(1, 1, 1, 1)
    offset = torch.tensor([-9.0, 99.0])[None, :, None, None].expand(1, 2, 3, 4)
    y = deform_by_places(x, offset, weight)
    assert torch.equal(y, torch.full((1, 1, 3, 4), 3.0))


@pytest.mark.parametrize(("border", "stride"), [(1, 1), (2, 2)])
def test_a_border_is_as_if_the_last_pixels_were_repeated(border: int, stride: int) -> None:
    generator = torch.Generator().manual_seed(border)
    side = 2 * border + 1
    size = 9 + 2 * border
    x = torch.randn(2, 4, 9, 9, generator=generator, dtype=torch.float64)
    weight = torch.randn(6, 4, side, side, generator=generator, dtype=torch.float64)
    leaves = [x.requires_grad_(), places(generator, side, stride, size).requires_grad_()]
    leaves.append(weight.requires_grad_())
    ours = deform_by_places(*leaves, stride, border=border)
    wide = F.pad(x, (border,) * 4, mode="replicate")
    theirs = deform_conv2d(wide, *leaves[1:], stride=stride)
    assert_same(ours, theirs, leaves, generator)


@pytest.mark.parametrize("size", [(1, 1), (1, 4), (3, 1)])
def test_a_single_row_or_column(size: tuple[int, int]) -> None:
    x = torch.randn(2, 3, *size, dtype=torch.float64, requires_grad=True)
    offset = torch.zeros(2, 2, *size, dtype=torch.float64)
    weight = torch.eye(3, dtype=torch.float64)[:, :, None, None]
    y = deform_by_places(x, offset, weight)
    assert torch.equal(y, x)
    pull = torch.randn_like(y)
    assert torch.equal(torch.autograd.grad(y, x, pull)[0], pull)


@pytest.mark.parametrize("needed", [0, 1, 2])
def test_one_gradient_at_a_time(needed: int) -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = (2, 4, 9, 9), (6, 4, 3, 3)
    x, weight = (torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes)
    leaves = [x, places(generator, 3, 1, 9), weight]
    every = [leaf.clone().requires_grad_() for leaf in leaves]
    deform_by_places(*every).sum().backward()
    leaves[needed].requires_grad_()
    deform_by_places(*leaves).sum().backward()
    torch.testing.assert_close(leaves[needed].grad, every[needed].grad)


def test_channels_last_are_the_same() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 4, 9, 9, generator=generator, dtype=torch.float64)
    weight = torch.randn(6, 4, 3, 3, generator=generator, dtype=torch.float64)
    found = []
    for layout in (torch.contiguous_format, torch.channels_last):
        leaves = [
            leaf.clone(memory_format=layout).requires_grad_()
            for leaf in (x, places(torch.Generator().manual_seed(1), 3, 1, 9), weight)
        ]
        y = deform_by_places(*leaves)
        found.append([y, *torch.autograd.grad(y.square().sum(), leaves)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)
