"""Hidden colours cheap, seen ones untouched."""

from __future__ import annotations

import numpy as np
import pytest

from paoncodec.images import fill_hidden

RNG = np.random.default_rng(3)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(1, 1), (1, 17), (37, 53)])
def test_seen_colours_are_untouched_and_hidden_ones_lie_among_them(
    shape: tuple[int, int], dtype: type
) -> None:
    samples = RNG.integers(100, 200, (*shape, 3), dtype=dtype)
    alpha = RNG.integers(0, 3, shape).astype(dtype)
    filled = fill_hidden(samples, alpha)
    assert filled.dtype == dtype
    np.testing.assert_array_equal(filled[alpha > 0], samples[alpha > 0])
    if (alpha > 0).any():
        seen = samples[alpha > 0]
        assert (filled >= seen.min(axis=0)).all()
        assert (filled <= seen.max(axis=0)).all()


def test_what_is_hidden_does_not_matter() -> None:
    alpha = np.zeros((40, 50), np.uint8)
    alpha[10:20, 15:30] = 9
    one, two = (RNG.integers(0, 256, (40, 50, 3), dtype=np.uint8) for _ in range(2))
    two[alpha > 0] = one[alpha > 0]
    np.testing.assert_array_equal(fill_hidden(one, alpha), fill_hidden(two, alpha))


def test_a_flat_colour_goes_on_to_the_border_and_nothing_seen_is_black() -> None:
    samples, alpha = np.zeros((33, 70, 3), np.uint8), np.zeros((33, 70), np.uint8)
    samples[5, 60], alpha[5, 60] = (200, 30, 7), 1
    assert (fill_hidden(samples, alpha) == (200, 30, 7)).all()
    assert not fill_hidden(samples, np.zeros_like(alpha)).any()
    assert fill_hidden(samples, None) is samples
    assert fill_hidden(samples, np.ones_like(alpha)) is samples


def test_the_fill_is_smooth() -> None:
    """Between two colours it goes over from one to the other."""
    samples, alpha = np.zeros((64, 64, 1), np.uint8), np.zeros((64, 64), np.uint8)
    samples[:, :8], samples[:, 56:] = 40, 200
    alpha[:, :8] = alpha[:, 56:] = 255
    row = fill_hidden(samples, alpha)[30, :, 0].astype(int)
    steps = np.diff(row)
    assert steps.min() >= -1
    assert steps.max() <= 30
