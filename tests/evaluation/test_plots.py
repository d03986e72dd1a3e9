"""Plots: what is on them, in which format, and that equal results are equal files."""

from __future__ import annotations

import re

import pytest

from paoncodec.errors import UsageError
from paoncodec.evaluation.anchors import anchor_file, anchor_names
from paoncodec.evaluation.plots import (
    costs_plot,
    labels,
    rd_plot,
    savings_plot,
    styles,
    without_cost,
)
from paoncodec.evaluation.results import SCHEMA, load_result

POINTS = [(0.1, 28.0), (0.2, 30.0), (0.4, 32.0), (0.8, 34.5)]


def anchor(name: str):
    return load_result(anchor_file(name))


@pytest.fixture
def measured(result_file):
    """`measured("name", factor)`: a result of ours with rates times that factor."""

    def make(name: str, factor: float = 1.0, kind: str = "paoncodec", **content: object):
        points = [(factor * rate, level) for rate, level in POINTS]
        results = {
            "bpp": [p[0] for p in points],
            "psnr-rgb": [p[1] for p in points],
            "decoding_time": [0.1, 0.2, 0.3, 0.4],
        }
        head = {"schema": SCHEMA, "codecs": [{"kind": kind}], "results": results}
        return result_file(name, points, **{**head, **content})

    return make


def limits(svg: bytes) -> tuple[float, float]:
    """The highest figure at the ticks of x and of y."""
    text = svg.decode()
    ticks = {
        axis: [float(t) for t in re.findall(rf'id="{axis}tick_.*?<!-- ([\d.]+) -->', text, re.S)]
        for axis in "xy"
    }
    return max(ticks["x"]), max(ticks["y"])


@pytest.mark.parametrize(
    ("picture_format", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")]
)
def test_formats(measured, picture_format, magic):
    content = rd_plot([measured("ours")], "psnr", picture_format)
    assert content.startswith(magic)
    assert content == rd_plot([measured("ours")], "psnr", picture_format)


def test_another_format_is_refused(measured):
    with pytest.raises(UsageError, match="png, svg, pdf"):
        rd_plot([measured("ours")], "psnr", "gif")


def test_curves_are_named_and_axes_labelled(measured):
    svg = rd_plot([measured("ours"), anchor("mbt2018")], "psnr", "svg", "Title").decode()
    for text in ("ours", "mbt2018", "Title", "Rate, bits per pixel", "PSNR (RGB), dB"):
        assert f"<!-- {text} -->" in svg


def test_axes_end_where_the_models_do(measured):
    jpeg = measured("jpeg", factor=10, kind="pillow")
    x, y = limits(rd_plot([measured("ours"), jpeg, anchor("vtm")], "psnr", "svg"))
    assert 0.6 <= x <= 0.8 * 1.08
    assert y <= 36
    x, _ = limits(rd_plot([jpeg, anchor("vtm")], "psnr", "svg"))
    assert 6 <= x <= 8.64


def test_one_point_is_drawn_too(result_file):
    one = result_file("one", [(0.5, 32.0)], schema=SCHEMA, codecs=[{"kind": "paoncodec"}])
    x, y = limits(rd_plot([one, anchor("mbt2018")], "psnr", "svg"))
    assert 0.8 <= x <= 1
    assert 35 <= y <= 36


def test_a_metric_that_is_missing_is_refused():
    with pytest.raises(UsageError, match="ms-ssim"):
        rd_plot([anchor("elic2022")], "ms-ssim", "png")


def test_savings(measured):
    svg = savings_plot([measured("ours", 0.8)], measured("theirs"), "psnr", "svg").decode()
    assert "<!-- Rate saved against theirs, % -->" in svg
    assert "<!-- ours -->" in svg


def test_savings_have_a_mark_for_each_point_in_reach(measured):
    svg = savings_plot([measured("ours", 0.8)], measured("theirs"), "psnr", "svg").decode()
    marks = re.findall(r"<use [^>]*fill: #d55e00", svg)
    assert len(marks) == len(POINTS) + 1  # and the legend's


def test_costs(measured):
    ours, theirs = measured("ours", 0.8), measured("theirs")
    svg = costs_plot([ours], theirs, "decoding-time", "psnr", "svg").decode()
    assert "<!-- Decoding, seconds per picture -->" in svg
    with pytest.raises(UsageError, match="no result has kmac"):
        costs_plot([ours], theirs, "kmac", "psnr", "svg")
    counted = measured("counted", 0.8, complexity={"decoder_kmac_per_pixel": 108.0})
    assert without_cost([counted, ours], "kmac") == ["ours"]
    assert without_cost([counted, ours], "decoding-time") == []
    svg = costs_plot([counted, ours], theirs, "kmac", "psnr", "svg").decode()
    assert "<!-- counted -->" in svg
    assert "<!-- ours -->" not in svg


def test_a_published_curve_says_so_beside_a_measured_one(measured):
    results = [measured("jpeg", kind="pillow"), anchor("jpeg"), anchor("vtm")]
    assert labels(results) == ["jpeg", "jpeg (published)", "vtm"]


def test_every_style_is_another_one():
    names = [*anchor_names(), "avif", "ours", "others", "more"]
    found = styles(names)
    assert len({(style.dash, style.marker, style.colour) for style in found}) == len(names)
    assert len({(style.dash, style.marker) for style in found}) == len(names)  # in grey
    assert styles(["ours", "vtm"])[1] == styles(["vtm"])[0]
