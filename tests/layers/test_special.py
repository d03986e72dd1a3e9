"""Earlier neurons are Padé layers of certain degrees."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from paoncodec.layers import (
    ElementShift,
    NoShift,
    PredictedShift,
    StaticShift,
    quadratic_conv2d,
    self_onn_conv2d,
    shift2d,
    super_onn_conv2d,
)


def randomised(layer: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(0, 0.3, generator=generator)
    return layer


def picture() -> torch.Tensor:
    return torch.randn(2, 3, 6, 7, generator=torch.Generator().manual_seed(1))


def generative(layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """a0 + Σ a_k ⊛ x^k by convolutions of its own."""
    wide = F.pad(x, (1,) * 4, mode="replicate")
    terms = [F.conv2d(wide**k, w) for k, w in enumerate(layer.terms("numerator"), 1)]
    return layer.bias[:, None, None] + sum(terms)


def test_quadratic() -> None:
    layer, x = randomised(quadratic_conv2d(3, 4, 3)), picture()
    assert len(layer.terms("numerator")) == 2
    torch.testing.assert_close(layer(x), generative(layer, x))


@pytest.mark.parametrize("degree", [2, 3, 4])
def test_self_onn(degree: int) -> None:
    bounded, x = randomised(self_onn_conv2d(3, 4, 3, degree)), picture()
    free = randomised(self_onn_conv2d(3, 4, 3, degree, bounded=False))
    expected = generative(bounded[0], x)
    torch.testing.assert_close(bounded(x), expected.tanh())
    torch.testing.assert_close(free(x), expected)
    assert len(bounded[0].terms("numerator")) == degree


def test_super_onn() -> None:
    layer, x = randomised(super_onn_conv2d(3, 4, 3, 2, shift=StaticShift(3.0))), picture()
    moved = shift2d(x, layer[0].shifter.shift[None])
    torch.testing.assert_close(layer(x), generative(layer[0], moved).tanh())
    assert isinstance(super_onn_conv2d(3, 4, 3, shift=PredictedShift()), nn.Sequential)


def test_options_reach_the_layer() -> None:
    layer = self_onn_conv2d(4, 6, 5, stride=2, groups=2, padding_mode="zeros")
    assert layer(torch.zeros(1, 4, 8, 8)).shape == (1, 6, 4, 4)
    assert layer[0].groups == 2


@pytest.mark.parametrize("shift", [NoShift(), ElementShift()])
def test_a_super_neuron_needs_a_shift(shift) -> None:
    with pytest.raises(ValueError, match="needs StaticShift or PredictedShift"):
        super_onn_conv2d(3, 4, 3, shift=shift)


def test_degree_one_is_refused() -> None:
    with pytest.raises(ValueError, match="degree 1: must be >= 2"):
        self_onn_conv2d(3, 4, 3, 1)
