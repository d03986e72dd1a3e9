"""A run: what is in its rows, what is averaged, what happens to a picture that fails."""

from __future__ import annotations

import json

import numpy as np
import pytest

import paoncodec
from paoncodec import zoo
from paoncodec.errors import UsageError, WeightsError
from paoncodec.evaluation.coders import PaonCoder
from paoncodec.evaluation.pillow import PillowCoder
from paoncodec.evaluation.results import SCHEMA
from paoncodec.evaluation.runs import Options, evaluate, settings_of
from paoncodec.images import psnr, read_image

JPEG = settings_of([PillowCoder("jpeg")], (30, 80))


@pytest.fixture(scope="module")
def ours(pictures, tiny_weights):
    return evaluate(pictures, settings_of([PaonCoder(str(tiny_weights))]), dataset="waves")


def test_rows_are_of_the_real_files(ours, pictures, tiny_weights):
    assert [row["image"] for row in ours["images"]] == list(pictures)
    for row in ours["images"]:
        data = paoncodec.encode(pictures[row["image"]], model=tiny_weights)
        before = read_image(pictures[row["image"]])
        after = read_image(paoncodec.decode(data, model=tiny_weights))
        pixels = row["width"] * row["height"]
        assert (row["height"], row["width"]) == before.shape[:2]
        assert row["bytes"] == len(data)
        assert row["bpp"] == 8 * len(data) / pixels
        assert row["payload-bpp"] == 8 * sum(paoncodec.info(data)["sections"].values()) / pixels
        assert row["psnr-rgb"] == psnr(before, after)
        assert row["quality"] == 4.0
        assert min(row["encoding_time"], row["decoding_time"]) > 0


def test_the_estimate_is_near_the_payload(ours):
    for row in ours["images"]:
        estimated, real = (
            row[key] * row["width"] * row["height"] for key in ("estimated-bpp", "payload-bpp")
        )
        assert 0.99 * estimated - 1 <= real <= 1.01 * estimated + 2 * 64


def test_means_are_of_the_rows(ours):
    assert ours["results"]["images"] == [3]
    for key in ("bytes", "bpp", "payload-bpp", "psnr-rgb", "decoding_time"):
        assert ours["results"][key] == [pytest.approx(np.mean([r[key] for r in ours["images"]]))]


def test_it_says_what_was_measured_and_how(ours, tiny_weights):
    assert (ours["schema"], ours["name"], ours["dataset"]["name"]) == (SCHEMA, "tiny", "waves")
    assert ours["dataset"]["images"] == 3
    assert len(ours["dataset"]["sha256"]) == 64
    assert ours["codecs"][0]["sha256"] == zoo.resolve(tiny_weights).sha256
    assert ours["conditions"]["jobs"] == 1
    assert ours["conditions"]["threads"] >= 1
    assert {"paoncodec", "torch", "Pillow"} <= set(ours["conditions"]["versions"])
    assert ours["failures"] == []
    json.dumps(ours, allow_nan=False)


def test_several_processes_measure_the_same(pictures, tmp_path):
    timed = {"encoding_time", "decoding_time", "peak-memory"}
    (tmp_path / "bad.png").write_bytes(b"not a picture")
    images = {"bad.png": tmp_path / "bad.png", **pictures}

    def plain(jobs: int) -> list[dict]:
        result = evaluate(images, JPEG, Options(jobs=jobs, ms_ssim=False))
        assert result["conditions"]["jobs"] == jobs
        rows = [*result["images"], *result["failures"]]
        return [{k: v for k, v in row.items() if k not in timed} for row in rows]

    one = plain(1)
    assert len(one) == 8
    assert plain(2) == one


def test_equal_pictures_have_no_finite_psnr(tmp_path):
    from PIL import Image

    Image.new("RGB", (16, 16), (90, 90, 90)).save(tmp_path / "flat.png")
    settings = settings_of([PillowCoder("webp")], (90,))
    result = evaluate({"flat": tmp_path / "flat.png"}, settings)
    assert result["images"][0]["psnr-rgb"] is None
    assert result["results"]["psnr-rgb"] == [None]


def test_a_picture_that_fails_is_named_counted_and_left_out(pictures, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"not a picture")
    heard = []
    result = evaluate(
        {"bad.png": tmp_path / "bad.png", **pictures},
        JPEG,
        Options(ms_ssim=False),
        progress=lambda *what: heard.append(what),
    )
    failed = [(row["image"], row["quality"]) for row in result["failures"]]
    assert failed == [("bad.png", 30), ("bad.png", 80)]
    assert "not a picture" in result["failures"][0]["error"]
    assert result["results"]["images"] == [3, 3]
    assert len(heard) == 8
    assert sum(error is not None for _, _, error in heard) == 2


def test_a_failure_of_a_codec_is_one_of_that_picture(pictures, monkeypatch):
    encode = PillowCoder.encode

    def fragile(self, picture, quality):
        if picture.shape[:2] == (64, 64):
            raise RuntimeError("too square")
        return encode(self, picture, quality)

    monkeypatch.setattr(PillowCoder, "encode", fragile)
    result = evaluate(pictures, JPEG, Options(ms_ssim=False))
    assert {row["image"] for row in result["failures"]} == {"b.png"}
    assert result["failures"][0]["error"] == "RuntimeError: too square"


def test_what_would_fail_for_every_picture_ends_the_run(pictures, tiny_weights):
    with pytest.raises(WeightsError, match="nobody"):
        settings_of([PaonCoder("nobody")])
    with pytest.raises(UsageError, match="quality"):
        evaluate(pictures, settings_of([PaonCoder(str(tiny_weights))], (1.0,)))


def test_files_and_pictures_are_kept(pictures, tmp_path):
    result = evaluate(
        pictures, JPEG, Options(ms_ssim=False, keep=tmp_path), name="my jpeg", dataset="waves"
    )
    for row in result["images"]:
        assert (tmp_path / row["file"]).stat().st_size == row["bytes"]
        decoded, original = (read_image(tmp_path / row[key]) for key in ("decoded", "original"))
        assert np.array_equal(original, read_image(pictures[row["image"]]))
        assert psnr(original, decoded) == row["psnr-rgb"]
    assert result["images"][0]["file"] == "my-jpeg/30/a.png.jpg"


def test_settings_are_in_order_of_quality(tiny_weights):
    settings = settings_of([PillowCoder("jpeg")], (80, 5, 40))
    assert [setting.quality for setting in settings] == [5, 40, 80]
    assert [s.quality for s in settings_of([PaonCoder(str(tiny_weights))])] == [4.0]


def test_settings_that_make_no_curve_are_refused(tiny_weights):
    coder = PaonCoder(str(tiny_weights))
    with pytest.raises(UsageError, match="twice"):
        settings_of([coder, coder])
    with pytest.raises(UsageError, match="twice"):
        settings_of([PillowCoder("jpeg")], (5, 5))
    with pytest.raises(UsageError, match="each has its own"):
        settings_of([coder, coder], (1, 2))
    with pytest.raises(UsageError, match="nothing to measure"):
        settings_of([])


@pytest.mark.parametrize("wrong", [{"jobs": 0}, {"repeats": 0}, {"threads": -1}])
def test_options_out_of_range(wrong):
    with pytest.raises(UsageError, match="1 or more"):
        Options(**wrong)
