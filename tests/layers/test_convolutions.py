"""The convolutions are torch's, values and gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from paoncodec.layers.convolutions import (
    conv2d,
    conv_transpose2d,
    full_precision,
    full_values,
    gradients_in_bfloat16,
)

BFLOAT16 = {"rtol": 0.02, "atol": 0.1}


@dataclass(frozen=True)
class Case:
    """A convolution of ours, torch's, and the shape of its weight."""

    ours: Callable[[Tensor, Tensor], Tensor]
    theirs: Callable[[Tensor, Tensor], Tensor]
    weight: tuple[int, ...]

    @classmethod
    def plain(cls, kernel: int, stride: int, groups: int) -> Case:
        return cls(
            partial(conv2d, stride=stride, groups=groups),
            partial(F.conv2d, stride=stride, groups=groups),
            (6, 6 // groups, kernel, kernel),
        )

    @classmethod
    def transposed(cls, kernel: int, stride: int, padding: int, more: int, groups: int) -> Case:
        options = {"stride": stride, "padding": padding, "output_padding": more, "groups": groups}
        return cls(
            partial(conv_transpose2d, **options),
            partial(F.conv_transpose2d, **options),
            (6, 4, kernel, kernel),
        )


CASES = {
    "5x5, stride 2": Case.plain(5, 2, 1),
    "3x3, 3 groups": Case.plain(3, 1, 3),
    "1x1": Case.plain(1, 1, 1),
    "transposed": Case.transposed(5, 2, 2, 1, 1),
    "transposed, padded": Case.transposed(5, 2, 4, 1, 1),
    "transposed, 2 groups": Case.transposed(3, 1, 1, 0, 2),
    "transposed, stride 3": Case.transposed(4, 3, 0, 2, 1),
    "transposed, 3 groups": Case.transposed(5, 2, 4, 0, 3),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


def operands(case: Case, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 6, 7, 9, generator=generator)
    weight = torch.randn(case.weight, generator=generator)
    return x.to(dtype).requires_grad_(), weight.to(dtype).requires_grad_()


def results(y: Tensor, *inputs: Tensor) -> list[Tensor]:
    upstream = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(y.dtype)
    return [y.detach(), *torch.autograd.grad(y, inputs, upstream)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_it_is_torchs(case: Case, dtype: torch.dtype) -> None:
    inputs = operands(case, dtype)
    ours = results(case.ours(*inputs), *inputs)
    theirs = results(case.theirs(*inputs), *inputs)
    for one, other in zip(ours, theirs, strict=True):
        assert one.dtype == dtype
        torch.testing.assert_close(one, other, **(BFLOAT16 if dtype == torch.bfloat16 else {}))


def test_under_autocast_gradients_come_in_the_inputs_format(case: Case) -> None:
    inputs = operands(case)
    with torch.autocast("cpu", torch.bfloat16):
        y = case.ours(*inputs)
    assert y.dtype == torch.bfloat16
    value, to_x, to_weight = results(y, *inputs)
    full = results(case.ours(*inputs), *inputs)
    for one, other in zip((value, to_x, to_weight), full, strict=True):
        torch.testing.assert_close(one.float(), other, rtol=0.05, atol=0.2)
    assert to_x.dtype == to_weight.dtype == torch.float32


@pytest.mark.parametrize("autocast", [False, True])
def test_gradients_alone_are_in_bfloat16(case: Case, autocast: bool) -> None:
    inputs = operands(case)
    with (
        gradients_in_bfloat16(not autocast),
        torch.autocast("cpu", torch.bfloat16, enabled=autocast),
        full_values("cpu"),
    ):
        y = case.ours(*inputs)
    value, *gradients = results(y, *inputs)
    exact, *others = results(case.theirs(*inputs), *inputs)
    torch.testing.assert_close(value, exact)
    for one, other in zip(gradients, others, strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one, other, **BFLOAT16)
        assert not torch.allclose(one, other, rtol=1e-4, atol=1e-4)


def test_what_is_asked_for_in_full_precision_is(case: Case) -> None:
    inputs = operands(case)
    with gradients_in_bfloat16(), torch.autocast("cpu", torch.bfloat16), full_precision("cpu"):
        y = case.ours(*inputs)
    for one, other in zip(results(y, *inputs), results(case.theirs(*inputs), *inputs), strict=True):
        torch.testing.assert_close(one, other)


def test_float64_is_never_reduced(case: Case) -> None:
    inputs = operands(case, torch.float64)
    with gradients_in_bfloat16():
        y = case.ours(*inputs)
    for one, other in zip(results(y, *inputs), results(case.theirs(*inputs), *inputs), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_without_a_gradient_nothing_is_reduced(case: Case) -> None:
    inputs = operands(case)
    with torch.no_grad(), gradients_in_bfloat16():
        torch.testing.assert_close(case.ours(*inputs), case.theirs(*inputs))


@pytest.mark.parametrize("needed", [0, 1])
def test_a_gradient_that_nobody_wants_is_not_made(case: Case, needed: int) -> None:
    operand = operands(case, torch.bfloat16)
    operand[1 - needed].requires_grad_(False)
    case.ours(*operand).sum().backward()
    assert operand[needed].grad is not None
    assert operand[1 - needed].grad is None


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_gradients_of_weights_lie_as_optimisers_take_them(
    case: Case, layout: torch.memory_format
) -> None:
    """torch's fused Adam takes a gradient for laid as its weight is."""
    x, weight = operands(case)
    weight = weight.detach().contiguous(memory_format=layout).requires_grad_()
    with gradients_in_bfloat16():
        case.ours(x, weight).sum().backward()
    assert weight.grad is not None
    assert weight.grad.stride() == weight.stride()
