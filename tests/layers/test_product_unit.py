"""The product unit: formula, gradients, formats, guard, start."""

from __future__ import annotations

import copy
import math
from itertools import product

import pytest
import torch
from torch import Tensor, nn

from paoncodec.layers import EXPONENT_LIMIT, ProductUnit2d, guarded_values
from paoncodec.layers.product_unit import THRESHOLD_FLOOR

OPTIONS = [
    {},
    {"stride": 2},
    {"groups": 2},
    {"groups": 4, "kernel_size": 5, "padding": 0},
    {"kernel_size": 1, "bias": True},
    {"dilation": 2, "stride": 2, "padding": 1},
]


def unit_of(options: dict[str, int], dtype: torch.dtype = torch.float64) -> ProductUnit2d:
    torch.manual_seed(0)
    unit = ProductUnit2d(**{"in_channels": 4, "out_channels": 8, "kernel_size": 3, **options})
    return unit.to(dtype)


def noise(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=dtype)


def direct(unit: ProductUnit2d, x: Tensor) -> Tensor:
    """Powers multiplied one after the other; outside the picture is 1."""
    tau = math.log1p(math.exp(unit.theta.item())) + 1e-7
    x = nn.functional.pad(x.clamp(min=tau), [unit.padding] * 4, value=1.0)
    weight, k = unit.weight, unit.kernel_size
    rows, columns = (
        (side - unit.dilation * (k - 1) - 1) // unit.stride + 1 for side in x.shape[-2:]
    )
    y = torch.ones(len(x), unit.out_channels, rows, columns, dtype=x.dtype)
    if unit.bias is not None:
        y = y * unit.bias.exp().view(1, -1, 1, 1)
    per_group = unit.out_channels // unit.groups
    for o, c, m, n in product(*map(range, weight.shape)):
        channel = o // per_group * weight.shape[1] + c
        for i, j in product(range(rows), range(columns)):
            at = i * unit.stride + m * unit.dilation, j * unit.stride + n * unit.dilation
            y[:, o, i, j] *= x[:, channel, at[0], at[1]] ** weight[o, c, m, n]
    return y


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_it_is_a_product_of_powers(options: dict[str, int]) -> None:
    unit, x = unit_of(options), noise(2, 4, 7, 6)
    with torch.no_grad():
        for parameter in unit.parameters():
            parameter.add_(noise(*parameter.shape), alpha=0.3)
        torch.testing.assert_close(unit(x), direct(unit, x), rtol=1e-12, atol=0)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_gradients(options: dict[str, int]) -> None:
    unit, x = unit_of(options), noise(2, 4, 6, 5).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, *_: unit(x), (x, *unit.parameters()))


def test_the_threshold_learns() -> None:
    unit, x = unit_of({}), noise(2, 4, 6, 6)
    unit(x).square().mean().backward()
    assert unit.theta.grad.abs() > 1e-4
    before = unit.tau.item()
    torch.optim.SGD([unit.theta], 0.1).step()
    assert unit.tau.item() != before


def test_the_threshold_stays_above_its_floor() -> None:
    unit = unit_of({}, torch.float32)
    with torch.no_grad():
        unit.theta.fill_(-200)
        assert unit.tau == torch.tensor(THRESHOLD_FLOOR)
        assert unit(torch.full((1, 4, 3, 3), -1.0)).isfinite().all()


@pytest.mark.parametrize("threshold", [1e-6, 0.01, 0.1, 1.0])
def test_the_threshold_starts_where_it_is_told(threshold: float) -> None:
    unit = ProductUnit2d(4, 4, 3, threshold=threshold)
    assert unit.tau.item() == pytest.approx(threshold, rel=1e-3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_computes_in_float32(dtype: torch.dtype) -> None:
    unit, x = unit_of({}, torch.float32), noise(2, 4, 9, 9, dtype=torch.float32)
    with torch.autocast("cpu", dtype):
        y = unit(x)
    assert y.dtype == dtype
    assert torch.equal(y, unit(x).to(dtype))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_short_weights_and_inputs_compute_in_float32(dtype: torch.dtype) -> None:
    unit, x = unit_of({}, dtype), noise(2, 4, 9, 9).to(dtype)
    y = unit(x)
    assert y.dtype == dtype
    assert torch.equal(y, unit.float()(x.float()).to(dtype))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_finite_where_documented(dtype: torch.dtype) -> None:
    unit = unit_of({}, torch.float32 if dtype != torch.float64 else dtype)
    with torch.no_grad():
        unit.weight.uniform_(-1e3, 1e3)
    largest = min(torch.finfo(dtype).max, 3e38)
    x = (noise(2, 4, 8, 8).clamp(-1, 1) * largest).to(dtype).requires_grad_()
    with torch.autocast("cpu", dtype, enabled=dtype in (torch.bfloat16, torch.float16)):
        y = unit(x)
    assert y.dtype == dtype
    assert y.isfinite().all()
    assert y.float().square().sum().isfinite()
    y.float().sum().backward()
    assert all(g.isfinite().all() for g in (x.grad, unit.weight.grad, unit.theta.grad))


def test_the_guard_holds_and_counts() -> None:
    unit = ProductUnit2d(1, 1, 1)
    net = nn.Sequential(unit, nn.Identity())
    with torch.no_grad():
        unit.weight.fill_(10)
    x = torch.tensor([1.0, 2, 1e3, 1e5, 60]).view(1, 1, 1, 5).requires_grad_()
    y = unit(x)
    held = 10 * x.detach().log() > EXPONENT_LIMIT
    assert held.sum() == 3
    torch.testing.assert_close(y[held], torch.full((3,), math.exp(EXPONENT_LIMIT)))
    torch.testing.assert_close(y[~held], x[~held] ** 10)
    y.sum().backward()
    assert torch.equal(x.grad == 0, held)
    unit(x)
    assert guarded_values(net) == 6
    assert guarded_values(net) == 0


def test_the_guard_of_float16_is_lower() -> None:
    unit = ProductUnit2d(1, 1, 1)
    with torch.no_grad():
        unit.weight.fill_(1)
    with torch.autocast("cpu", torch.float16):
        y = unit(torch.tensor([1e6, 100.0]).view(1, 1, 1, 2))
    assert y.isfinite().all()
    assert y[..., 1].item() == pytest.approx(100, rel=1e-3)
    assert unit.take_guarded() == 1


def test_the_count_is_no_weight_and_copies() -> None:
    unit = unit_of({})
    unit(noise(1, 4, 5, 5))
    assert set(unit.state_dict()) == {"weight", "theta"}
    assert guarded_values(copy.deepcopy(unit)) == 0


@pytest.mark.parametrize("options", [{}, {"groups": 4}, {"threshold": 1e-3}], ids=str)
def test_new_units_are_ratios_of_known_spread(options: dict[str, float]) -> None:
    torch.manual_seed(0)
    unit = ProductUnit2d(64, 256, 3, padding=0, **options)
    assert unit.weight.sum((1, 2, 3)).abs().max() < 1e-4
    x = noise(4, 64, 20, 20, dtype=torch.float32)
    with torch.no_grad():
        y = unit(x)
        assert y.log().std() == pytest.approx(0.5, abs=0.04)
        assert y.mean() == pytest.approx(1.13, abs=0.06)
        # A common factor of inputs above τ divides out.
        large = x.abs() + unit.tau
        torch.testing.assert_close(unit(large), unit(1e4 * large), rtol=1e-3, atol=0)


def test_activations_keep_their_size_over_272_layers() -> None:
    """136 residual blocks without any normalisation: each adds about 1 with the same variation, so
    the sum grows as their number does, and the gradient comes back of one size."""
    torch.manual_seed(0)
    x = torch.randn(2, 16, 16, 16, requires_grad=True)
    y, added = x, []
    for _ in range(136):
        first = nn.Conv2d(16, 16, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(first.weight, mode="fan_out", nonlinearity="relu")
        branch = ProductUnit2d(16, 16, 3, deviation=0.05)(first(y))
        added.append(branch.std().item())
        y = y + branch
    y.mean((1, 2, 3)).sum().backward()
    assert min(added) > 0.05
    assert max(added) < 1
    assert 100 < y.mean() < 300
    assert 0.5 < x.grad.norm() / (2 / (16**3 * 2) ** 0.5) < 20


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"kernel_size": 0}, "kernel_size 0"),
        ({"stride": 0}, "stride 0"),
        ({"padding": -1}, "padding -1"),
        ({"groups": 3}, "groups 3: must divide"),
        ({"threshold": 0.0}, "threshold 0.0"),
        ({"threshold": math.nan}, "threshold nan"),
        ({"deviation": 0.0}, "deviation 0.0"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        unit_of(options)


def test_repr() -> None:
    assert repr(ProductUnit2d(4, 8, 3, stride=2)) == "ProductUnit2d(4, 8, kernel_size=3, stride=2)"
