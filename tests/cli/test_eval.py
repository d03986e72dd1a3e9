"""`paoncodec eval`: options, result files, and what people see."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from PIL import Image

from paoncodec.images import psnr, read_image


@pytest.fixture
def folder(tmp_path):
    """Two pictures, one of them in a folder below."""
    (tmp_path / "Waves" / "more").mkdir(parents=True)
    for i, name in enumerate(("a.png", "more/b.png")):
        y, x = np.mgrid[:40, : 48 + 8 * i][..., None] / 9
        pixels = 120 + 80 * np.sin(x + np.arange(3)) * np.cos(y)
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "Waves" / name)
    return tmp_path / "Waves"


def test_a_model(run, folder, tmp_path, tiny_weights):
    out = tmp_path / "tiny.json"
    outcome = run("eval", "--model", tiny_weights, "--images", folder, "--json", out)
    assert outcome.exit_code == 0
    result = json.loads(out.read_text())
    assert (result["name"], result["dataset"]["name"]) == ("tiny", "waves")
    assert [row["image"] for row in result["images"]] == ["a.png", "more/b.png"]
    words = ["paoncodec", "eval", "--model", str(tiny_weights), "--images", str(folder)]
    assert result["command"] == [*words, "--json", str(out)]
    assert 0 < result["complexity"]["decoder_kmac_per_pixel"] < 100
    head, columns, figures = outcome.stdout.decode().splitlines()
    assert head == "tiny on waves, means of 2 picture(s)"
    shown = dict(zip(columns.split()[:3], figures.split()[:3], strict=True))
    assert shown == {
        "quality": "4",
        "bytes": f"{result['results']['bytes'][0]:.0f}",
        "bpp": f"{result['results']['bpp'][0]:.4f}",
    }


def test_a_model_of_all_qualities_makes_a_curve(run, folder, variable_weights):
    outcome = run("eval", "--model", variable_weights, "--images", folder, "--json", "-")
    figures = json.loads(outcome.stdout)["results"]
    assert figures["quality"] == [1, 2, 3, 4, 5, 6]
    assert figures["bpp"] == sorted(figures["bpp"])
    words = ("--qualities", "2.5", "--json", "-")
    outcome = run("eval", "--model", variable_weights, "--images", folder, *words)
    between = json.loads(outcome.stdout)["results"]["bpp"][0]
    assert figures["bpp"][1] < between < figures["bpp"][2]


def test_a_classical_codec_at_qualities(run, folder, tmp_path):
    words = ["eval", "--codec", "jpeg", "--qualities", "80,20.0", "--images", folder]
    outcome = run(*words, "--name", "JPEG", "--dataset", "set", "--json", "-")
    result = json.loads(outcome.stdout)
    assert outcome.exit_code == 0
    assert result["results"]["quality"] == [20, 80]
    assert (result["name"], result["dataset"]["name"]) == ("JPEG", "set")
    assert "4:2:0" in result["description"]
    assert result["complexity"] is None


def test_weights_of_one_rate_each_make_one_curve(run, folder, tmp_path, tiny_weights):
    import torch

    from paoncodec import codecs

    model, _ = codecs.load_weights(tiny_weights)
    other = tmp_path / "other.safetensors"
    codecs.save_weights(model, other, "mbt-paon", {"lmbda": "0.0018"})
    models = ["--model", tiny_weights, "--model", other]
    outcome = run("eval", *models, "--images", folder, "--json", "-", "--name", "both")
    result = json.loads(outcome.stdout)
    assert result["results"]["quality"] == [1, 4]
    assert [codec["weights"] for codec in result["codecs"]] == ["other", "tiny"]
    assert torch.get_num_threads() >= 1


def test_compressai_draws_the_result(run, folder, tmp_path):
    # Pillow's JPEG stands for any codec: the file is the same.
    out = tmp_path / "jpeg.json"
    big = tmp_path / "big"
    big.mkdir()
    y, x = np.mgrid[:176, :176][..., None] / 9
    pixels = (120 + 80 * np.sin(x + np.arange(3)) * np.cos(y)).astype(np.uint8)
    Image.fromarray(pixels).save(big / "a.png")
    assert (
        run(
            "eval", "--codec", "jpeg", "--qualities", "20,80", "--images", big, "--json", out
        ).exit_code
        == 0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import matplotlib as mpl

        mpl.use("Agg")
        from compressai.utils.plot.__main__ import main, parse_json_file
    result = json.loads(out.read_text())
    for metric, key in (("psnr", "psnr-rgb"), ("ms-ssim", "ms-ssim-rgb-db")):
        curve = parse_json_file(str(out), metric)
        assert (curve["name"], curve["xs"]) == ("jpeg", result["results"]["bpp"])
        assert list(curve["ys"]) == pytest.approx(result["results"][key])
        main(["-f", str(out), "-m", metric, "-o", str(tmp_path / f"{metric}.png")])
        assert (tmp_path / f"{metric}.png").stat().st_size > 1000


def test_pictures_are_kept_where_the_result_says(run, folder, tmp_path):
    (tmp_path / "out").mkdir()
    outcome = run(
        *("eval", "--codec", "jpeg", "--qualities", "50", "--images", folder),
        *("--keep", tmp_path / "pictures", "--json", tmp_path / "out" / "jpeg.json"),
    )
    assert outcome.exit_code == 0
    result = json.loads((tmp_path / "out" / "jpeg.json").read_text())
    base = tmp_path / "out" / result["pictures"]
    for row in result["images"]:
        before, after = (read_image(base / row[key]) for key in ("original", "decoded"))
        assert psnr(before, after) == row["psnr-rgb"]
        assert (base / row["file"]).stat().st_size == row["bytes"]


def test_a_picture_that_fails_is_named_and_the_rest_measured(run, folder, tmp_path):
    (folder / "bad.png").write_bytes(b"not a picture")
    out = tmp_path / "out.json"
    words = ("--codec", "jpeg", "--qualities", "50", "--images", folder)
    outcome = run("eval", *words, "--json", out)
    assert outcome.exit_code == 3
    first, last = outcome.stderr.splitlines()
    assert first.startswith("bad.png at 50: ")
    assert "1 of 3 pictures" in last
    result = json.loads(out.read_text())
    assert [row["image"] for row in result["failures"]] == ["bad.png"]
    assert result["results"]["images"] == [2]
    assert b"means of 2 picture(s)" in outcome.stdout


def test_nothing_could_be_measured(run, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"not a picture")
    outcome = run("eval", "--codec", "jpeg", "--images", tmp_path, "--qualities", "50")
    assert (outcome.exit_code, outcome.stdout) == (3, b"jpeg: nothing was measured\n")


def test_an_existing_result_is_kept_and_no_work_done(run, folder, tmp_path):
    out = tmp_path / "out.json"
    out.write_text("old")
    words = ("eval", "--codec", "jpeg", "--qualities", "50", "--images", folder, "--json", out)
    assert (run(*words).exit_code, out.read_text()) == (2, "old")
    assert run(*words, "--force").exit_code == 0
    assert json.loads(out.read_text())["name"] == "jpeg"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--codec", "jpeg", "--model", "x"], "stands alone"),
        (["--codec", "jpeg", "--arch", "mbt2018"], "stands alone"),
        (["--arch", "mbt2018"], "give --model"),
        (["--codec", "jpeg", "--qualities", "good"], "give numbers"),
        (["--codec", "jpeg", "--qualities", "5,5"], "twice"),
        (["--codec", "jpeg", "--lpips-weights", "none.pth"], "none.pth"),
    ],
)
def test_wrong_words_are_refused(run, folder, words, reason):
    outcome = run("eval", *words, "--images", folder)
    assert (outcome.exit_code, outcome.stdout) == (2, b"")
    assert reason in outcome.line


def test_kept_files_need_a_directory(run, folder, tmp_path):
    (tmp_path / "file").write_text("")
    outcome = run("eval", "--codec", "jpeg", "--images", folder, "--keep", tmp_path / "file")
    assert outcome.exit_code == 2
    assert "not a directory" in outcome.line


def test_no_pictures(run, tmp_path):
    assert run("eval", "--codec", "jpeg", "--images", tmp_path / "none").exit_code == 2


def test_two_pictures_of_one_name_are_refused(run, folder, tmp_path):
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "a.png").write_bytes((folder / "a.png").read_bytes())
    outcome = run("eval", "--codec", "jpeg", "--images", folder, "--images", tmp_path / "again")
    assert outcome.exit_code == 2
    assert "several folders" in outcome.line
