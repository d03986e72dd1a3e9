"""The tables of what was measured on Kodak say what the result files say."""

from __future__ import annotations

import dataclasses
import json
import re

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


def test_a_row_has_bytes_times_and_rates(kodak_tool, measured):
    published = [load_result(anchor_file("vtm"))]
    text = kodak_tool.section(measured, published)
    assert text.startswith("BD-rates over 26.14 to 35.00 dB, which all curves cover:\n")
    head, _, *lines = text.splitlines()[2:8]
    assert head.startswith("| codec | bytes at 32 dB | encode, ms | decode, ms | BD-rate to jpeg |")
    # 32 dB is the third point: 300 bytes, 9 seconds to encode.
    assert lines[0] == "| `ours` | 300 | 9000 | 2000 | -50.0 % | – |"
    assert lines[1] == "| jpeg | 600 | 9000 | 2000 | – | -50.0 % |"
    assert lines[2] == "| webp | 480 | 9000 | 2000 | -20.0 % | -37.5 % |"
    assert lines[3].startswith("| vtm, published | – | – | – | -")


def test_short_times_keep_a_digit(kodak_tool, measured):
    content = {**measured[1].content}
    content["results"] = {**content["results"], "decoding_time": [0.0036] * 4}
    quick = dataclasses.replace(measured[1], content=content)
    lines = kodak_tool.section([measured[0], quick], []).splitlines()
    assert "| 9000 | 3.6 |" in lines[5]


def test_the_rate_is_that_of_the_common_range(kodak_tool, tmp_path):
    jpeg = curve(tmp_path, "jpeg", [0.1, 0.3, 0.6, 1.2])
    # Half the rate from 29 dB on; what it does below is beyond webp's curve, and is not compared.
    ours = curve(tmp_path, "ours", [0.1, 0.15, 0.3, 0.6], "paoncodec")
    webp = curve(tmp_path, "webp", [0.3, 0.6, 1.2, 2.4])
    shifted = {**webp.content["results"], "psnr-rgb": [29, 32, 35, 38]}
    webp = dataclasses.replace(webp, content={**webp.content, "results": shifted})
    text = kodak_tool.section([ours, jpeg, webp], [])
    assert text.startswith("BD-rates over 29.00 to 35.00 dB")
    rate = float(re.search(r"`ours` .* (-\d+\.\d) % \| –", text).group(1))
    assert rate == pytest.approx(-50, abs=2)  # the curve's bend at 29 dB is smoothed


def test_points_of_a_model_stand_below(kodak_tool, measured):
    text = kodak_tool.section(measured, [])
    assert "| 2 | 150 | 0.150 | 29.00 | 29.00 | 1.00 | 2.00 |" in text
    assert text.count("point by point") == 1


def test_without_jpeg_a_model_or_the_same_pictures_there_is_no_table(kodak_tool, measured):
    with pytest.raises(UsageError, match="no result file of jpeg"):
        kodak_tool.section([measured[0], measured[2]], [])
    with pytest.raises(UsageError, match="no result file of a model"):
        kodak_tool.section(measured[1:], [])
    few = {**measured[1].content, "dataset": {"name": "kodak", "images": 1}}
    jpeg = dataclasses.replace(measured[1], content=few)
    with pytest.raises(UsageError, match="of other pictures"):
        kodak_tool.section([measured[0], jpeg], [load_result(anchor_file("vtm"))])
    failed = {**measured[1].content, "failures": [{"image": "b.png", "error": "damaged"}]}
    jpeg = dataclasses.replace(measured[1], content=failed)
    with pytest.raises(UsageError, match="pictures failed"):
        kodak_tool.section([measured[0], jpeg], [])


def test_the_plot_knows_what_it_was_drawn_of(kodak_tool, measured, tmp_path):
    plot = tmp_path / "plot.png"
    assert not kodak_tool.is_drawn_of(plot, measured)
    plot.write_bytes(kodak_tool.plot_of(measured))
    assert kodak_tool.is_drawn_of(plot, measured)
    assert not kodak_tool.is_drawn_of(plot, measured[:2])
