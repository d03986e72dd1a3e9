"""Every degree, kind, stride and form of layer against a plain float64 NumPy reference."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from paoncodec.layers import (
    DENOMINATOR_FLOOR,
    Kind,
    PaLaConv2d,
    PaLaConvTranspose2d,
    PaLaLinear,
)

KINDS: tuple[Kind, ...] = ("smooth", "absolute", "vanilla")
DEGREES = list(itertools.product(range(4), repeat=2))[1:]
KERNEL = 3


def convolved(x: np.ndarray, weight: np.ndarray, stride: int, groups: int) -> np.ndarray:
    """x (B, C_in, H, W), weight (C_out, C_in / groups, k, k); replicated border of k // 2."""
    half = KERNEL // 2
    height, width = ((n + 2 * half - KERNEL) // stride + 1 for n in x.shape[2:])
    x = np.pad(x, [(0, 0), (0, 0), (half, half), (half, half)], mode="edge")
    x = x.reshape(len(x), groups, -1, *x.shape[2:])
    weight = weight.reshape(groups, -1, *weight.shape[1:])
    out = np.zeros((len(x), groups, weight.shape[1], height, width))
    for i, j in np.ndindex(KERNEL, KERNEL):
        seen = x[:, :, :, i::stride, j::stride][..., :height, :width]
        out += np.einsum("bgihw,goi->bgohw", seen, weight[..., i, j])
    return out.reshape(len(x), -1, height, width)


def taps(size: int, stride: int, tap: int) -> tuple[np.ndarray, np.ndarray]:
    """Output positions along one side that a kernel tap reaches, and the inputs they see there.

    Output o sees input (o + k // 2 - tap) / stride where that is whole, and past the border the
    border.
    """
    outputs = np.arange(stride * size)
    outputs = outputs[(outputs + KERNEL // 2 - tap) % stride == 0]
    return outputs, ((outputs + KERNEL // 2 - tap) // stride).clip(0, size - 1)


def transposed(x: np.ndarray, weight: np.ndarray, stride: int, groups: int) -> np.ndarray:
    """x (B, C_in, H, W), weight (C_in, C_out / groups, k, k) → (B, C_out, stride·H, stride·W)."""
    height, width = x.shape[2:]
    x = x.reshape(len(x), groups, -1, height, width)
    weight = weight.reshape(groups, -1, *weight.shape[1:])
    out = np.zeros((len(x), groups, weight.shape[2], stride * height, stride * width))
    for i, j in np.ndindex(KERNEL, KERNEL):
        (to_y, from_y), (to_x, from_x) = taps(height, stride, i), taps(width, stride, j)
        seen = x[..., from_y[:, None], from_x]
        out[..., to_y[:, None], to_x] += np.einsum("bgihw,gio->bgohw", seen, weight[..., i, j])
    return out.reshape(len(x), -1, *out.shape[3:])


def quotient(num: list[np.ndarray], den: list[np.ndarray], a0: np.ndarray, kind: str) -> np.ndarray:
    """The formulas as the paper writes them, from the terms of degree 1, 2, …"""

    def p(degree: int) -> np.ndarray | float:
        return sum(num[:degree], a0) if degree >= 0 else 0.0

    def q(degree: int) -> np.ndarray | float:
        return sum(den[:degree], np.ones_like(a0)) if degree >= 0 else 0.0

    n, m = len(num), len(den)
    if kind == "vanilla":
        return p(n) / q(m)
    if kind == "absolute":
        return p(n) / (1 + sum(np.abs(t) for t in den))
    squares = np.maximum(q(m) ** 2 + q(m - 1) ** 2, DENOMINATOR_FLOOR)
    return (q(m) * p(n) + q(m - 1) * p(n - 1)) / squares


def randomised(layer: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """The layer in float64 with every weight away from its start."""
    generator = torch.Generator().manual_seed(seed)
    layer.double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(0, 0.3, generator=generator)
    return layer


def by_degree(layer: PaLaConv2d | PaLaConvTranspose2d | PaLaLinear) -> list[list[np.ndarray]]:
    """Numerator and denominator weights of degree 1, 2, …, cut as the layers document it."""
    degrees = layer.spec.num, layer.spec.den
    weights = layer.numerator, layer.denominator
    return [
        np.split(w.detach().numpy(), degree) if w is not None else []
        for w, degree in zip(weights, degrees, strict=True)
    ]


def inputs(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).uniform(-1.5, 1.5, shape)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(
    ("form", "product"), [(PaLaConv2d, convolved), (PaLaConvTranspose2d, transposed)]
)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("degrees", DEGREES)
def test_maps(degrees, kind, form, product, stride, groups) -> None:
    layer = form(4, 6, KERNEL, stride=stride, groups=groups, degrees=degrees, kind=kind)
    num, den = by_degree(randomised(layer))
    x = inputs(2, 4, 5, 4)
    a0 = np.broadcast_to(
        layer.bias.detach().numpy()[:, None, None],
        product(x, np.zeros_like(num[0] if num else den[0]), stride, groups).shape,
    )

    def term(k: int, weight: np.ndarray) -> np.ndarray:
        return product(x**k, weight, stride, groups)

    expected = quotient(
        [term(k, w) for k, w in enumerate(num, 1)],
        [term(k, w) for k, w in enumerate(den, 1)],
        a0,
        kind,
    )
    np.testing.assert_allclose(layer(torch.from_numpy(x)).detach(), expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("degrees", DEGREES)
def test_linear(degrees, kind) -> None:
    layer = PaLaLinear(5, 4, degrees, kind)
    num, den = by_degree(randomised(layer))
    x = inputs(2, 3, 5)
    a0 = np.broadcast_to(layer.bias.detach().numpy(), (2, 3, 4))
    expected = quotient(
        [x**k @ w.T for k, w in enumerate(num, 1)],
        [x**k @ w.T for k, w in enumerate(den, 1)],
        a0,
        kind,
    )
    np.testing.assert_allclose(layer(torch.from_numpy(x)).detach(), expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "output_padding"),
    [
        (5, 2, 2, 1),
        (5, 2, 2, 0),
        (4, 2, 1, 0),
        (2, 2, 0, 0),
        (2, 3, 0, 0),
        (5, 1, 4, 0),
        (6, 4, 1, 3),
    ],
)
def test_other_kernels_of_the_transposed_form(kernel, stride, padding, output_padding) -> None:
    """Against torch's own layer on a border so wide that none of its zeros is seen."""
    ours = randomised(
        PaLaConvTranspose2d(3, 2, kernel, stride, padding, output_padding, degrees=(1, 0))
    )
    x = torch.from_numpy(inputs(1, 3, 6, 7))
    wide = torch.nn.functional.pad(x, (4,) * 4, mode="replicate")
    full = torch.nn.functional.conv_transpose2d(wide, ours.numerator, ours.bias, stride)
    height, width = ((n - 1) * stride - 2 * padding + kernel + output_padding for n in x.shape[2:])
    start = 4 * stride + padding
    expected = full[..., start : start + height, start : start + width]
    assert expected.shape[2:] == (height, width)
    torch.testing.assert_close(ours(x), expected)
