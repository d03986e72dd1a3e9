"""What a model is said to gain is measured on real files and computed as documented."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest

import paoncodec
from paoncodec import zoo
from paoncodec.errors import ImageError, UsageError
from paoncodec.evaluation.curves import Curve, level_at
from paoncodec.images import read_image


@pytest.fixture(scope="module")
def measuring(tool):
    return tool("measure_model")


@pytest.fixture(scope="module")
def result(measuring, pictures, tiny_weights):
    images = sorted(pictures.glob("*.png"))
    return measuring.report(images, str(tiny_weights), "noise")


def a_card(**changes) -> zoo.WeightsCard:
    card = zoo.WeightsCard(
        name="tiny",
        arch="mbt-paon",
        config={},
        quality=4.0,
        lmbda=0.013,
        metric="mse",
        sha256="0" * 64,
        licence="BSD-3-Clause",
        steps=30,
        data="nothing",
        command="paoncodec train",
        results={"other": {"bpp": 1.0}},
    )
    return dataclasses.replace(card, **changes)


def test_every_byte_of_every_file_counts(result, pictures, tiny_weights):
    sizes = {
        path.name: len(paoncodec.encode(path, model=tiny_weights))
        for path in pictures.glob("*.png")
    }
    assert {row["name"]: row["bytes"] for row in result["pictures"]} == sizes
    assert result["bytes"] == sum(sizes.values())
    assert result["bpp"] == pytest.approx(
        (8 * sizes["a.png"] / (80 * 48) + 8 * sizes["b.png"] / (64 * 64)) / 2
    )


def test_psnr_is_the_mean_of_that_of_the_decoded_pictures(result, pictures, tiny_weights):
    values = []
    for path in sorted(pictures.glob("*.png")):
        decoded = paoncodec.decode(paoncodec.encode(path, model=tiny_weights), model=tiny_weights)
        error = read_image(path).astype(float) - read_image(decoded)
        values.append(10 * math.log10(255**2 / np.mean(error**2)))
    assert result["psnr"] == pytest.approx(np.mean(values))


def test_peers_have_a_point_for_each_quality_and_improve_with_it(result, measuring):
    for name, qualities in measuring.PEERS.items():
        points = result["peers"][name]["curve"]
        assert [point["quality"] for point in points] == list(qualities)
        assert points[-1]["bpp"] > points[0]["bpp"]
        assert points[-1]["psnr"] > points[0]["psnr"]


def test_the_gain_is_that_over_the_curve(result, measuring):
    for peer in result["peers"].values():
        points = [(point["bpp"], point["psnr"]) for point in peer["curve"]]
        level = level_at(result["bpp"], Curve("peer", *zip(*points, strict=True)))
        assert peer["gain_db"] == (None if level is None else result["psnr"] - level)


def test_a_card_takes_the_figures_and_keeps_those_of_other_sets(result, measuring):
    measured = {**result, "peers": {"jpeg": {"gain_db": 1.23456}, "webp": {"gain_db": None}}}
    card = measuring.with_result(a_card(sha256=result["sha256"]), measured)
    assert card.results["other"] == {"bpp": 1.0}
    assert card.results["noise"] == {
        "images": 2,
        "quality": 4.0,
        "bytes": result["bytes"],
        "bpp": pytest.approx(result["bpp"], abs=1e-5),
        "psnr": pytest.approx(result["psnr"], abs=1e-4),
        "jpeg_gain_db": 1.235,
    }


def test_a_card_refuses_the_figures_of_other_weights(result, measuring):
    with pytest.raises(UsageError, match="SHA-256"):
        measuring.with_result(a_card(), result)


def test_from_shipped_weights_to_a_card_with_results(
    measuring, pictures, tiny_weights, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(zoo, "FOLDER", tmp_path)
    (tmp_path / "tiny.safetensors").write_bytes(tiny_weights.read_bytes())
    card = a_card(sha256=zoo.resolve(tiny_weights).sha256)
    (tmp_path / "tiny.json").write_text(json.dumps(dataclasses.asdict(card)))
    arguments = ["tiny", "--images", str(pictures), "--card", "tiny"]
    measuring.main(arguments)
    assert zoo.list_cards()[0].results["pictures"]["images"] == 2
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["picture", "a.png", "b.png", "mean"]
    measuring.main([*arguments, "--json"])
    printed = json.loads(capsys.readouterr().out)
    assert (printed["dataset"], printed["model"]) == ("pictures", "tiny")
    assert str(pictures) not in printed["command"]


def test_a_card_that_is_not_there_is_named(measuring, pictures, tiny_weights):
    with pytest.raises(UsageError, match="nobody"):
        measuring.main([str(tiny_weights), "--images", str(pictures), "--card", "nobody"])


def test_a_picture_that_cannot_be_read_ends_it(measuring, tiny_weights, tmp_path):
    (tmp_path / "a.png").write_bytes(b"not a picture")
    with pytest.raises(ImageError, match=r"a\.png"):
        measuring.main([str(tiny_weights), "--images", str(tmp_path)])


def test_a_model_of_all_qualities_is_measured_at_one(measuring, pictures, variable_weights):
    images = sorted(pictures.glob("*.png"))
    results = [
        measuring.report(images, str(variable_weights), "waves", quality) for quality in (None, 2.0)
    ]
    assert [result["quality"] for result in results] == [4.0, 2.0]
    assert results[0]["bytes"] > results[1]["bytes"]
    assert results[1]["command"].endswith(" --quality 2")
