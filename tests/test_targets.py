"""Targets: the quality that meets them, and how few measurements it takes."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paoncodec.errors import UsageError
from paoncodec.targets import Target, find_quality


def size(quality: float) -> float:
    """Bytes of a file, about as a codec has them."""
    return float(math.floor(2_000 * 1.6 ** (quality - 1) + 57))


def steps(quality: float) -> float:
    """Rises by jumps only."""
    return float(10 * math.floor(quality))


def exhaustive(target: Target, measure: Callable[[float], float]) -> float:
    grid = [k / 256 for k in range(256, 6 * 256 + 1)]
    if target.kind == "psnr":
        return next(q for q in grid if measure(q) >= target.value)
    return [q for q in grid if measure(q) <= target.value][-1]


@given(value=st.floats(2_057, 40_000))
def test_the_highest_quality_that_fits(value: float) -> None:
    target = Target("size", value)
    assert find_quality(target, size) == exhaustive(target, size)


@given(value=st.floats(10, 60))
def test_the_lowest_quality_that_is_good_enough(value: float) -> None:
    target = Target("psnr", value)
    assert find_quality(target, steps) == exhaustive(target, steps)


@given(value=st.floats(10, 60))
def test_figures_that_stand_still_come_to_an_end(value: float) -> None:
    target = Target("bpp", value)
    assert find_quality(target, steps) == exhaustive(target, steps)


@pytest.mark.parametrize("value", [2_500, 5_000, 12_345, 20_000])
def test_smooth_sizes_take_few_measurements(value: float) -> None:
    asked: list[float] = []

    def measure(quality: float) -> float:
        asked.append(quality)
        return size(quality)

    find_quality(Target("size", value), measure)
    assert len(asked) <= 10


@pytest.mark.parametrize(
    ("target", "measure", "words"),
    [
        (Target("size", 100), size, "100 bytes: quality 1, the lowest, has 2057 bytes"),
        (Target("psnr", 61), steps, "61 dB: quality 6, the highest, has 60 dB"),
        (Target("bpp", 9.5), steps, r"9\.5 bpp: quality 1, the lowest, has 10 bpp"),
    ],
)
def test_a_target_out_of_reach_says_what_is_in_reach(
    target: Target, measure: Callable[[float], float], words: str
) -> None:
    with pytest.raises(UsageError, match=f"^no quality of this model reaches {words}"):
        find_quality(target, measure)


def test_more_than_enough_is_the_end_of_the_scale() -> None:
    assert find_quality(Target("size", 1e9), size) == 6
    assert find_quality(Target("psnr", 5), steps) == 1


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf])
def test_impossible_targets(value: float) -> None:
    with pytest.raises(UsageError, match=r"^target of .*: must be more than 0"):
        Target("bpp", value)


def test_distances() -> None:
    assert Target("psnr", 30).distance(32.5) == 2.5
    rate = Target("bpp", 1)
    assert rate.distance(0.5) == pytest.approx(rate.distance(2))
