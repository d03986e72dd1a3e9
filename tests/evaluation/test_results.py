"""Result files: ours, CompressAI's, and others that are refused."""

from __future__ import annotations

import json

import pytest

from paoncodec.errors import UsageError
from paoncodec.evaluation.results import load_result, mean_points


def a_row(image: str, quality: float, **figures: object) -> dict:
    names = ("bytes", "bpp", "payload-bpp", "estimated-bpp", "psnr-rgb", "ms-ssim-rgb")
    rest = ("ms-ssim-rgb-db", "lpips", "encoding_time", "decoding_time", "peak-memory")
    return {
        **dict.fromkeys((*names, *rest)),
        "bpp": 1.0,
        "image": image,
        "quality": quality,
        **figures,
    }


def test_compressai_s_file(tmp_path):
    path = tmp_path / "cai.json"
    results = {"psnr-rgb": [30.0, 32.0], "ms-ssim-rgb": [0.9, 0.99], "bpp": [0.1, 0.2]}
    path.write_text(json.dumps({"name": "mbt2018-mse", "description": "", "results": results}))
    result = load_result(path)
    assert (result.name, result.dataset, result.is_measured) == ("mbt2018-mse", "", False)
    assert list(result.curve("psnr").levels) == [30, 32]
    assert result.curve("ms-ssim").levels == pytest.approx([10, 20])
    assert result.by_image("psnr") == {}


def test_compressai_s_older_names(tmp_path):
    path = tmp_path / "old.json"
    path.write_text(json.dumps({"bpp": [0.1], "psnr": [30.0]}))
    result = load_result(path)
    assert (result.name, result.curve("psnr").levels) == ("old", [30])


@pytest.mark.parametrize(
    "content",
    [
        "not json",
        "[]",
        "{}",
        '{"results": {"bpp": 1}}',
        '{"results": {"bpp": [1], "psnr-rgb": [1, 2]}}',
        '{"results": {"bpp": [1], "psnr-rgb": ["30"]}}',
        '{"results": {"bpp": [NaN], "psnr-rgb": [30]}}',
        '{"results": {"bpp": [1]}, "dataset": "kodak"}',
        '{"results": {"bpp": [null], "psnr-rgb": [30]}}',
        '{"results": {"bpp": [1], "psnr-rgb": [30]}, "images": null}',
        '{"results": {"bpp": [1], "psnr-rgb": [30]}, "images": [{"image": "a"}]}',
        "[" * 100_000,
    ],
)
def test_what_is_no_result_file_is_refused(tmp_path, content):
    path = tmp_path / "other.json"
    path.write_text(content)
    with pytest.raises(UsageError, match=r"other\.json"):
        load_result(path)


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ({"name": "kodak"}, {"name": "kodak"}, True),
        ({"name": "kodak"}, {"name": "tecnick"}, False),
        ({"name": "kodak", "sha256": "a"}, {"name": "kodak", "sha256": "b"}, False),
        ({"name": "mine", "sha256": "a"}, {"name": "kodak", "sha256": "a"}, True),
        ({"name": "kodak", "sha256": "a"}, {"name": "kodak"}, True),
        ({"name": "kodak"}, {}, True),
        ({"name": "kodak", "images": 24}, {"name": "kodak", "images": 24}, True),
        ({"name": "kodak", "images": 1}, {"name": "kodak", "images": 24}, False),
        ({"images": 1, "sha256": "a"}, {"images": 24}, False),
        ({"images": 24}, {"name": "kodak"}, True),
    ],
)
def test_whether_pictures_are_the_same(result_file, first, second, same):
    one, other = (
        result_file(name, [(0.1, 30.0)], dataset=dataset)
        for name, dataset in (("one", first), ("other", second))
    )
    assert one.has_pictures_of(other) is other.has_pictures_of(one) is same


def test_pictures_that_failed_are_not_those_of_a_whole_set(result_file):
    means = {"bpp": [0.1, 0.2], "psnr-rgb": [30, 32], "images": [2, 2]}
    kodak = {"name": "kodak", "images": 24, "sha256": "a"}
    half = result_file("half", [], dataset=kodak, results=means)
    whole = result_file("whole", [], dataset=kodak, results={**means, "images": [24, 24]})
    published = result_file("published", [(0.1, 30.0)], dataset={"name": "kodak", "images": 24})
    assert half.picture_count == 2
    assert not half.has_pictures_of(whole)
    assert not half.has_pictures_of(published)
    assert whole.has_pictures_of(published)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        load_result(tmp_path / "none.json")


def test_a_metric_that_was_not_measured_everywhere_is_refused(result_file):
    result = result_file("some", [(0.1, None), (0.2, 30.0)])
    with pytest.raises(UsageError, match="no psnr at all of its points"):
        result.curve("psnr")
    with pytest.raises(UsageError, match="no ms-ssim"):
        result.curve("ms-ssim")


def test_a_curve_for_each_picture(result_file):
    curves = {"a": [(0.1, 30.0), (0.2, 31.0)], "b": [(0.3, 32.0), (0.4, None)]}
    [(name, curve)] = result_file("r", [(0.1, 30.0)], curves).by_image("psnr").items()
    assert (name, list(curve.rates), list(curve.levels)) == ("a", [0.1, 0.2], [30.0, 31.0])


def test_means_are_over_pictures_that_every_quality_has():
    rows = [
        a_row("a", 1, bytes=10, **{"psnr-rgb": 30.0, "peak-memory": 5}),
        a_row("b", 1, bytes=30, **{"psnr-rgb": 40.0, "peak-memory": 9}),
        a_row("a", 2, bytes=20, **{"psnr-rgb": 31.0, "peak-memory": 5}),
        a_row("b", 2, bytes=40, **{"psnr-rgb": 41.0, "peak-memory": 5}),
        a_row("c", 2, bytes=99, **{"psnr-rgb": 99.0, "peak-memory": 99}),
    ]
    points = mean_points(rows, [1, 2])
    assert points["images"] == [2, 2]
    assert points["bytes"] == [20, 30]
    assert points["psnr-rgb"] == [35, 36]
    assert points["peak-memory"] == [9, 5]
    assert points["lpips"] == [None, None]


def test_ms_ssim_in_db_is_that_of_the_mean():
    rows = [a_row("a", 1, **{"ms-ssim-rgb": 0.98}), a_row("b", 1, **{"ms-ssim-rgb": 1.0})]
    assert mean_points(rows, [1])["ms-ssim-rgb-db"] == [pytest.approx(20)]


def test_nothing_measured_is_an_empty_curve():
    assert mean_points([], [1, 2]) == {"bpp": []}
