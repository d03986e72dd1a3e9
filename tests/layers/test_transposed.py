"""The transposed convolution is torch's, values and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from paoncodec.layers.transposed import conv_transpose2d

# kernel, stride, padding, output padding, groups
CASES = [(5, 2, 2, 1, 1), (5, 2, 4, 1, 1), (3, 1, 1, 0, 2), (4, 3, 0, 2, 1), (5, 2, 4, 0, 3)]


def operands(case: tuple[int, ...], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    kernel, _, _, _, groups = case
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 6, 7, 9, generator=generator)
    weight = torch.randn(6, 4, kernel, kernel, generator=generator)
    assert not 6 % groups
    return x.to(dtype).requires_grad_(), weight.to(dtype).requires_grad_()


def results(y: Tensor, *inputs: Tensor) -> list[Tensor]:
    upstream = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(y.dtype)
    return [y.detach(), *torch.autograd.grad(y, inputs, upstream)]


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_it_is_torchs(case: tuple[int, ...], dtype: torch.dtype) -> None:
    _, stride, padding, more, groups = case
    x, weight = operands(case, dtype)
    ours = results(conv_transpose2d(x, weight, stride, padding, more, groups), x, weight)
    theirs = results(
        F.conv_transpose2d(
            x, weight, stride=stride, padding=padding, output_padding=more, groups=groups
        ),
        x,
        weight,
    )
    tolerance = {"rtol": 0.02, "atol": 0.1} if dtype == torch.bfloat16 else {}
    for one, other in zip(ours, theirs, strict=True):
        assert one.dtype == dtype
        torch.testing.assert_close(one, other, **tolerance)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_under_autocast_gradients_come_in_the_inputs_format(case: tuple[int, ...]) -> None:
    _, stride, padding, more, groups = case
    x, weight = operands(case, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        y = conv_transpose2d(x, weight, stride, padding, more, groups)
    assert y.dtype == torch.bfloat16
    value, to_x, to_weight = results(y, x, weight)
    full = results(conv_transpose2d(x, weight, stride, padding, more, groups), x, weight)
    for one, other in zip((value, to_x, to_weight), full, strict=True):
        torch.testing.assert_close(one.float(), other, rtol=0.05, atol=0.2)
    assert to_x.dtype == to_weight.dtype == torch.float32


@pytest.mark.parametrize("needed", [0, 1])
def test_a_gradient_that_nobody_wants_is_not_made(needed: int) -> None:
    operand = operands(CASES[0], torch.bfloat16)
    operand[1 - needed].requires_grad_(False)
    y = conv_transpose2d(*operand, 2, 4, 1, 1)
    y.sum().backward()
    assert operand[needed].grad is not None
    assert operand[1 - needed].grad is None
