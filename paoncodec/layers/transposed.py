"""The transposed convolution, with a faster backward where the library's is slow."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


def conv_transpose2d(
    x: Tensor, weight: Tensor, stride: int, padding: int, output_padding: int, groups: int
) -> Tensor:
    """``torch.nn.functional.conv_transpose2d`` of square kernels, without bias.

    In bfloat16 on a CPU it has a backward of its own, differentiable once: the gradient of the
    weights by the library takes up to three times as long there, for maps of 32×32 and more. In
    float32 on a CPU, where nothing learns, the result is channels last, whatever the operands are.
    """
    if x.device.type == "cpu" and torch.is_autocast_enabled("cpu") and x.dtype != torch.float64:
        dtype = torch.get_autocast_dtype("cpu")
        x, weight = x.to(dtype), weight.to(dtype)
    if x.device.type == "cpu" and x.dtype == weight.dtype == torch.bfloat16:
        return _OnCPU.apply(x, weight, stride, padding, output_padding, groups)
    learns = torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)
    if x.device.type == "cpu" and x.dtype == torch.float32 and not learns:
        # The library computes it so, and otherwise copies all of it: up to half as long again.
        x = x.contiguous(memory_format=torch.channels_last)
    return F.conv_transpose2d(
        x,
        weight,
        stride=stride,
        padding=padding,
        output_padding=output_padding,
        groups=groups,
    )


class _OnCPU(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, stride: int, padding: int, more: int, groups: int
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding, ctx.groups = stride, padding, groups
        return F.conv_transpose2d(
            x, weight, stride=stride, padding=padding, output_padding=more, groups=groups
        )

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        stride, padding, groups = ctx.stride, ctx.padding, ctx.groups
        to_x = to_weight = None
        if ctx.needs_input_grad[0]:
            to_x = F.conv2d(grad, weight, stride=stride, padding=padding, groups=groups)
        if ctx.needs_input_grad[1]:
            # It is that of the convolution whose backward the layer is. With the padding in the
            # map and not in the call, the library finds its fast way.
            _, to_weight, _ = torch.ops.aten.convolution_backward(
                x,
                F.pad(grad, (padding,) * 4),
                weight,
                None,
                [stride] * 2,
                [0, 0],
                [1, 1],
                False,
                [0, 0],
                groups,
                [False, True, False],
            )
        return to_x, to_weight, None, None, None, None
