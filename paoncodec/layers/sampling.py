"""Deformable convolution on CPUs, where torchvision's takes one value at a time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


def deform_by_places(
    x: Tensor, offset: Tensor, weight: Tensor, stride: int = 1, groups: int = 1
) -> Tensor:
    """torchvision's ``deform_conv2d`` for offsets that all channels share, and stay inside.

    Each tap takes the channels of four places at once, as rows of memory; what is sampled then goes
    through a matrix product. As it is k² times the input, it is not kept for the backward but taken
    again, as torchvision does. `tools/bench_layers.py` has the speed.

    Args:
        x: (B, C, H, W) float32 or float64, with its border.
        offset: (B, 2·k², H', W'), dy and dx of each tap, taps in raster order. A tap that would
            leave x is held at its border.
        weight: (C_out, C / groups, k, k).
        stride: step of the output positions.
        groups: blocks of channels convolved apart.

    Returns:
        (B, C_out, H', W'). Differentiable once.
    """
    y: Tensor = _Deform.apply(x, offset, weight, stride, groups)
    return y


class _Deform(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, offset: Tensor, weight: Tensor, stride: int, groups: int
    ) -> Tensor:
        ctx.save_for_backward(x, offset, weight)
        ctx.stride, ctx.groups = stride, groups
        return _deformed(x, offset, weight, stride, groups)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, offset, weight = leaves = [
            saved.detach().requires_grad_(needed)
            for saved, needed in zip(ctx.saved_tensors, ctx.needs_input_grad[:3], strict=True)
        ]
        with torch.enable_grad():
            y = _deformed(x, offset, weight, ctx.stride, ctx.groups)
        wanted = [leaf for leaf in leaves if leaf.requires_grad]
        found = iter(torch.autograd.grad(y, wanted, grad))
        return (*(next(found) if leaf.requires_grad else None for leaf in leaves), None, None)


def _deformed(x: Tensor, offset: Tensor, weight: Tensor, stride: int, groups: int) -> Tensor:
    batch, channels, height, width = x.shape
    side = weight.shape[2]
    places, shares = _four_places(offset, side, stride, (height, width))
    rows = x.permute(0, 2, 3, 1).reshape(-1, channels)
    taken = F.embedding_bag(places, rows, per_sample_weights=shares, mode="sum")
    y = _products(taken.view(-1, side * side, channels), weight, groups)
    return y.view(batch, *offset.shape[2:], -1).permute(0, 3, 1, 2)


def _four_places(
    offset: Tensor, side: int, stride: int, size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Where each tap looks: four rows of the flattened input, and the bilinear share of each.

    Returns:
        (B·H'·W'·k², 4) both.
    """
    batch, _, out_height, out_width = offset.shape
    moves = offset.unflatten(1, (side * side, 2)).permute(0, 3, 4, 1, 2)  # (B, H', W', k², 2)
    corner = stride * _grid(out_height, out_width, offset)  # (H', W', 2)
    tap = _grid(side, side, offset).flatten(0, 1)  # (k², 2)
    near, fraction = zip(
        *(
            _parted(moves[..., axis] + (corner[:, :, None, axis] + tap[:, axis]), size[axis])
            for axis in (0, 1)
        ),
        strict=True,
    )
    (top, left), (fy, fx) = near, fraction
    below, right = (top + 1).clamp(max=size[0] - 1), (left + 1).clamp(max=size[1] - 1)
    image = size[0] * size[1] * torch.arange(batch, device=offset.device)[:, None, None, None]
    places = [image + row * size[1] + column for row in (top, below) for column in (left, right)]
    shares = [v * h for v in (1 - fy, fy) for h in (1 - fx, fx)]
    return torch.stack(places, -1).view(-1, 4), torch.stack(shares, -1).view(-1, 4)


def _grid(height: int, width: int, like: Tensor) -> Tensor:
    """(height, width, 2): row and column of each place."""
    sides = (torch.arange(n, device=like.device, dtype=like.dtype) for n in (height, width))
    return torch.stack(torch.meshgrid(*sides, indexing="ij"), -1)


def _parted(position: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The pixel before a position, and how far behind it the position is."""
    position = position.clamp(0, size - 1)
    whole = position.detach().floor()
    return whole.long(), position - whole


def _products(taken: Tensor, weight: Tensor, groups: int) -> Tensor:
    """(N, k², C) samples, (C_out, C / groups, k, k) → (N, C_out)."""
    if groups == 1:
        return taken.flatten(1) @ weight.permute(2, 3, 1, 0).flatten(0, 2)
    grouped = taken.unflatten(2, (groups, -1)).permute(2, 0, 1, 3).flatten(2)  # (g, N, k²·C / g)
    by_group = weight.unflatten(0, (groups, -1)).permute(0, 3, 4, 2, 1).flatten(1, 3)
    return torch.bmm(grouped, by_group).permute(1, 0, 2).flatten(1)
