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
    layer = exact_layer(make(3, 4, kernel, padding=padding), "layer")
    x = to_activation(np.random.default_rng(0).normal(size=(2, 3, 13, 7)))
    whole, sizes, convolve = layer(x), [], products._reference

    def watched(*options: object) -> np.ndarray:
        sizes.append(options[1].shape[2])
        return convolve(*options)

    monkeypatch.setattr(products, "_reference", watched)
    monkeypatch.setattr(products, "_PATCH_VALUES", 4 * 7 * 3 * kernel**2)
    assert np.array_equal(layer(x), whole)
    assert sizes == [4 + 2 * padding] * 3 + [1 + 2 * padding]


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
