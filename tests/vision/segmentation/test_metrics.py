"""Figures of cases and comparisons of networks, against formulas and tables."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest

from paoncodec.errors import ImageError, UsageError
from paoncodec.vision.segmentation.metrics import adjusted, compare, dice, interval, mean_dice

NAN = math.nan


def test_dice_is_the_formula() -> None:
    truth = np.array([[0, 1, 1, 1], [2, 2, 0, 0]], np.uint8)
    found = np.array([[0, 1, 1, 2], [2, 0, 0, 3]], np.uint8)
    np.testing.assert_allclose(dice(found, truth, 4), [2 * 2 / 5, 2 * 1 / 4, NAN])
    np.testing.assert_allclose(dice(truth, truth, 4), [1, 1, NAN])


def test_a_class_that_was_missed_is_0() -> None:
    truth = np.array([0, 1], np.uint8)
    np.testing.assert_array_equal(dice(np.zeros_like(truth), truth, 2), [0])


def test_sizes_must_be_equal() -> None:
    with pytest.raises(ImageError, match="must be of one size"):
        dice(np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8), 2)


def test_means_are_over_the_classes_there() -> None:
    scores = np.array([[0.5, 1.0], [0.4, NAN], [NAN, NAN]])
    np.testing.assert_allclose(mean_dice(scores), [0.75, 0.4, NAN])


def test_the_interval_is_students() -> None:
    values = [0.81, 0.84, 0.79, 0.9, 0.86]
    found = interval(np.array([*values, NAN]))
    reach = 2.776445 * statistics.stdev(values) / math.sqrt(5)  # t of 0.975 and 4, from a table
    assert found.cases == 5
    assert found.mean == pytest.approx(0.84)
    assert (found.low, found.high) == pytest.approx((0.84 - reach, 0.84 + reach), abs=1e-6)


def test_too_few_cases_have_no_interval() -> None:
    one = interval(np.array([0.5, NAN]))
    assert (one.mean, one.cases) == (0.5, 1)
    assert math.isnan(one.low)
    none = interval(np.array([NAN]))
    assert math.isnan(none.mean)
    assert none.cases == 0


def test_pairs_are_tested_by_their_signed_ranks() -> None:
    """All of 8 differences positive: 2 of the 2^8 signs are as extreme."""
    first = np.linspace(0.5, 0.9, 8)
    second = first + np.linspace(0.01, 0.08, 8)
    found = compare(np.append(first, NAN), np.append(second, 0.5))
    assert found.p == pytest.approx(2 / 256)
    assert found.difference.cases == 8
    assert found.difference.mean == pytest.approx(0.045)
    assert compare(second, first).difference.mean == pytest.approx(-0.045)


def test_equal_values_do_not_differ() -> None:
    values = np.array([0.5, 0.6, 0.7])
    assert compare(values, values).p == 1
    assert math.isnan(compare(np.array([NAN]), np.array([NAN])).p)
    with pytest.raises(UsageError, match="of the same cases"):
        compare(values, values[1:])


def test_p_values_are_adjusted_by_their_ranks() -> None:
    p = np.array([0.01, 0.04, NAN, 0.03, 0.005])
    expected = [0.02, 0.04, NAN, 0.04, 0.02]  # min over higher ranks of 4 p / rank
    np.testing.assert_allclose(adjusted(p), expected)
    np.testing.assert_array_equal(adjusted(np.array([NAN])), [NAN])


def test_the_papers_table_is_adjusted_as_printed() -> None:
    """Its Table 5: 15 classes."""
    p = [3.2e-14, 5.3e-13, 9.0e-13, 1.7e-5, 5.0e-4, 8.0e-17, 1.6e-6, 9.2e-10, 7.8e-9, 7.8e-9]
    p += [2.2e-5, 4.8e-6, 6.5e-6, 0.0046, 0.0159]
    q = [2.4e-13, 2.6e-12, 3.4e-12, 2.3e-5, 6.0e-4, 1.2e-15, 3.0e-6, 2.7e-9, 1.7e-8, 1.7e-8]
    q += [2.7e-5, 8.0e-6, 9.7e-6, 0.0050, 0.0159]
    np.testing.assert_allclose(adjusted(np.array(p)), q, rtol=0.05)
