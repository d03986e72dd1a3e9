"""The deformable convolution of CPUs: torchvision's, faster."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision.ops import deform_conv2d

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


@pytest.mark.parametrize(("side", "stride", "groups"), [(3, 1, 1), (3, 2, 2), (1, 1, 2), (5, 1, 1)])
def test_it_is_torchvisions_with_its_gradients(side: int, stride: int, groups: int) -> None:
    generator = torch.Generator().manual_seed(side)
    x = torch.randn(2, 4, 9, 9, generator=generator, dtype=torch.float64)
    weight = torch.randn(6, 4 // groups, side, side, generator=generator, dtype=torch.float64)
    offset = places(generator, side, stride, 9)
    leaves = [leaf.requires_grad_() for leaf in (x, offset, weight)]
    ours = deform_by_places(*leaves, stride, groups)
    theirs = deform_conv2d(*leaves, stride=stride)
    torch.testing.assert_close(ours, theirs)
    pull = torch.randn(ours.shape, generator=generator, dtype=torch.float64)
    for mine, wanted in zip(
        torch.autograd.grad(ours, leaves, pull),
        torch.autograd.grad(theirs, leaves, pull),
        strict=True,
    ):
        torch.testing.assert_close(mine, wanted)


def test_a_tap_that_would_leave_is_held_at_the_border() -> None:
    x = torch.arange(12.0).view(1, 1, 3, 4)
    weight = torch.ones(1, 1, 1, 1)
    offset = torch.tensor([-9.0, 99.0])[None, :, None, None].expand(1, 2, 3, 4)
    y = deform_by_places(x, offset, weight)
    assert torch.equal(y, torch.full((1, 1, 3, 4), 3.0))
