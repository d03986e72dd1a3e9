"""Super-resolution measured on folders of pictures."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from paoncodec.evaluation.superres import Options, evaluate
from paoncodec.images import read_image
from paoncodec.vision.superres.metrics import figures_of
from paoncodec.vision.superres.resize import enlarge, reduce

BICUBIC = partial(enlarge, scale=2)


@pytest.fixture
def originals(tmp_path: Path) -> dict[str, Path]:
    """Two pictures, one of odd sides, one grey."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "high"
    folder.mkdir()
    Image.fromarray(rng.integers(0, 256, (41, 33, 3), np.uint8)).save(folder / "a.png")
    Image.fromarray(rng.integers(0, 256, (30, 36), np.uint8)).save(folder / "b.png")
    return {path.name: path for path in sorted(folder.iterdir())}


def measure(images, upscaler=BICUBIC, options=Options(2)):  # noqa: B008
    heard = []
    found = evaluate(
        images,
        upscaler,
        options,
        name="it",
        dataset="random",
        command=["paoncodec"],
        progress=lambda *seen: heard.append(seen),
    )
    json.dumps(found, allow_nan=False)
    return found, heard


def test_figures_are_those_of_each_picture(originals) -> None:
    found, heard = measure(originals)
    high = read_image(originals["a.png"])[:40, :32]
    wanted = figures_of(high, BICUBIC(reduce(high, 2)), 2)
    row = found["images"][0]
    assert {key: row[key] for key in wanted} == wanted
    assert row["pixels"] == 40 * 32
    for key in wanted:
        assert found["results"][key] == pytest.approx(np.mean([r[key] for r in found["images"]]))
    assert (found["scale"], found["border"], found["low"]) == (2, 2, "bicubic")
    assert heard == [("a.png", None), ("b.png", None)]


def test_small_pictures_of_their_own(originals, tmp_path: Path) -> None:
    low = tmp_path / "low"
    low.mkdir()
    for name, path in originals.items():
        high = read_image(path)
        rgb = np.repeat(high, 3, 2) if high.shape[2] == 1 else high
        small = reduce(rgb[: len(high) // 2 * 2, : high.shape[1] // 2 * 2], 2)
        Image.fromarray(small).save(low / name)
    with_files, _ = measure(originals, options=Options(2, low))
    made, _ = measure(originals)
    assert with_files["low"] == "low"
    for name in ("psnr-rgb", "psnr-y", "ssim-y"):
        assert with_files["results"][name] == made["results"][name]


def test_what_cannot_be_measured_is_named_and_left_out(originals, tmp_path: Path) -> None:
    low = tmp_path / "low"
    low.mkdir()
    Image.new("RGB", (16, 20)).save(low / "a.png")
    Image.new("RGB", (5, 5)).save(low / "b.png")
    found, heard = measure(originals, options=Options(2, low))
    assert [failure["image"] for failure in found["failures"]] == ["b.png"]
    assert "must be 18x15" in found["failures"][0]["error"]
    assert found["dataset"]["images"] == 1
    assert [name for name, fault in heard if fault] == ["b.png"]


def test_equal_pictures_have_no_finite_psnr(originals) -> None:
    one = {"a.png": originals["a.png"]}
    high = read_image(originals["a.png"])[:40, :32]
    found, _ = measure(one, lambda low: high)
    assert found["images"][0]["psnr-y"] is None
    assert "psnr-y" not in found["results"]
    assert found["results"]["ssim-y"] == pytest.approx(1)


def test_nothing_measured_has_no_means(tmp_path: Path) -> None:
    Image.new("RGB", (3, 1)).save(tmp_path / "thin.png")
    found, _ = measure({"thin.png": tmp_path / "thin.png"})
    assert found["results"] == {}
    assert "2 pixels a side" in found["failures"][0]["error"]
