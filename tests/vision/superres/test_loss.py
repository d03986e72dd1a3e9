"""The robust loss against the special cases of its paper (Barron 2019, section 2)."""

from __future__ import annotations

import math

import pytest
import torch

from paoncodec.vision.superres.loss import barron

C = 0.7
X = torch.linspace(-5, 5, 101, dtype=torch.float64)
SQUARE = (X / C) ** 2


@pytest.mark.parametrize(
    ("alpha", "wanted"),
    [
        (2.0, SQUARE / 2),
        (1.0, (SQUARE + 1).sqrt() - 1),
        (0.0, torch.log(SQUARE / 2 + 1)),
        (-2.0, 2 * SQUARE / (SQUARE + 4)),
        (-math.inf, 1 - torch.exp(-SQUARE / 2)),
        (1.5, (0.5 / 1.5) * ((SQUARE / 0.5 + 1) ** 0.75 - 1)),
    ],
)
def test_special_cases(alpha: float, wanted: torch.Tensor) -> None:
    torch.testing.assert_close(barron(X, alpha, C), wanted)


@pytest.mark.parametrize("singular", [2.0, 0.0])
def test_the_limits_are_limits(singular: float) -> None:
    torch.testing.assert_close(
        barron(X, singular + 1e-7, C), barron(X, singular, C), rtol=1e-5, atol=1e-6
    )
    torch.testing.assert_close(barron(X, -1e7, C), barron(X, -math.inf, C), rtol=1e-5, atol=1e-6)


def test_small_differences_keep_their_digits_in_float32() -> None:
    x = torch.tensor([1e-4, 1e-3])
    torch.testing.assert_close(barron(x, 1.5, 2.0), x.square() / 8, rtol=1e-5, atol=0)


def test_gradients() -> None:
    x = torch.linspace(-3, 3, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: barron(x, 1.5, 2.0), x)
