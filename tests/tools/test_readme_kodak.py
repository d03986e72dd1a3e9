"""The tables of what was measured on Kodak say what the result files say."""

from __future__ import annotations

import json

import pytest

from paoncodec.errors import UsageError
from paoncodec.evaluation.anchors import anchor_file
from paoncodec.evaluation.results import load_result


@pytest.fixture(scope="module")
def kodak_tool(tool):
    return tool("readme_kodak")


def curve(folder, name, rates, kind="pillow"):
    """A result file of one picture: 26, 29, 32 … dB at these rates, a second and two to code."""
    levels = [26 + 3 * i for i in range(len(rates))]
    count = len(rates)
    means = {
        "quality": list(range(1, count + 1)),
        "bytes": [rate * 1000 for rate in rates],
        "bpp": rates,
        "psnr-rgb": levels,
        "ms-ssim-rgb-db": levels,
        "encoding_time": [0.5, 1.0, *[9.0] * (count - 2)][:count],
        "decoding_time": [2.0] * count,
    }
    rows = [
        {"image": "a.png", "bpp": rate, "psnr-rgb": level}
        for rate, level in zip(rates, levels, strict=True)
    ]
    content = {
        "schema": "paoncodec-eval-1",
        "name": name,
        "codecs": [{"kind": kind}],
        "results": means,
        "images": rows,
    }
    path = folder / f"{name}.json"
    path.write_text(json.dumps(content))
    return load_result(path)


@pytest.fixture
def measured(tmp_path):
    rates = [0.1, 0.3, 0.6, 1.2]
    return [
        curve(tmp_path, "ours", [rate / 2 for rate in rates], "paoncodec"),
        curve(tmp_path, "jpeg", rates),
        curve(tmp_path, "webp", [rate * 0.8 for rate in rates]),
    ]


def test_a_row_has_the_rates_against_both_anchors_and_the_times(kodak_tool, measured):
    published = [load_result(anchor_file("vtm"))]
    lines = kodak_tool.section(measured, published).splitlines()
    assert lines[2].startswith("| `ours` | -50.0 % (pictures -50.0 ± 0.0) | -37.5 %")
    assert lines[2].endswith("| 9.00 | 2.00 |")
    assert lines[3].startswith("| jpeg | 0 | +25.0 %")
    assert lines[4].startswith("| webp | -20.0 %")
    assert "| 0 |" in lines[4]
    assert lines[5].startswith("| vtm, published | -")
    assert lines[5].endswith("| – | – |")


def test_points_of_a_model_stand_below(kodak_tool, measured):
    text = kodak_tool.section(measured, [])
    assert "| 2 | 150 | 0.150 | 29.00 | 29.00 | 1.00 | 2.00 |" in text
    assert text.count("point by point") == 1


def test_without_an_anchor_there_is_no_table(kodak_tool, measured):
    with pytest.raises(UsageError, match="no result file of webp"):
        kodak_tool.section(measured[:2], [])


def test_only_what_is_between_the_markers_changes(kodak_tool):
    text = "a\n<!-- kodak -->\nold\n<!-- /kodak -->\nb\n"
    assert kodak_tool.refreshed(text, "new\n") == text.replace("old", "new")
    with pytest.raises(ValueError, match="markers"):
        kodak_tool.refreshed("a\n", "new\n")
