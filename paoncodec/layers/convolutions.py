"""The convolutions of Padé layers, as CPUs train them fastest.

Products of a gradient need no more digits than bfloat16 has: it comes out right to half a percent.
Values need more. What a trained codec leaves of a picture is small beside the picture, and where
values are in bfloat16, the gradient is mostly that of their rounding.

Maps and kernels lie channels last here, whatever the operands are: the library then computes up to
eight times as fast in bfloat16, and what is converted is copied anyway.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from paoncodec.layers.layout import channels_last

#: Whether products of gradients are in bfloat16 and those of values are not.
_GRADIENTS_ALONE: ContextVar[bool] = ContextVar("gradients_alone", default=False)


@contextmanager
def gradients_in_bfloat16(wanted: bool = True) -> Iterator[None]:
    """Inside, convolutions of Padé layers on a CPU have gradients whose products are in bfloat16.

    Values are in the format of the operands, and so are the gradients themselves.
    """
    token = _GRADIENTS_ALONE.set(wanted)
    try:
        yield
    finally:
        _GRADIENTS_ALONE.reset(token)


@contextmanager
def full_values(device_type: str) -> Iterator[None]:
    """Inside, autocast is off, but where it was in bfloat16, gradients on a CPU stay there."""
    reduced = _autocast_format(device_type) == torch.bfloat16 or _GRADIENTS_ALONE.get()
    with gradients_in_bfloat16(reduced), torch.autocast(device_type, enabled=False):
        yield


@contextmanager
def full_precision(device_type: str) -> Iterator[None]:
    """Inside, all products are in the format of their operands."""
    with gradients_in_bfloat16(False), torch.autocast(device_type, enabled=False):
        yield


def conv2d(x: Tensor, weight: Tensor, stride: int, groups: int) -> Tensor:
    """``torch.nn.functional.conv2d`` without bias and padding.

    x (B, C, H, W) and weight (out, C / groups, k, k) → (B, out, H', W').

    Where gradients are in bfloat16 on a CPU, it can be differentiated once: of gradients taken with
    ``create_graph`` torch refuses a second derivative, or leaves this one's part out of it.
    """
    form = _Form(stride, groups)
    if _is_ours(x, weight):
        return _OnCPU.apply(x, weight, form)
    return form.of(x, weight)


def conv_transpose2d(
    x: Tensor, weight: Tensor, stride: int, padding: int, output_padding: int, groups: int
) -> Tensor:
    """``torch.nn.functional.conv_transpose2d`` of square kernels, without bias.

    x (B, C, H, W) and weight (C, out / groups, k, k) → (B, out, H', W').

    Where gradients are in bfloat16 on a CPU, it can be differentiated once, as :func:`conv2d`, and
    has a backward of its own: the gradient of the weights by the library takes up to three times as
    long there, for maps of 32×32 and more. In float32 on a CPU, where nothing learns, the result is
    channels last, whatever the operands are.
    """
    form = _Form(stride, groups, padding, output_padding, transposed=True)
    if _is_ours(x, weight):
        return _OnCPU.apply(x, weight, form)
    autocast = _autocast_format("cpu") is not None
    learns = torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)
    if x.device.type == "cpu" and x.dtype == torch.float32 and not learns and not autocast:
        # The library computes it so, and otherwise copies all of it: up to half as long again.
        x = x.contiguous(memory_format=torch.channels_last)
    return form.of(x, weight)


@dataclass(frozen=True)
class _Form:
    """All that a convolution is beside its operands."""

    stride: int
    groups: int
    padding: int = 0
    output_padding: int = 0
    transposed: bool = False

    def of(self, x: Tensor, weight: Tensor) -> Tensor:
        if not self.transposed:
            return F.conv2d(x, weight, stride=self.stride, groups=self.groups)
        return F.conv_transpose2d(
            x,
            weight,
            stride=self.stride,
            padding=self.padding,
            output_padding=self.output_padding,
            groups=self.groups,
        )

    def to_input(self, grad: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        """Gradient of x."""
        if self.transposed:
            return F.conv2d(
                grad, weight, stride=self.stride, padding=self.padding, groups=self.groups
            )
        return _backward(grad, x, weight, self, 0)

    def to_weight(self, grad: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        """Gradient of the weight."""
        if self.transposed:
            # It is that of the convolution whose backward the layer is. With the padding in the
            # map and not in the call, the library finds its fast way.
            return _backward(x, F.pad(grad, (self.padding,) * 4), weight, self, 1)
        return _backward(grad, x, weight, self, 1)


def _backward(grad: Tensor, x: Tensor, weight: Tensor, form: _Form, which: int) -> Tensor:
    """Of a convolution without padding, the gradient of x (0) or of the weight (1)."""
    gradients = torch.ops.aten.convolution_backward(
        grad,
        x,
        weight,
        None,
        [form.stride] * 2,
        [0, 0],
        [1, 1],
        False,
        [0, 0],
        form.groups,
        [which == 0, which == 1, False],
    )
    gradient: Tensor = gradients[which]
    return gradient


class _OnCPU(torch.autograd.Function):
    """Gradients in bfloat16; values too, unless gradients alone are."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, form: _Form) -> Tensor:
        ctx.form, ctx.formats = form, (x.dtype, weight.dtype)
        ctx.layout = torch.channels_last if channels_last(weight) else torch.contiguous_format
        x, weight = (o.contiguous(memory_format=torch.channels_last) for o in (x, weight))
        reduced = _reduced(x), _reduced(weight)
        ctx.save_for_backward(*reduced)
        return form.of(x, weight) if _GRADIENTS_ALONE.get() else form.of(*reduced)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        grad = _reduced(grad)
        to_x = to_weight = None
        if ctx.needs_input_grad[0]:
            to_x = ctx.form.to_input(grad, x, weight).to(ctx.formats[0])
        if ctx.needs_input_grad[1]:
            to_weight = ctx.form.to_weight(grad, x, weight)
            to_weight = to_weight.to(ctx.formats[1], memory_format=ctx.layout)
        return to_x, to_weight, None


def _reduced(operand: Tensor) -> Tensor:
    # Not in one call, which takes half as long again.
    return operand.to(torch.bfloat16).contiguous(memory_format=torch.channels_last)


def _is_ours(x: Tensor, weight: Tensor) -> bool:
    if x.device.type != "cpu" or x.dtype == torch.float64:
        return False
    if _GRADIENTS_ALONE.get():
        return torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)
    autocast = _autocast_format("cpu")
    if autocast is not None:
        return autocast == torch.bfloat16
    return x.dtype == weight.dtype == torch.bfloat16


def _autocast_format(device_type: str) -> torch.dtype | None:
    """What autocast makes of products, where it is on."""
    if not torch.is_autocast_enabled(device_type):
        return None
    return torch.get_autocast_dtype(device_type)
