"""The products of exact arithmetic: in one thread, in parts, always the same."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from torch import nn

from paoncodec.entropy import exact_layer, products, to_activation
from paoncodec.entropy.products import one_thread
from paoncodec.layers import PaLaConv2d


def test_one_thread_gives_back_the_number_it_found() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    entered, leave = threading.Event(), threading.Event()
    inside = []

    def other() -> None:
        with one_thread:
            inside.append(torch.get_num_threads())
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    try:
        with one_thread:
            assert torch.get_num_threads() == 1
            thread.start()
            entered.wait(10)
        leave.set()
        thread.join()
        assert inside == [1]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("make", [nn.Conv2d, PaLaConv2d])
def test_a_convolution_in_bands_is_the_whole(
    make: type[nn.Module], kernel: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    padding = kernel // 2
    made = make(3, 4, kernel, padding=padding)
    layer = exact_layer(made, "layer")
    x = to_activation(np.random.default_rng(0).normal(size=(2, 3, 13, 7)))
    whole, product, sizes = layer(x), products.matrix_product, []

    def watched(weight: np.ndarray, spare: float) -> products.Sums:
        sums = product(weight, spare)
        return lambda patches: sizes.append(len(patches)) or sums(patches)

    monkeypatch.setattr(products, "matrix_product", watched)
    layer = exact_layer(made, "layer")
    monkeypatch.setattr(products, "_PATCH_VALUES", 4 * 2 * 7 * 3 * kernel**2)
    assert np.array_equal(layer(x), whole)
    assert sizes == [2 * 7 * rows for rows in (4, 4, 4, 1)]


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "more"),
    [(5, 2, 2, 1), (3, 1, 1, 0), (3, 2, 0, 1), (2, 3, 0, 2), (4, 2, 1, 0), (1, 2, 0, 1)],
)
def test_a_transposed_convolution_in_bands_is_the_whole(
    kernel: int, stride: int, padding: int, more: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    options = {"stride": stride, "padding": padding, "output_padding": more}
    layer = exact_layer(nn.ConvTranspose2d(3, 4, kernel, **options), "layer")
    x = to_activation(np.random.default_rng(0).normal(size=(2, 3, 13, 7)))
    whole = layer(x)
    for rows in (1, 4, 12, 13):
        monkeypatch.setattr(products, "_PATCH_VALUES", rows * 7 * 4 * kernel**2)
        assert np.array_equal(layer(x), whole)


def grid(rng: np.random.Generator, shape: tuple[int, ...], bits: int) -> np.ndarray:
    """Integers of all sizes up to so many bits, in float64."""
    sizes = 2.0 ** rng.integers(0, bits, shape)
    return np.rint(rng.uniform(-1, 1, shape) * sizes)


@pytest.mark.parametrize("size", [(1, 1), (1, 17), (2, 2), (5, 8), (13, 7), (32, 48)])
@pytest.mark.parametrize("kernel", [(1, 1), (1, 5), (2, 2), (3, 3), (4, 2), (5, 5)])
def test_a_short_convolution_has_the_sums_of_a_direct_one(
    kernel: tuple[int, int], size: tuple[int, int]
) -> None:
    rng = np.random.default_rng(0)
    weight = grid(rng, (3, 33, *kernel), 17)
    x = grid(rng, (2, 33, *(s + k - 1 for s, k in zip(size, kernel, strict=True))), 26)
    direct = products.short_convolution(weight, spare=1.0)(x)
    assert direct.shape == (2, 3, *size)
    assert np.array_equal(products.short_convolution(weight, spare=9.0)(x), direct)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_short_convolution_is_exact_at_its_bound(sign: int) -> None:
    """Sums of the largest size that 8 times as large would just be exact, each odd."""
    inputs, kernel, limit = 33, 5, 2**26
    terms = inputs * kernel**2
    largest = 2**50 // (terms * limit)
    weight = np.full((1, inputs, kernel, kernel), float(largest))
    weight[:, ::2] *= sign
    x = np.full((1, inputs, 9, 10), float(limit - 1))
    x[:, ::2] *= sign
    sums = products.short_convolution(weight, 2.0**53 / (largest * terms * limit))(x)
    assert (sums == terms * largest * (limit - 1)).all()


def test_short_convolutions_have_fewer_products(monkeypatch: pytest.MonkeyPatch) -> None:
    counted, product = 0, products.matrix_product

    def counting(weight: np.ndarray, spare: float) -> products.Sums:
        sums = product(weight, spare)

        def counted_sums(patches: np.ndarray) -> np.ndarray:
            nonlocal counted
            counted += len(patches) * weight.size
            return sums(patches)

        return counted_sums

    monkeypatch.setattr(products, "matrix_product", counting)
    weight, x = np.ones((4, 40, 5, 5)), np.ones((1, 40, 36, 52))
    counts = []
    for spare in (1.0, 9.0):
        counted = 0
        products.short_convolution(weight, spare)(x)
        counts.append(counted)
    assert counts[0] == weight.size * 32 * 48
    assert counts[1] < 0.7 * counts[0]


def test_a_short_convolution_in_bands_is_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    weight, x = grid(rng, (3, 33, 5, 3), 17), grid(rng, (1, 33, 17, 9), 26)
    sums = products.short_convolution(weight, 9.0)
    whole = sums(x)
    for values in (1, 1500, 3000):
        monkeypatch.setattr(products, "_HALVED_VALUES", values)
        assert np.array_equal(sums(x), whole)


@pytest.mark.parametrize(("kernel", "padding"), [(3, 1), (5, 2), (3, 0), (4, 3)])
def test_a_transposed_convolution_of_stride_1_is_a_convolution(kernel: int, padding: int) -> None:
    torch.manual_seed(0)
    layer = nn.ConvTranspose2d(40, 4, kernel, padding=padding, bias=False)
    x = to_activation(np.random.default_rng(0).normal(size=(1, 40, 7, 6)))
    weight = np.rint(layer.weight.detach().double().numpy() * 2**16) / 2**16
    sums = products.transposed(layer)(weight, 9.0)(x)
    expected = torch.nn.functional.conv_transpose2d(
        torch.from_numpy(x), torch.from_numpy(weight), padding=padding
    )
    assert np.array_equal(sums, expected.numpy())
