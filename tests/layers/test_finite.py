"""No infinity and no NaN for |x| ≤ 1e4, in float32 and under autocast, whatever the weights."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from paoncodec.layers import Kind, PaLaConv2d, PaLaConvTranspose2d, PaLaLinear, PredictedShift

LARGEST = 1e4
DEGREES = [(1, 1), (0, 1), (1, 2), (2, 1), (0, 3), (3, 0), (3, 3)]


def pictures() -> Tensor:
    """Zeros, the two ends, alternating ends, something between, and tiny values: (6, 3, 6, 6)."""
    generator = torch.Generator().manual_seed(0)
    ends = torch.full((3, 6, 6), LARGEST)
    signs = torch.randint(2, (3, 6, 6), generator=generator) * 2.0 - 1
    between = torch.rand(3, 6, 6, generator=generator) * 2 - 1
    return torch.stack(
        [0 * ends, ends, -ends, ends * signs, ends * between, 1e-6 * between]
    ).requires_grad_()


def large(weight: Tensor) -> None:
    nn.init.uniform_(weight, -1e3, 1e3)


def equal(weight: Tensor) -> None:
    nn.init.constant_(weight, 1.0)


def opposed(weight: Tensor) -> None:
    """The first-degree sum over the 27 equal inputs of the second picture is -1, so Q_1 = 0."""
    nn.init.constant_(weight, -1 / (27 * LARGEST))


def tiny(weight: Tensor) -> None:
    nn.init.constant_(weight, -1e-30)


WEIGHTS: list[Callable[[Tensor], None]] = [large, equal, opposed, tiny]


def built(degrees: tuple[int, int], kind: Kind, num: Callable, den: Callable) -> nn.Module:
    layer = PaLaConv2d(3, 4, 3, degrees=degrees, kind=kind)
    if layer.numerator is not None:
        num(layer.numerator)
    if layer.denominator is not None:
        den(layer.denominator)
    return layer


def gradients(layer: nn.Module, dtype: torch.dtype) -> tuple[Tensor, list[Tensor]]:
    """Values, and the gradients of 1e-3 times their mean by input and parameters."""
    x = pictures()
    layer.zero_grad()
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        y = layer(x)
    (1e-3 * y.float().mean()).backward()
    return y, [x.grad, *[p.grad.clone() for p in layer.parameters()]]


@pytest.fixture(autouse=True)
def _seed() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.mark.parametrize("kind", ["smooth", "absolute"])
@pytest.mark.parametrize("degrees", DEGREES)
def test_values_and_gradients_are_finite(degrees: tuple[int, int], kind: Kind) -> None:
    for num, den in itertools.product([large, equal], WEIGHTS):
        case = f"{num.__name__} / {den.__name__}"
        layer = built(degrees, kind, num, den)
        y, exact = gradients(layer, torch.float32)
        assert y.isfinite().all(), case
        assert all(g.isfinite().all() for g in exact), case
        y, found = gradients(layer, torch.bfloat16)
        assert y.isfinite().all(), case
        assert all(g.isfinite().all() for g in found), case
        y, found = gradients(layer, torch.float16)
        assert y.isfinite().all(), case
        # Gradients in float16 have its range; that of a loss scale is GradScaler's to find.
        for grad, reference in zip(found, exact, strict=True):
            assert (grad.isfinite() | (reference.abs() > 65504)).all(), case


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("kind", ["smooth", "absolute"])
@pytest.mark.parametrize("degrees", [(1, 1), (2, 0), (3, 3)])
def test_the_other_forms(degrees: tuple[int, int], kind: Kind, dtype: torch.dtype) -> None:
    up = PaLaConvTranspose2d(3, 4, 5, 2, degrees=degrees, kind=kind, shift=PredictedShift())
    linear = PaLaLinear(6, 4, degrees, kind)
    for layer in (up, linear):
        for parameter in layer.parameters():
            large(parameter)
        y, grads = gradients(layer, dtype)
        assert y.isfinite().all()
        assert dtype == torch.float16 or all(g.isfinite().all() for g in grads)


WITHOUT_FLOAT16_ARITHMETIC = """
import torch
from paoncodec.layers import PaLaConv2d, PaLaConvTranspose2d, PaLaLinear

torch.manual_seed(0)
for shape, layer in [
    ((4, 16, 6, 6), PaLaConvTranspose2d(16, 4, 5, 2)),
    ((4, 16, 6, 6), PaLaConvTranspose2d(16, 4, 5, 2, groups=2, degrees=(2, 1))),
    ((4, 16, 6, 6), PaLaConv2d(16, 4, 5, 2)),
    ((64, 400), PaLaLinear(400, 4)),
    ((64, 400), PaLaLinear(400, 4, (2, 2))),
]:
    for parameter in layer.parameters():
        torch.nn.init.uniform_(parameter, -1, 1)
    x = 1e4 * torch.randn(shape).sign()
    with torch.autocast("cpu", torch.float16):
        y = layer(x)
    assert y.dtype == torch.float16, layer
    assert y.isfinite().all(), layer
    y = layer.half()(x.half())
    assert y.dtype == torch.float16, layer
    assert y.isfinite().all(), layer
"""


def test_float16_on_a_cpu_without_its_arithmetic() -> None:
    """There torch may sum in float16, where ±1e4 soon comes to the difference of two infinities."""
    subprocess.run(
        [sys.executable, "-c", WITHOUT_FLOAT16_ARITHMETIC],
        env={**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"},
        check=True,
    )


def test_autocast_leaves_float64_as_it_is() -> None:
    layer = PaLaConvTranspose2d(3, 4, 3, 2, degrees=(2, 1)).double()
    x = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    with torch.autocast("cpu", torch.float16):
        y = layer(x)
    torch.testing.assert_close(y, layer(x), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("kind", ["smooth", "absolute"])
@pytest.mark.parametrize("degrees", [(1, 1), (2, 1), (2, 2), (3, 0)])
def test_autocast_stays_near_float32(degrees, kind: Kind, dtype: torch.dtype) -> None:
    layer = PaLaConv2d(8, 8, 3, degrees=degrees, kind=kind)
    x = torch.randn(2, 8, 6, 6)
    exact = layer(x)
    with torch.autocast("cpu", dtype):
        y = layer(x)
    assert y.dtype == dtype
    assert (y - exact).abs().max() < 8 * torch.finfo(dtype).eps * exact.abs().max()


def test_a_layer_converted_to_float16_computes_in_it() -> None:
    layer = PaLaConv2d(8, 8, 3, degrees=(2, 1), shift=PredictedShift())
    x = torch.randn(2, 8, 6, 6)
    exact = layer(x)
    y = layer.half()(x.half())
    assert y.dtype == torch.float16
    torch.testing.assert_close(y.float(), exact, rtol=1e-2, atol=1e-2)
