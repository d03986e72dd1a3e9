"""Quality and λ."""

from __future__ import annotations

import math

import pytest

from paoncodec.quality import LMBDA_GRID, lmbda_of, quality_of


def test_the_papers_grid_is_the_qualities_1_to_6() -> None:
    assert LMBDA_GRID == (0.0018, 0.0035, 0.0067, 0.013, 0.025, 0.0483)
    assert [quality_of(lmbda) for lmbda in LMBDA_GRID] == [1, 2, 3, 4, 5, 6]
    assert [lmbda_of(quality) for quality in range(1, 7)] == pytest.approx(LMBDA_GRID)


def test_between_them_the_logarithm_of_lambda_is_linear() -> None:
    assert quality_of(math.sqrt(0.013 * 0.025)) == pytest.approx(4.5)
    assert lmbda_of(4.5) == pytest.approx(math.sqrt(0.013 * 0.025))
    assert (quality_of(1e-6), quality_of(9.0)) == (1, 6)


@pytest.mark.parametrize("quality", [1.0, 1.25, 2.999, 3.0, 5.7, 6.0])
def test_one_is_the_inverse_of_the_other(quality: float) -> None:
    assert quality_of(lmbda_of(quality)) == pytest.approx(quality)


@pytest.mark.parametrize("wrong", [0.0, -1.0, math.nan, math.inf])
def test_no_quality_for_an_impossible_lambda(wrong: float) -> None:
    with pytest.raises(ValueError, match="lmbda"):
        quality_of(wrong)


@pytest.mark.parametrize("wrong", [0.99, 6.01, math.nan])
def test_no_lambda_beyond_the_scale(wrong: float) -> None:
    with pytest.raises(ValueError, match="legal is 1 to 6"):
        lmbda_of(wrong)
