"""The rational part alone: its own backward, what it keeps, its floor."""

from __future__ import annotations

import itertools
import math
import sys

import pytest
import torch
from torch import Tensor

from paoncodec.layers import DENOMINATOR_FLOOR, Kind, PadeSpec, rational
from paoncodec.layers import rational as rational_function

rational_module = sys.modules[rational_function.__module__]

DEGREES = list(itertools.product(range(4), repeat=2))[1:]
CHANNELS = 4


def stacks(spec: PadeSpec, *rest: int, batch: int = 2) -> list[Tensor]:
    """Random float64 terms in [0.2, 1.2]: away from the kink of | | and from the vanilla poles."""
    shared, longest = min(spec.num, spec.den), max(spec.num, spec.den)
    generator = torch.Generator().manual_seed(0)
    return [
        torch.rand(batch, degrees * CHANNELS, *rest, generator=generator, dtype=torch.float64) + 0.2
        for degrees in (2 * shared, longest - shared)
        if degrees
    ]


def bias() -> Tensor:
    return torch.linspace(-1, 1, CHANNELS, dtype=torch.float64)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("kind", ["smooth", "absolute", "vanilla"])
@pytest.mark.parametrize("degrees", DEGREES)
def test_gradients(degrees: tuple[int, int], kind: Kind, groups: int) -> None:
    spec = PadeSpec(*degrees, kind)
    terms = [s.requires_grad_() for s in stacks(spec, 2, 1, batch=1)]
    assert torch.autograd.gradcheck(
        lambda a0, *s: rational(s, a0, spec, groups), (bias().requires_grad_(), *terms)
    )


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("kind", ["smooth", "absolute", "vanilla"])
@pytest.mark.parametrize("size", [1, 40, 200])
def test_any_parts_give_the_same(
    size: int, kind: Kind, layout: torch.memory_format, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images of 4·5·3 values: bands of a row, of three rows, and several images at a time."""
    spec = PadeSpec(2, 2, kind)
    found = []
    for part in (2**16, size):
        monkeypatch.setattr(rational_module, "_PART_SIZE", part)
        terms = [s.to(memory_format=layout).requires_grad_() for s in stacks(spec, 5, 3, batch=7)]
        a0 = bias().requires_grad_()
        y = rational(terms, a0, spec, groups=2)
        found.append((y, *torch.autograd.grad(y.square().sum(), [a0, *terms])))
    for ours, whole in zip(*found, strict=True):
        torch.testing.assert_close(ours, whole)


@pytest.mark.parametrize("kind", ["smooth", "absolute", "vanilla"])
def test_gradients_of_negative_terms_without_further_dimensions(kind: Kind) -> None:
    spec = PadeSpec(2, 1, kind)
    terms = [s.mul_(-0.4).requires_grad_() for s in stacks(spec)]
    assert torch.autograd.gradcheck(
        lambda a0, *s: rational(s, a0, spec), (bias().requires_grad_(), *terms)
    )


def zero_of_both(distance: float) -> tuple[list[Tensor], Tensor, PadeSpec]:
    """[2/2] terms with P_1 = 3, P_2 = 4 and Q_1 = Q_2 = distance."""
    a0, a1, a2, b1, b2 = 1.0, 2.0, 1.0, distance - 1, 0.0
    stack = torch.tensor([[a1, b1, a2, b2]], dtype=torch.float64)
    return [stack], torch.tensor([a0], dtype=torch.float64), PadeSpec(2, 2, "smooth")


@pytest.mark.parametrize("distance", [0.0, 1e-9, 1e-3, math.sqrt(DENOMINATOR_FLOOR / 2), 0.1, 1.0])
def test_the_floor_bounds_the_value(distance: float) -> None:
    terms, a0, spec = zero_of_both(distance)
    y = rational(terms, a0, spec).item()
    squares = 2 * distance**2
    assert y == pytest.approx(7 * distance / max(squares, DENOMINATOR_FLOOR))
    assert abs(y) <= 5 / math.sqrt(DENOMINATOR_FLOOR)


@pytest.mark.parametrize("distance", [0.0, 1e-3, 0.1])
def test_gradients_on_both_sides_of_the_floor(distance: float) -> None:
    terms, a0, spec = zero_of_both(distance)
    terms = [s.requires_grad_() for s in terms]
    assert torch.autograd.gradcheck(
        lambda a0, *s: rational(s, a0, spec), (a0.requires_grad_(), *terms), eps=1e-7
    )


def test_one_square_at_its_zero_needs_no_floor() -> None:
    """Q_2 = 0 and Q_1 = 1: the value is P_1, far from the floor."""
    stack = torch.tensor([[2.0, 0.0, 5.0, -1.0]])
    assert rational([stack], torch.tensor([1.0]), PadeSpec(2, 2)).item() == 3.0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_smooth_values_beyond_the_root_of_the_largest_number(dtype: torch.dtype) -> None:
    """Q² and Q·P overflow, the quotient (Q_2 P_2 + Q_1 P_1) / (Q_2² + Q_1²) = 8 / 2.5 does not."""
    big = 2.0**100
    stack = torch.tensor([[2 * big, big, 4 * big, big]], dtype=dtype).requires_grad_()
    y = rational([stack], torch.tensor([0.0]), PadeSpec(2, 2))
    y.backward(torch.ones_like(y))
    # P_1 = 2, P_2 = 6, Q_1 = 1, Q_2 = 2 (times big): (12 + 2) / 5
    assert y.item() == pytest.approx(14 / 5, rel=0.01)
    assert stack.grad.isfinite().all()


@pytest.mark.parametrize("kind", ["smooth", "absolute", "vanilla"])
@pytest.mark.parametrize("degrees", DEGREES)
def test_keeps_the_terms_and_the_bias_only(degrees: tuple[int, int], kind: Kind) -> None:
    spec = PadeSpec(*degrees, kind)
    terms = [s.requires_grad_() for s in stacks(spec, 8, 8)]
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        y = rational(terms, bias().requires_grad_(), spec)
    assert y.requires_grad
    needed = terms if spec.den else []
    assert {t.data_ptr() for t in needed} <= {t.data_ptr() for t in kept}
    assert sum(t.nbytes for t in kept) == sum(t.nbytes for t in needed) + bias().nbytes


def test_float16_terms_saturate() -> None:
    stack = torch.tensor([[float("inf"), 0.0], [float("inf"), float("-inf")]], dtype=torch.float16)
    y = rational([stack], torch.tensor([0.0]), PadeSpec(1, 1))
    # P = 65504 with Q = 1, then with Q = 1 - 65504.
    assert y.dtype == torch.float16
    assert y.flatten().tolist() == [32752.0, -1.0]


def test_float16_values_saturate() -> None:
    stack = torch.tensor([[60000.0, 60000.0]], dtype=torch.float16)
    assert rational([stack], torch.tensor([0.0]), PadeSpec(2, 0)).item() == 65504.0


def test_arithmetic_of_float16_is_float32() -> None:
    """Q² = 1e6 is beyond float16; the quotient is not."""
    stack = torch.tensor([[2000.0, 1000.0]], dtype=torch.float16)
    y = rational([stack], torch.tensor([0.5]), PadeSpec(1, 1))
    assert y.item() == pytest.approx((1001 * 2000.5 + 0.5) / (1001**2 + 1), rel=1e-3)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("batch", [1, 2])
def test_the_memory_layout_stays(batch: int, layout: torch.memory_format) -> None:
    spec = PadeSpec(2, 1)
    terms = [stack.to(memory_format=layout) for stack in stacks(spec, 5, 3, batch=batch)]
    terms = [stack.requires_grad_() for stack in terms]
    y = rational(terms, bias(), spec)
    assert y.is_contiguous(memory_format=layout)
    # Also to torch's convolutions, which look at the first stride even of a single image.
    assert y.stride(0) >= y[0].numel()
    y.sum().backward()
    assert all(s.grad.is_contiguous(memory_format=layout) for s in terms)


def test_a_second_derivative_is_refused() -> None:
    spec = PadeSpec(1, 1)
    (terms,) = stacks(spec)
    y = rational([terms.requires_grad_()], bias(), spec)
    (grad,) = torch.autograd.grad(y.square().sum(), terms, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


@pytest.mark.parametrize(
    ("degrees", "channels", "expected"),
    [
        ((1, 1), [4], r"\[4\].*\[8\]"),
        ((2, 1), [8], r"\[8\].*\[8, 4\]"),
        ((1, 0), [8], r"\[8\].*\[4\]"),
        ((2, 2), [8, 8], r"\[8, 8\].*\[16\]"),
    ],
)
def test_stacks_of_other_degrees_are_refused(degrees, channels, expected) -> None:
    with pytest.raises(ValueError, match=expected):
        rational([torch.zeros(1, c) for c in channels], torch.zeros(4), PadeSpec(*degrees))


@pytest.mark.parametrize("degrees", [(0, 0), (-1, 2), (2, -1)])
def test_impossible_degrees_are_refused(degrees: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=rf"\({degrees[0]}, {degrees[1]}\).*>= 0.*sum >= 1"):
        PadeSpec(*degrees)


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'soft'.*smooth, absolute, vanilla"):
        PadeSpec(1, 1, "soft")  # type: ignore[arg-type]
