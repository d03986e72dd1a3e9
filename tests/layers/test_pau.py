"""The Padé activation unit: formula, start, gradients, what it keeps."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from paoncodec.layers import PAU


def by_formula(unit: PAU, x: Tensor) -> Tensor:
    num = sum(a * x**k for k, a in enumerate(unit.numerator))
    den = sum(b * x**k for k, b in enumerate(unit.denominator, 1))
    return num / (1 + den.abs())


@pytest.mark.parametrize(("num", "den"), [(7, 6), (5, 4), (0, 1), (2, 3)])
def test_formula_and_gradients(num: int, den: int) -> None:
    unit = PAU(num, den).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in unit.parameters():
            parameter.normal_(0, 0.5, generator=generator)
    x = torch.randn(3, 4, generator=generator, dtype=torch.float64).requires_grad_()
    torch.testing.assert_close(unit(x), by_formula(unit, x))
    assert torch.autograd.gradcheck(lambda x, *_: unit(x), (x, *unit.parameters()))


@pytest.mark.parametrize(
    ("num", "den", "slope", "most"), [(7, 6, 0.01, 0.015), (7, 6, 0.2, 0.012), (5, 4, 0.01, 0.04)]
)
def test_the_start_is_near_the_leaky_relu(num: int, den: int, slope: float, most: float) -> None:
    unit, x = PAU(num, den, slope), torch.linspace(-3, 3, 1001)
    error = (unit(x) - F.leaky_relu(x, slope)).abs()
    assert most / 2 < error.max() < most
    assert error.argmax() == 500  # at the kink
    wide = torch.linspace(-100, 100, 1001, dtype=torch.float64)
    inner = sum(b * wide**k for k, b in enumerate(unit.denominator.double(), 1))
    assert inner.min() > -1e-6  # the absolute value changes nothing yet


def test_keeps_its_input_and_coefficients_only() -> None:
    unit, x = PAU(), torch.randn(8, 16, requires_grad=True)
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        unit(x)
    assert sum(t.numel() for t in kept) == x.numel() + 8 + 6


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_short_formats_are_computed_in_float32(dtype: torch.dtype) -> None:
    unit, x = PAU(), torch.linspace(-60, 60, 101).to(dtype)
    y = unit(x)
    assert y.dtype == dtype
    assert torch.equal(y, unit(x.float()).to(dtype))


def test_large_values_stay_finite() -> None:
    unit = PAU()
    x = torch.tensor([-1e4, -100.0, 0.0, 100.0, 1e4], requires_grad=True)
    y = unit(x)
    y.sum().backward()
    assert y.isfinite().all()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("degrees", [(-1, 2), (3, 0)])
def test_impossible_degrees_are_refused(degrees: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"degrees \(-?\d, \d\): need"):
        PAU(*degrees)


def test_repr_tells_the_degrees() -> None:
    assert repr(PAU()) == "PAU(degrees=(7, 6))"
