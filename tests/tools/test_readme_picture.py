"""The picture of the README shows what it says it shows."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import paoncodec
from paoncodec.evaluation.pillow import PillowCoder


@pytest.fixture(scope="module")
def picture_tool(tool):
    return tool("readme_picture")


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)


def test_the_picture_is_written_with_a_column_per_version(
    picture_tool, tiny_weights, tmp_path, capsys
):
    out = tmp_path / "images" / "crops.png"
    picture_tool.main(["--model", str(tiny_weights), "--out", str(out)])
    with Image.open(out) as page:
        assert (page.format, page.mode) == ("PNG", "RGB")
        assert f"{page.width}x{page.height}" in capsys.readouterr().out
        step = picture_tool.SIDE * picture_tool.ZOOM + picture_tool.GAP
        assert page.width == 3 * step + picture_tool.GAP


def test_labels_are_of_the_real_file(picture_tool, tiny_weights, noise):
    _, ours, _ = picture_tool.columns(noise, str(tiny_weights))
    data = paoncodec.encode(noise, model=tiny_weights)
    size = f"{len(data):,}".replace(",", " ")
    assert ours.figures.startswith(f"{size} bytes, {8 * len(data) / 64**2:.3f} bpp, ")
    assert np.array_equal(ours.picture, paoncodec.decode(data, model=tiny_weights))


def test_jpeg_gets_at_least_our_bytes_and_no_more_than_it_needs(picture_tool, noise):
    coder = PillowCoder("jpeg")
    sizes = [len(coder.encode(noise, q)) for q in picture_tool.JPEG_QUALITIES]
    wanted = (sizes[40] + sizes[41]) // 2
    found = len(picture_tool.jpeg_of_size(noise, wanted))
    assert found == next(size for size in sizes if size >= wanted)
    assert len(picture_tool.jpeg_of_size(noise, 1 << 30)) == sizes[-1]


def test_crops_are_of_the_very_pixels(picture_tool):
    side, zoom = picture_tool.SIDE, picture_tool.ZOOM
    picture = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    enlarged = np.asarray(picture_tool.crop(picture, 20, 30))
    assert np.array_equal(enlarged[::zoom, ::zoom], picture[30 : 30 + side, 20 : 20 + side])


def test_crops_lie_inside_the_photograph(picture_tool):
    for x, y in picture_tool.CORNERS:
        assert 0 <= x <= 512 - picture_tool.SIDE
        assert 0 <= y <= 512 - picture_tool.SIDE
