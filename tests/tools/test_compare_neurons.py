"""Networks are trained alike, a stopped run goes on, and a finished one is only measured."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from paoncodec import codecs
from paoncodec.errors import UsageError

DEMO = Path(codecs.__file__).parents[1] / "demo" / "photo.png"


@pytest.fixture(scope="module")
def compare_neurons(tool):
    return tool("compare_neurons")


def test_networks_of_a_kind_differ_in_their_neurons_alone(compare_neurons):
    for kind in ("mbt", "elic"):
        names = [name for name in compare_neurons.NETWORKS if name.startswith(kind)]
        recipes = [compare_neurons.recipe_of(name, 0.013, "pictures", 9) for name in names]
        assert all(recipe.train == recipes[0].train for recipe in recipes)
        assert all(recipe.lr_entropy == recipes[0].lr_entropy for recipe in recipes)
        layers = ("gdn", "blocks", "attention")
        sizes = [{k: size for k, size in r.arch.items() if k not in layers} for r in recipes]
        assert all(size == sizes[0] for size in sizes)


def test_what_is_trained_is_not_trained_again(
    compare_neurons, pictures, tmp_path, monkeypatch, capsys
):
    whole = compare_neurons.recipe_of

    def small(*given):
        recipe = whole(*given)
        sizes = {**recipe.arch, "N": 6, "M": 8, "hyper_width": 6, "hyper_synthesis": [6, 6]}
        sizes |= {"widths": [6, 6, 6], "context_width": 6, "parameter_widths": [6, 6]}
        train = replace(recipe.train, batch_size=1, crop=64, workers=0, warmup=0)
        return replace(recipe, arch=sizes | {"hyper_out": 6}, train=train)

    monkeypatch.setattr(compare_neurons, "recipe_of", small)
    test_pictures = tmp_path / "kodak"
    test_pictures.mkdir()
    with Image.open(DEMO) as photo:
        photo.crop((0, 0, 192, 192)).save(test_pictures / "corner.png")
    out = tmp_path / "found.json"
    words = ["--data", str(pictures), "--kodak", str(test_pictures), "--steps", "2"]
    words += ["--runs", str(tmp_path / "runs"), "--json", str(out), "--only", "mbt-2018"]
    words += ["--precision", "float32"]
    compare_neurons.main([*words, "--only", "mbt-paon with GDN"])
    table = capsys.readouterr().out
    compare_neurons.main([*words, "--times"])
    [timed] = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"mbt-2018: \d+\.\d{3} s a step", timed)
    points = json.loads(out.read_text())["points"]
    assert [point["network"] for point in points] == ["mbt-2018", "mbt-paon with GDN"]
    assert points[0]["parameters"] < points[1]["parameters"]
    for point in points:
        assert f"{point['bpp']:.4f} | {point['psnr']:.2f} |" in table
        cost = 0.013 * 255**2 * 10 ** (-point["psnr"] / 10) + point["bpp"]  # of one picture
        assert point["loss"] == pytest.approx(cost)
        assert point["step_seconds"] > 0
        assert point["precision"] == "float32"
    assert table == compare_neurons.table(compare_neurons.points_in(out, 0.013)) + "\n"
    with pytest.raises(UsageError, match=r"points of λ = 0\.013, not 0\.1"):
        compare_neurons.main([*words, "--lmbda", "0.1"])
    metrics = (tmp_path / "runs" / "mbt-2018" / "metrics.jsonl").read_text()
    compare_neurons.main(words)
    assert (tmp_path / "runs" / "mbt-2018" / "metrics.jsonl").read_text() == metrics
    again = json.loads(out.read_text())["points"]  # that of the other network has stayed
    assert [point | {"step_seconds": 0} for point in again] == [
        point | {"step_seconds": 0} for point in points
    ]
    assert all(point["step_seconds"] > 0 for point in again)
