"""Exact arithmetic against Python's integers: every product, every rounding, every order."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from compressai.layers import MaskedConv2d
from torch import nn

from paoncodec.entropy.exact import (
    ACTIVATION_BITS,
    ACTIVATION_LIMIT,
    WEIGHT_BITS,
    exact_layer,
    exact_pointwise,
    exact_product,
    exact_sequence,
    to_activation,
    to_grid,
)
from paoncodec.errors import WeightsError

UNIT = 2.0**-ACTIVATION_BITS
LIMIT = int(ACTIVATION_LIMIT)


def activations(*shape: int, size: float = 30.0, seed: int = 0) -> np.ndarray:
    """Random multiples of the grid within ±size."""
    rng = np.random.default_rng(seed)
    return rng.integers(-round(size / UNIT), round(size / UNIT) + 1, shape) * UNIT


def units(values: np.ndarray | torch.Tensor, bits: int) -> np.ndarray:
    """Values rounded half to even to 2**-bits, as Python integers, by way of fractions."""
    array = np.asarray(values.detach().numpy() if isinstance(values, torch.Tensor) else values)
    return np.vectorize(lambda v: round(Fraction(float(v)) * 2**bits), otypes=[object])(array)


def settle(sums: np.ndarray) -> np.ndarray:
    """Integer sums of products → activations: rounded half to even, saturated."""
    most = LIMIT * 2**ACTIVATION_BITS
    scaled = np.vectorize(
        lambda n: max(-most, min(most, round(Fraction(n, 2**WEIGHT_BITS)))), otypes=[object]
    )(sums)
    return scaled.astype(np.float64) * UNIT


def integer_conv(layer: nn.Conv2d, x: np.ndarray) -> np.ndarray:
    """(1, C, H, W) → the layer's output, from Python's integers alone."""
    weight, bias = (
        units(layer.weight, WEIGHT_BITS),
        units(layer.bias, WEIGHT_BITS + ACTIVATION_BITS),
    )
    (pad, _), (stride, _), (gap, _) = layer.padding, layer.stride, layer.dilation
    padded = np.pad(units(x[0], ACTIVATION_BITS), ((0, 0), (pad, pad), (pad, pad)))
    outputs, inputs, k, _ = weight.shape
    reach = gap * (k - 1) + 1
    height, width = ((n - reach) // stride + 1 for n in padded.shape[1:])
    sums = np.zeros((1, outputs, height, width), dtype=object)
    for o, i, j in np.ndindex(outputs, height, width):
        group = o // (outputs // layer.groups) * inputs
        rows, columns = (slice(s * stride, s * stride + reach, gap) for s in (i, j))
        block = padded[group : group + inputs, rows, columns]
        sums[0, o, i, j] = (block * weight[o]).sum() + bias[o]
    return settle(sums)


def integer_transposed(layer: nn.ConvTranspose2d, x: np.ndarray) -> np.ndarray:
    """(1, C, H, W) → the layer's output, from Python's integers alone."""
    weight, bias = (
        units(layer.weight, WEIGHT_BITS),
        units(layer.bias, WEIGHT_BITS + ACTIVATION_BITS),
    )
    values = units(x[0], ACTIVATION_BITS)
    (pad, _), (stride, _), (extra, _) = layer.padding, layer.stride, layer.output_padding
    _, outputs, k, _ = weight.shape
    height, width = ((n - 1) * stride + k for n in values.shape[1:])
    sums = np.zeros((outputs, height + extra, width + extra), dtype=object)
    for c, i, j in np.ndindex(values.shape):
        rows, columns = (slice(s * stride, s * stride + k) for s in (i, j))
        sums[:, rows, columns] += weight[c] * values[c, i, j]
    cropped = sums[:, pad : height + extra - pad, pad : width + extra - pad]
    return settle((cropped + bias[:, None, None])[None])


@pytest.mark.parametrize(
    ("value", "bits", "expected"),
    [(0.5, 0, 0.0), (1.5, 0, 2.0), (-2.5, 0, -2.0), (0.75, 1, 1.0), (2**-15, 14, 0.0)],
)
def test_the_grid_rounds_half_to_even(value: float, bits: int, expected: float) -> None:
    assert to_grid(np.array([value]), bits).tolist() == [expected]


def test_activations_are_grid_multiples_and_saturate() -> None:
    x = np.random.default_rng(1).normal(size=1000) * 3000
    y = to_activation(x)
    assert np.array_equal(y / UNIT, np.rint(y / UNIT))
    assert np.abs(y).max() == ACTIVATION_LIMIT
    inside = np.abs(x) < ACTIVATION_LIMIT
    assert np.abs(y - x)[inside].max() <= UNIT / 2
    assert not np.shares_memory(x, y)


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 3, "padding": 1},
        {"kernel_size": 5, "padding": 2, "stride": 2},
        {"kernel_size": 1},
        {"kernel_size": 3, "padding": 2, "dilation": 2},
        {"kernel_size": 3, "groups": 2},
    ],
    ids=str,
)
def test_convolution_equals_integers(options: dict[str, int]) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 6, **options)
    x = activations(1, 4, 7, 6)
    assert np.array_equal(exact_layer(layer, "layer")(x), integer_conv(layer, x))


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 5, "stride": 2, "padding": 2, "output_padding": 1},
        {"kernel_size": 3},
        {"kernel_size": 4, "stride": 2, "padding": 1},
    ],
    ids=str,
)
def test_transposed_convolution_equals_integers(options: dict[str, int]) -> None:
    torch.manual_seed(0)
    layer = nn.ConvTranspose2d(3, 5, **options)
    x = activations(1, 3, 4, 3)
    assert np.array_equal(exact_layer(layer, "layer")(x), integer_transposed(layer, x))


def test_product_equals_integers() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(9, 5, 1)
    x = activations(7, 9)
    sums = units(x, ACTIVATION_BITS) @ units(layer.weight[:, :, 0, 0], WEIGHT_BITS).T
    expected = settle(sums + units(layer.bias, WEIGHT_BITS + ACTIVATION_BITS))
    product = exact_product(layer.weight.flatten(1), layer.bias, "product")
    assert np.array_equal(product(x), expected)
    # … and a product of positions is the 1×1 convolution of a map.
    as_map = exact_layer(layer, "layer")(np.ascontiguousarray(x.T).reshape(1, 9, 7, 1))
    assert np.array_equal(as_map[0, :, :, 0].T, expected)


def test_no_bias_is_a_bias_of_zero() -> None:
    x = activations(4, 3)
    weight = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    without, zero = (exact_product(weight, bias, "p") for bias in (None, torch.zeros(2)))
    assert np.array_equal(without(x), zero(x))


def test_leaky_relu_is_one_product_and_one_rounding() -> None:
    x = np.concatenate([activations(500, size=2), [0.0, -UNIT, UNIT, -LIMIT, LIMIT]])
    expected = [v if v >= 0 else round(v * 0.01 / UNIT) * UNIT for v in x.tolist()]
    assert exact_layer(nn.LeakyReLU(), "layer")(x).tolist() == expected


def test_relu_rounds_nothing() -> None:
    x = np.concatenate([activations(500, size=2), [0.0, -UNIT, UNIT, -LIMIT, LIMIT]])
    assert exact_layer(nn.ReLU(), "layer")(x).tolist() == [max(v, 0.0) for v in x.tolist()]


def test_pointwise_layers_are_products_of_positions() -> None:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(5, 4, 1), nn.ReLU(), nn.Conv2d(4, 3, 1))
    x = activations(2, 5, 4, 3)
    maps = exact_sequence(layers, "net")(x)
    positions = exact_pointwise(layers, "net")(x.transpose(0, 2, 3, 1).reshape(-1, 5))
    assert np.array_equal(positions, maps.transpose(0, 2, 3, 1).reshape(-1, 3))


def test_pointwise_layers_leave_out_inputs_that_are_zero() -> None:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(5, 4, 1), nn.LeakyReLU(), nn.Conv2d(4, 3, 1))
    x = activations(7, 5)
    x[:, :2] = 0
    short = exact_pointwise(layers, "net", skipped=2)(x[:, 2:])
    assert np.array_equal(short, exact_pointwise(layers, "net")(x))


def test_sums_may_come_in_any_order() -> None:
    """At the bound: the largest weights and activations that are let in, channels shuffled."""
    rng = np.random.default_rng(0)
    channels = 512
    weight = rng.normal(size=(8, channels, 3, 3))
    weight *= 2040 / np.abs(weight).sum((1, 2, 3), keepdims=True)
    layer = nn.Conv2d(channels, 8, 3, bias=False)
    x = activations(1, channels, 5, 4, size=ACTIVATION_LIMIT)

    def run(order: np.ndarray) -> np.ndarray:
        layer.weight.data = torch.from_numpy(weight[:, order].copy())
        return exact_layer(layer, "layer")(np.ascontiguousarray(x[:, order]))

    plain = run(np.arange(channels))
    assert np.abs(plain).max() > 100
    for _ in range(5):
        assert np.array_equal(run(rng.permutation(channels)), plain)


def test_a_chain_ignores_autocast_and_gradients() -> None:
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.LeakyReLU(), nn.ConvTranspose2d(4, 2, 3)
    )
    x = activations(1, 3, 6, 5)
    expected = integer_transposed(
        layers[2], exact_layer(layers[1], "1")(integer_conv(layers[0], x))
    )
    run = exact_sequence(layers, "chain")
    assert np.array_equal(run(x), expected)
    with torch.autocast("cpu", torch.bfloat16), torch.enable_grad():
        assert np.array_equal(run(x), expected)


@pytest.mark.parametrize(("weight", "bias"), [(2048.0, 0.0), (2047.0, 4096.0), (-2048.0, 0.0)])
def test_sums_that_could_leave_the_exact_range_are_refused(weight: float, bias: float) -> None:
    layer = torch.full((1, 1), weight), torch.full((1,), bias)
    with pytest.raises(WeightsError, match=r"^h_s\.2: weights too large .* 2\^53"):
        exact_product(*layer, "h_s.2")


@pytest.mark.parametrize("weight", [2048 - 2.0**-16, -(2048 - 2.0**-16)])
def test_the_largest_weights_are_exact(weight: float) -> None:
    product = exact_product(
        torch.tensor([[weight]], dtype=torch.float64), torch.tensor([2.0**-30]).double(), "p"
    )
    x = np.array([[-ACTIVATION_LIMIT], [UNIT], [1.0]])
    expected = [max(-LIMIT, min(LIMIT, weight * v)) for v in (-ACTIVATION_LIMIT, UNIT, 1.0)]
    assert product(x)[:, 0].tolist() == [round(v / UNIT) * UNIT for v in expected]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("where", ["weight", "bias"])
def test_weights_that_are_not_finite_are_refused(bad: float, where: str) -> None:
    layer = nn.Conv2d(3, 4, 3)
    getattr(layer, where).data.flatten()[2] = bad
    with pytest.raises(WeightsError, match="not finite"):
        exact_layer(layer, "h_s.0")


class Doubled(nn.Conv2d):
    """A subclass that computes something else."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Sigmoid(),
        nn.GELU(),
        MaskedConv2d(2, 2, 5, padding=2),
        nn.Conv2d(2, 2, 3, padding=1, padding_mode="replicate"),
        nn.ConvTranspose2d(2, 2, 3, groups=2),
        nn.ConvTranspose2d(2, 2, 3, dilation=2),
        Doubled(2, 2, 3),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_what_has_no_exact_form_is_refused(layer: nn.Module) -> None:
    with pytest.raises(TypeError, match=r"^h_s\.1: .* has no exact form"):
        exact_sequence([nn.LeakyReLU(), layer], "h_s")
