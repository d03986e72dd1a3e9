"""Deformable convolution on CPUs, where torchvision's takes one value at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

#: Values that the taps of a part sample, about as many as stay in a processor's cache.
_PART_SIZE = 2**19


def deform_by_places(
    x: Tensor, offset: Tensor, weight: Tensor, stride: int = 1, groups: int = 1, border: int = 0
) -> Tensor:
    """torchvision's ``deform_conv2d`` of a picture without an end, by offsets of all channels.

    Each tap takes the channels of four places at once, as rows of memory; what is sampled then goes
    through a matrix product. As it is k² times the input, it is not kept for the backward but taken
    again, as torchvision does; a few images are worked on at a time. `tools/bench_layers.py` has
    the speed.

    Args:
        x: (B, C, H, W) float32 or float64. A tap that looks outside sees the last pixel.
        offset: (B, 2·k², H', W'), dy and dx of each tap, taps in raster order.
        weight: (C_out, C / groups, k, k).
        stride: step of the output positions.
        groups: blocks of channels convolved apart.
        border: how many pixels the first kernel begins outside x.

    Returns:
        (B, C_out, H', W'). Differentiable once.
    """
    y: Tensor = _Deform.apply(x, offset, weight, stride, groups, border)
    return y


class _Deform(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        offset: Tensor,
        weight: Tensor,
        stride: int,
        groups: int,
        border: int,
    ) -> Tensor:
        ctx.save_for_backward(x, offset, weight)
        ctx.stride, ctx.groups, ctx.border = stride, groups, border
        kernel, count = _as_matrices(weight, groups), weight[0, 0].numel()
        start = _start(offset, weight.shape[2], stride) - border
        y = x.new_empty(len(x), len(weight), *offset.shape[2:])
        for part in _parts(x, offset):
            taps = _Taps(offset[part], start, x.shape[2:])
            taken = _by_group(taps.sampled(_rows(x[part])), groups, count)
            _put(torch.bmm(taken, kernel), y[part])
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, offset, weight = ctx.saved_tensors
        to_x, to_offset, to_weight = ctx.needs_input_grad[:3]
        kernel, count = _as_matrices(weight, ctx.groups), weight[0, 0].numel()
        start = _start(offset, weight.shape[2], ctx.stride) - ctx.border
        x_grad = torch.empty_like(x) if to_x else None
        offset_grad = torch.empty_like(offset) if to_offset else None
        kernel_grad = torch.zeros_like(kernel) if to_weight else None
        for part in _parts(x, offset):
            taps = _Taps(offset[part], start, x.shape[2:])
            rows = _rows(x[part])
            pull = _rows_by_group(grad[part], ctx.groups)
            if kernel_grad is not None:
                taken = _by_group(taps.sampled(rows), ctx.groups, count)
                kernel_grad.baddbmm_(taken.mT, pull)
                del taken
            if x_grad is None and offset_grad is None:
                continue
            tap_pull = _from_groups(torch.bmm(pull, kernel.mT), count)
            if x_grad is not None:
                _put(taps.scattered(tap_pull)[None], x_grad[part])
            if offset_grad is not None:
                offset_grad[part] = taps.moved(rows, tap_pull)
        weight_grad = None if kernel_grad is None else _as_weight(kernel_grad, weight.shape)
        return x_grad, offset_grad, weight_grad, None, None, None


def _parts(x: Tensor, offset: Tensor) -> Iterator[slice]:
    """The images, a few at a time."""
    samples = x.shape[1] * offset.shape[1:].numel() // 2
    step = max(1, _PART_SIZE // max(1, samples))
    return (slice(first, first + step) for first in range(0, len(x), step))


#: Slopes of the shares of the four pixels (columns): downwards, by 1 and how far a position is to
#: the right of the first (rows), and to the right, by how far it is below it and 1.
_DOWN = ((-1, 0, 1, 0), (1, -1, -1, 1))
_RIGHT = ((1, -1, -1, 1), (-1, 1, 0, 0))


class _Taps:
    """Where the taps of some images look: each at four neighbouring pixels, by bilinear shares.

    Pixels are numbered through the images; samples are ordered (image, place, tap).

    Args:
        offset: (n, 2·k², H', W').
        start: where taps look at offsets of 0, (k², 2, H'·W').
        size: (H, W) of the input.
    """

    def __init__(self, offset: Tensor, start: Tensor, size: torch.Size) -> None:
        images, (height, width) = len(offset), size
        at = offset.unflatten(1, (-1, 2)).flatten(3) + start  # (n, k², 2, H'·W')
        last = at.new_tensor([height - 1, width - 1])[:, None]
        self._last, self._at = last, at
        at = torch.minimum(at.clamp(min=0), last)
        # One before the last pixel, so that there is always one behind; or the only pixel.
        first = torch.minimum(at.floor(), (last - 1).clamp(min=0))
        row, column = first.int().unbind(2)
        pixel = torch.add(column, row, alpha=width)
        image = torch.arange(images, device=offset.device, dtype=torch.int32)
        pixel += height * width * image[:, None, None]
        self._shape = offset.shape
        self._pixels = images * height * width
        #: Number of the first of the four pixels, (samples,), and what to add for each.
        self._first = pixel.mT.reshape(-1)
        right, down = min(1, width - 1), width * min(1, height - 1)
        self._steps = (0, right, down, down + right)
        self._four = self._first[:, None] + self._first.new_tensor(self._steps)
        #: How far the position is behind it down, 1, and how far to the right: (3, samples).
        self._behind = at.new_ones(3, len(self._first))
        fraction = at.sub_(first).permute(2, 0, 3, 1)
        self._behind[::2].view(fraction.shape).copy_(fraction)

    def sampled(self, rows: Tensor) -> Tensor:
        """(pixels, C) → (samples, C)."""
        weights = rows.new_empty(len(self._first), 4)
        _put_shares(self._behind, weights.unbind(1))
        return self._weighted(rows, weights)

    def scattered(self, grad: Tensor) -> Tensor:
        """The gradient of the rows from that of :meth:`sampled`: (samples, C) → (pixels, C)."""
        # Sorted by pixel, what a pixel gets is again a weighted sum of rows.
        order, bags = self._by_pixel()
        shares = grad.new_empty(4, len(order)).unbind()
        _put_shares(self._behind.index_select(1, order), shares)
        total = grad.new_zeros(self._pixels, grad.shape[1])
        for step, share in zip(self._steps, shares, strict=True):
            part = F.embedding_bag(order, grad, bags, mode="sum", per_sample_weights=share)
            total[step:] += part[: len(part) - step]
        return total

    def moved(self, rows: Tensor, grad: Tensor) -> Tensor:
        """The gradient of the offsets from that of :meth:`sampled`, in the order of the offsets."""
        ones = rows.new_ones(rows.shape[1])
        found = grad.new_empty(2, len(grad))
        for axis, (first, slopes) in enumerate(((1, _DOWN), (0, _RIGHT))):
            weights = self._behind[first : first + 2].mT @ rows.new_tensor(slopes)
            torch.mv(self._weighted(rows, weights).mul_(grad), ones, out=found[axis])
        images, taps, _, places = self._at.shape
        by_tap = found.view(2, images, places, taps).permute(1, 3, 0, 2)
        inside = (self._at >= 0) & (self._at < self._last)
        return (by_tap * inside).reshape(self._shape)

    def _weighted(self, rows: Tensor, weights: Tensor) -> Tensor:
        return F.embedding_bag(self._four, rows, mode="sum", per_sample_weights=weights)

    def _by_pixel(self) -> tuple[Tensor, Tensor]:
        """The samples in the order of their first pixels, and where those of each pixel begin."""
        # numpy sorts numbers several times as fast as torch sorts numbers and their places. With
        # its place in the lower bits each key is unique.
        count = len(self._first)
        bits = count.bit_length()
        keys = torch.arange(count).add_(self._first.long(), alpha=1 << bits)
        order = torch.from_numpy(np.sort(keys.numpy())).bitwise_and_((1 << bits) - 1)
        held = torch.bincount(self._first, minlength=self._pixels)
        return order.int(), (held.cumsum(0) - held).int()


def _put_shares(behind: Tensor, into: Sequence[Tensor]) -> None:
    """The bilinear shares of the four pixels, from how far behind the first the positions are."""
    down, _, right = behind
    torch.mul(down, right, out=into[3])
    torch.sub(right, into[3], out=into[1])
    torch.sub(down, into[3], out=into[2])
    torch.sub(1 - down, into[1], out=into[0])


def _start(offset: Tensor, side: int, stride: int) -> Tensor:
    """Where taps look at offsets of 0: row and column of each, (k², 2, H'·W')."""
    height, width = offset.shape[2:]
    corner = stride * _grid(height, width, offset)
    return _grid(side, side, offset).mT[:, :, None] + corner


def _grid(height: int, width: int, like: Tensor) -> Tensor:
    """(2, height·width): row and column of each place."""
    sides = (torch.arange(n, device=like.device, dtype=like.dtype) for n in (height, width))
    return torch.stack(torch.meshgrid(*sides, indexing="ij")).flatten(1)


def _rows(maps: Tensor) -> Tensor:
    """(n, C, H, W) → (n·H·W, C)."""
    by_place = maps.detach().permute(0, 2, 3, 1).contiguous()  # a bag of others is slow
    return by_place.view(-1, maps.shape[1])


def _rows_by_group(maps: Tensor, groups: int) -> Tensor:
    """(n, C, H, W) → (g, n·H·W, C / g)."""
    return maps.unflatten(1, (groups, -1)).permute(1, 0, 3, 4, 2).flatten(1, 3)


def _put(rows: Tensor, maps: Tensor) -> None:
    """(g, n·H·W, C / g) → (n, C, H, W), in place."""
    images, _, height, width = maps.shape
    by_place = rows.unflatten(1, (images, height, width)).permute(1, 0, 4, 2, 3)
    maps.unflatten(1, (len(rows), -1)).copy_(by_place)


def _by_group(taken: Tensor, groups: int, taps: int) -> Tensor:
    """(n·H·W·k², C) → (g, n·H·W, k²·C / g)."""
    return taken.view(-1, taps, groups, taken.shape[1] // groups).permute(2, 0, 1, 3).flatten(2)


def _from_groups(taken: Tensor, taps: int) -> Tensor:
    """(g, n·H·W, k²·C / g) → (n·H·W·k², C)."""
    groups = len(taken)
    channels = groups * (taken.shape[2] // taps)
    return taken.unflatten(2, (taps, -1)).permute(1, 2, 0, 3).reshape(-1, channels)


def _as_matrices(weight: Tensor, groups: int) -> Tensor:
    """(C_out, C / g, k, k) → (g, k²·C / g, C_out / g)."""
    return weight.unflatten(0, (groups, -1)).permute(0, 3, 4, 2, 1).flatten(1, 3)


def _as_weight(matrices: Tensor, shape: torch.Size) -> Tensor:
    """:func:`_as_matrices`, back."""
    _, channels, side, _ = shape
    return matrices.unflatten(1, (side, side, channels)).permute(0, 4, 3, 1, 2).reshape(shape)
