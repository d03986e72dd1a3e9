"""Curves: which are refused, and what lies between their points."""

from __future__ import annotations

import pytest

from paoncodec.errors import UsageError
from paoncodec.evaluation.curves import Curve, level_at, rate_at

LINE = Curve("line", [2.0**k for k in range(-2, 2)], [30 + 3.0 * k for k in range(-2, 2)])


def test_interpolation_is_on_log_rate():
    assert level_at(2**0.5, LINE) == pytest.approx(31.5)
    assert level_at(0.5, LINE) == pytest.approx(27)
    assert rate_at(31.5, LINE) == pytest.approx(2**0.5)


def test_points_may_come_in_any_order():
    shuffled = Curve("", [LINE.rates[i] for i in (3, 0, 2, 1)], [33, 24, 30, 27])
    assert level_at(2**0.5, shuffled) == pytest.approx(31.5)


@pytest.mark.parametrize("rate", [0.24, 2.01])
def test_nothing_is_extrapolated(rate):
    assert level_at(rate, LINE) is None
    assert rate_at(level=20 if rate < 1 else 34, curve=LINE) is None


def test_one_point_has_its_level_and_no_other():
    point = Curve("point", [1.0], [30.0])
    assert level_at(1.0, point) == 30
    assert level_at(1.1, point) is None


def test_a_sound_curve_passes():
    LINE.check()


@pytest.mark.parametrize(
    ("rates", "levels", "reason"),
    [
        ([1, 2, 3], [30, 31, 32], "3 point"),
        ([1, 2, 2, 3], [30, 31, 31, 32], "twice"),
        ([2, 1, 3, 4], [31, 30, 32, 33], "must rise"),
        ([4, 3, 2, 1], [33, 32, 31, 30], "must rise"),
        ([1, 2, 3, 4], [30, 32, 31, 33], "must rise"),
        ([1, 2, 2, 4], [30, 31, 32, 33], "must rise"),
        ([0, 1, 2, 3], [30, 31, 32, 33], "not on a curve"),
        ([1, 2, 3, 4], [30, 31, 32, float("inf")], "not on a curve"),
        ([1, 2, 3, 4], [30, 31, float("nan"), 33], "not on a curve"),
    ],
)
def test_what_is_no_curve_is_refused_with_a_reason(rates, levels, reason):
    with pytest.raises(UsageError, match=f"odd: .*{reason}"):
        Curve("odd", rates, levels).check()
