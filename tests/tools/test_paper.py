"""The paper's figures are made of whatever weights are given, beside what it claims."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from paoncodec import codecs
from paoncodec.errors import UsageError
from paoncodec.images import read_image

PAPER = Path(__file__).resolve().parents[2] / "tools" / "paper"


@pytest.fixture(scope="module")
def figure(tool):
    """Import a script of tools/paper by its number."""

    def load(number: int):
        sys.path.insert(0, str(PAPER))
        try:
            return tool(f"figure{number}")
        finally:
            sys.path.remove(str(PAPER))

    return load


@pytest.fixture(scope="module")
def kodak(tmp_path_factory) -> Path:
    """Three pictures of Kodak's names: waves with noise."""
    folder = tmp_path_factory.mktemp("kodak")
    random = np.random.default_rng(0)
    for name in ("kodim01", "kodim08", "kodim21"):
        y, x = np.mgrid[:64, :96][..., None] / 9
        pixels = 120 + 80 * np.sin(x + np.arange(3)) * np.cos(y) + random.normal(0, 6, (64, 96, 3))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{name}.png")
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Makes weights of an untrained small codec, λ = 0.013, and gives their path."""

    def make(arch: str, **options) -> str:
        path = tmp_path_factory.mktemp("weights") / "some.safetensors"
        sizes = {"N": 6, "M": 8, "shift": "none"}
        codecs.save_weights(
            codecs.build(arch, {**sizes, **options}), path, arch, {"lmbda": "0.013"}
        )
        return str(path)

    return make


def test_figure_6(figure, kodak, variable_weights, weights, tmp_path, capsys):
    words = ["--images", str(kodak), "--out", str(tmp_path), "--plain", str(variable_weights)]
    figure(6).main([*words, "--gdn", weights("mbt-paon", gdn=True)])
    said, warned = capsys.readouterr()
    assert "mbt-paon is of 'kodak0' (3 pictures), mbt2018 is of 'kodak' (24 pictures)" in warned
    assert "measured | claimed in the paper" in said
    assert "saves more than 6 %" in said
    assert "1 point(s), 4 are the least" in said
    assert (tmp_path / "figure6a.pdf").read_bytes().startswith(b"%PDF")
    result = json.loads((tmp_path / "mbt-paon.json").read_text())
    assert result["results"]["quality"] == [1, 2, 3, 4, 5, 6]


def test_figure_6_of_nothing(figure, kodak, tmp_path, capsys):
    with pytest.raises(SystemExit):
        figure(6).main(["--images", str(kodak), "--out", str(tmp_path)])
    assert "nothing to measure" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("number", "option", "message"),
    [
        (6, "--gdn", r"weights of mbt-paon with gdn: False; .* of mbt-paon with gdn: True"),
        (7, "--elic-paon", r"weights of mbt-paon; the curve is of elic-paon"),
    ],
)
def test_weights_of_another_network_make_no_curve(
    figure, kodak, tiny_weights, tmp_path, number, option, message
):
    words = ["--images", str(kodak), "--out", str(tmp_path), option, str(tiny_weights)]
    with pytest.raises(UsageError, match=message):
        figure(number).main(words)
    assert not list(tmp_path.iterdir())


def test_weights_of_the_zoo_have_names(figure, kodak, tmp_path):
    words = ["--images", str(kodak), "--out", str(tmp_path), "--gdn", "mbt-paon-small"]
    with pytest.raises(UsageError, match=r"mbt-paon-small: weights of mbt-paon with gdn: False"):
        figure(6).main(words)


def test_figure_8_is_of_mbt_paon(figure, kodak, weights, tmp_path):
    pair = [weights("mbt-2018")] * 2
    with pytest.raises(UsageError, match=r"weights of mbt-2018; the curve is of mbt-paon"):
        figure(8).main(["--images", str(kodak), "--out", str(tmp_path), "--paon", *pair])


def test_figure_7(figure, kodak, weights, tmp_path, capsys):
    elic = weights("elic-paon", groups=[4, 4], channel_widths=[8], channel_kernels=[3, 1])
    figure(7).main(["--images", str(kodak), "--out", str(tmp_path), "--elic-paon", elic])
    said = capsys.readouterr().out
    # Computed from the published curves that ship: ELIC's paper and cheng2020-anchor.
    assert "elic2022                 -9." in said or "elic2022                 -10." in said
    assert (tmp_path / "figure7a.pdf").exists()
    assert (tmp_path / "figure7b.pdf").exists()


def test_figure_8(figure, kodak, tiny_weights, tmp_path, capsys):
    script = figure(8)
    pair = [str(tiny_weights)] * 2
    crops = [w for n in script.CROPS for w in ("--crop", f"{n}=16,8")]
    words = ["--images", str(kodak), "--out", str(tmp_path), "--side", "32", *crops]
    script.main([*words, "--paon", *pair, "--original", *pair])
    said = capsys.readouterr().out
    assert "kodim08 MBT-Paon: " in said
    assert "paper 24.74 dB, 0.2424" in said
    page = read_image(tmp_path / "figure8.png")
    top = script.GAP + 2 * script.LINE
    zoom = script.ZOOM
    shown = page[top : top + 32 * zoom : zoom, script.GAP : script.GAP + 32 * zoom : zoom]
    assert np.array_equal(shown, read_image(kodak / "kodim08.png")[8:40, 16:48])
    script.main([*words, "--paon", *pair])
    assert read_image(tmp_path / "figure8.png").shape[1] < page.shape[1]


@pytest.mark.parametrize("word", ["kodim08", "kodim08=1", "kodim99=1,2", "kodim08=a,b"])
def test_a_crop_that_is_none_is_refused(figure, word):
    with pytest.raises(UsageError, match="--crop"):
        figure(8).corners_of([word])


def test_the_crops_lie_inside_kodak_s_pictures(figure):
    for _, places in figure(8).CROPS.values():
        assert all(0 <= x <= 768 - 128 and 0 <= y <= 512 - 128 for x, y in places)


@pytest.fixture(scope="module")
def settings(tool):
    sys.path.insert(0, str(PAPER))
    try:
        return tool("settings")
    finally:
        sys.path.remove(str(PAPER))


def test_settings_are_those_of_the_paper(settings, kodak):
    low, high = (settings.recipe_of(lmbda, [str(kodak)]) for lmbda in (0.013, 0.025))
    assert (low.arch["N"], low.arch["M"]) == (192, 192)
    assert (high.arch["N"], high.arch["M"]) == (192, 320)
    assert low.train.steps == 600 * 3 // 24
    assert (low.train.batch_size, low.train.crop, low.lr_transforms) == (24, 256, 1e-4)
    assert not low.arch["gdn"]
    assert settings.recipe_of(0.013, [str(kodak)], gdn=True).arch["gdn"]


def test_settings_of_elic_paon(settings, kodak):
    recipes = [
        settings.recipe_of(lmbda, [str(kodak)], arch_name="elic-paon") for lmbda in (0.013, 0.0483)
    ]
    assert recipes[0].arch_name == "elic-paon"
    assert recipes[0].arch == recipes[1].arch
    with pytest.raises(UsageError, match="MBT-Paon alone"):
        settings.recipe_of(0.013, [str(kodak)], gdn=True, arch_name="elic-paon")


def test_a_run_can_be_begun_from_its_settings(settings, kodak, tmp_path, capsys):
    from paoncodec.codecs.recipe import CodecRecipe
    from paoncodec.training import RunDirectory

    out = tmp_path / "run"
    words = ["--lmbda", "0.0483", "--data", str(kodak), "--gdn", "--out", str(out)]
    settings.main(words)
    assert f"paoncodec train --out {out} --resume" in capsys.readouterr().out
    saved = CodecRecipe.from_json(RunDirectory(out, resume=True).load_config())
    assert saved == settings.recipe_of(0.0483, [str(kodak)], gdn=True)
    with pytest.raises(UsageError):
        settings.main(words)  # a run's directory is never overwritten
