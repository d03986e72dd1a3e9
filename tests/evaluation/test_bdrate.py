"""Bjøntegaard deltas: closed forms, the reference package, published figures, refusals."""

from __future__ import annotations

import bjontegaard
import numpy as np
import pytest

from paoncodec.errors import UsageError
from paoncodec.evaluation.anchors import anchor_file
from paoncodec.evaluation.bdrate import METHODS, bd_psnr, bd_rate, compare, overlap, savings
from paoncodec.evaluation.curves import Curve
from paoncodec.evaluation.results import load_result

RATES = [0.1, 0.2, 0.41, 0.79, 1.3]
LEVELS = [28.0, 30.1, 32.7, 35.2, 37.0]
CURVE = Curve("curve", RATES, LEVELS)


def anchor(name: str) -> Curve:
    return load_result(anchor_file(name)).curve("psnr")


@pytest.mark.parametrize("method", METHODS)
def test_a_curve_against_itself_is_0(method):
    assert bd_rate(CURVE, CURVE, method) == pytest.approx(0, abs=1e-9)
    assert bd_psnr(CURVE, CURVE, method) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("factor", [1.1, 0.5])
def test_another_rate_everywhere_is_that_bd_rate(method, factor):
    test = Curve("test", [factor * rate for rate in RATES], LEVELS)
    assert bd_rate(test, CURVE, method) == pytest.approx(100 * (factor - 1), abs=1e-6)


def test_another_level_everywhere_is_that_bd_psnr():
    test = Curve("test", RATES, [level + 0.75 for level in LEVELS])
    assert bd_psnr(test, CURVE) == pytest.approx(0.75)


def test_exchanged_curves_have_the_inverse():
    ours, theirs = anchor("mbt2018"), anchor("vtm")
    there, back = bd_rate(ours, theirs), bd_rate(theirs, ours)
    assert (1 + there / 100) * (1 + back / 100) == pytest.approx(1)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["webp", "cheng2020-anchor", "elic2022"])
def test_the_bjontegaard_package_says_the_same(method, name):
    test, reference = anchor(name), anchor("mbt2018")
    arguments = (reference.rates, reference.levels, test.rates, test.levels)
    options = {"method": method, "require_matching_points": False, "min_overlap": 0}
    rate, level = (
        getattr(bjontegaard, f)(*map(np.array, arguments), **options)
        for f in ("bd_rate", "bd_psnr")
    )
    assert bd_rate(test, reference, method) == pytest.approx(rate, abs=1e-6)
    assert bd_psnr(test, reference, method) == pytest.approx(level, abs=1e-6)


@pytest.mark.parametrize(
    ("test", "against", "expected"),
    [("mbt2018", "vtm", 11.0), ("elic2022", "mbt2018", -17.0), ("elic2022", "vtm", -7.0)],
)
def test_anchors_are_apart_as_the_field_quotes_them(test, against, expected):
    assert bd_rate(anchor(test), anchor(against)) == pytest.approx(expected, abs=0.1)


def test_overlap_is_part_of_the_joint_range():
    assert overlap([30, 34], [32, 36]) == pytest.approx(2 / 6)
    assert overlap([30, 34], [30, 34]) == 1
    assert overlap([30, 34], [35, 36]) == 0


def test_curves_that_do_not_overlap_are_refused():
    above = Curve("above", RATES, [level + 20 for level in LEVELS])
    with pytest.raises(UsageError, match="do not overlap"):
        bd_rate(above, CURVE)
    beyond = Curve("beyond", [100 * rate for rate in RATES], LEVELS)
    with pytest.raises(UsageError, match="do not overlap"):
        bd_psnr(beyond, CURVE)


def test_too_few_points_are_refused():
    with pytest.raises(UsageError, match=r"few: 3 point\(s\), 4 are the least"):
        bd_rate(Curve("few", RATES[:3], LEVELS[:3]), CURVE)


def test_savings_are_of_the_rate_at_each_level():
    test = Curve("test", [0.8 * rate for rate in RATES], LEVELS)
    levels, saved = savings(test, CURVE, count=7)
    assert (levels[0], levels[-1], len(levels)) == (28.0, 37.0, 7)
    assert saved == pytest.approx([20] * 7)


def test_a_comparison_has_it_all(result_file):
    curve = list(zip(RATES, LEVELS, strict=True))

    def scaled(factor: float) -> list[tuple[float, float]]:
        return [(factor * rate, level) for rate, level in curve]

    theirs = result_file("theirs", curve, {"a": curve, "b": curve, "c": curve[:2], "d": curve})
    ours = result_file("ours", scaled(0.9), {"a": scaled(0.8), "b": scaled(1.0), "c": curve[:2]})
    found = compare(ours, theirs)
    assert (found.test, found.anchor, found.metric) == ("ours", "theirs", "psnr")
    assert found.rate["pchip"] == pytest.approx(-10)
    assert found.level > 0
    assert found.overlap == 1
    assert found.points == (5, 5)
    spread = found.by_image
    assert (spread.pictures, spread.refused) == (2, 1)
    assert (spread.mean, spread.lowest, spread.highest) == pytest.approx((-10, -20, 0))
    assert spread.deviation == pytest.approx(200**0.5)


def test_without_common_pictures_there_is_no_spread(result_file):
    curve = list(zip(RATES, LEVELS, strict=True))
    theirs = result_file("theirs", curve, {"b": curve})
    assert compare(result_file("ours", curve, {"a": curve}), theirs).by_image is None
