"""`paoncodec encode`: files, streams, and what is said."""

from __future__ import annotations

import os
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import paoncodec
from paoncodec import api, encoding


@pytest.fixture
def photo(tmp_path):
    """A picture of 20 × 10 pixels in a folder of its own."""
    folder = tmp_path / "photos"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (10, 20, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "photo.png")
    return folder / "photo.png"


@pytest.fixture
def quick(monkeypatch, sound_file):
    """No codec is run: `api.encode` gives the sound file. The calls it has had."""
    calls = []

    def encode(*arguments, **options):
        given = {k: v for k, v in options.items() if v or (k == "lossless" and v is not None)}
        calls.append((*arguments, given))
        return sound_file

    monkeypatch.setattr(api, "encode", encode)
    return calls


def test_the_file_stands_beside_the_picture(run, photo, tiny_weights):
    outcome = run("encode", photo, "--model", tiny_weights)
    assert (outcome.exit_code, outcome.stdout) == (0, b"")
    data = photo.with_suffix(".bin").read_bytes()
    assert data == paoncodec.encode(photo, model=tiny_weights)
    bpp = f"{8 * len(data) / 200:.3f}"
    said = rf"20x10 px -> {len(data)} bytes \({bpp} bpp, quality 4\) in \d+\.\d\d s"
    assert re.fullmatch(said, outcome.line)
    assert {path.name for path in photo.parent.iterdir()} == {"photo.png", "photo.bin"}


def test_a_lossless_file_is_called_so(run, photo, tiny_weights):
    outcome = run("encode", photo, "--model", tiny_weights, "--lossless")
    assert outcome.exit_code == 0
    assert ", lossless) in " in outcome.line
    data = photo.with_suffix(".bin").read_bytes()
    assert data == paoncodec.encode(photo, model=tiny_weights, lossless=True)
    assert run("encode", photo, "-f", "--lossless", "-q", "2").exit_code == 2


def test_options_are_passed_on(run, photo, quick):
    assert run("encode", photo, "-q", "2.5", "--model", "some").exit_code == 0
    assert run("encode", photo, "-f").exit_code == 0
    assert run("encode", photo, "-f", "--target-bpp", "0.5").exit_code == 0
    assert run("encode", photo, "-f", "--target-size", "900").exit_code == 0
    assert run("encode", photo, "-f", "--target-psnr", "33.5").exit_code == 0
    assert run("encode", photo, "-f", "--strip").exit_code == 0
    assert run("encode", photo, "-f", "--lossless").exit_code == 0
    assert run("encode", photo, "-f", "--lossy").exit_code == 0
    assert run("encode", photo, "-f", "--verify", "--max-memory", "1.5GiB").exit_code == 0
    assert quick == [
        (photo, 2.5, ("some",), {}),
        (photo, None, api.DEFAULT_MODEL, {}),
        (photo, None, api.DEFAULT_MODEL, {"target_bpp": 0.5}),
        (photo, None, api.DEFAULT_MODEL, {"target_size": 900}),
        (photo, None, api.DEFAULT_MODEL, {"target_psnr": 33.5}),
        (photo, None, api.DEFAULT_MODEL, {"strip": True}),
        (photo, None, api.DEFAULT_MODEL, {"lossless": True}),
        (photo, None, api.DEFAULT_MODEL, {"lossless": False}),
        (photo, None, api.DEFAULT_MODEL, {"verify": True, "max_memory": 3 * 2**29}),
    ]


def test_of_several_models_the_one_taken_is_named(run, photo, quick):
    outcome = run("encode", photo, "--model", "a", "--model", "b", "--target-bpp", "0.5")
    assert outcome.exit_code == 0
    assert outcome.stderr.splitlines()[0] == "nearest of 2 models: mbt-paon-small"


def test_streams(run, photo, tiny_weights):
    outcome = run("encode", "-", "--model", tiny_weights, stdin=photo.read_bytes())
    assert outcome.exit_code == 0
    assert outcome.stdout == paoncodec.encode(photo, model=tiny_weights)
    assert outcome.line.startswith("20x10 px")


def test_output_by_name(run, photo, tmp_path, quick, sound_file):
    assert run("encode", photo, "-o", tmp_path / "out.x").exit_code == 0
    assert (tmp_path / "out.x").read_bytes() == sound_file
    assert run("encode", photo, "-o", "-").stdout == sound_file


def test_an_existing_output_is_kept_and_no_work_done(run, photo, quick, sound_file):
    target = photo.with_suffix(".bin")
    target.write_bytes(b"old")
    outcome = run("encode", photo)
    assert (outcome.exit_code, target.read_bytes(), quick) == (2, b"old", [])
    assert "--force" in outcome.line
    assert run("encode", photo, "--force").exit_code == 0
    assert target.read_bytes() == sound_file


def test_what_is_not_kept_is_noted(run, tmp_path, tiny_weights):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    outcome = run("encode", tmp_path / "a.png", "--model", tiny_weights)
    assert outcome.exit_code == 0
    note, line = outcome.stderr.splitlines()
    assert note == f"note: {tmp_path / 'a.png'}: the first of 2 frames is taken"
    assert line.startswith("8x8 px ->")


def test_a_file_that_does_not_decode_to_the_picture_is_not_kept(
    run, photo, tiny_weights, monkeypatch
):
    words = ["encode", photo, "--model", tiny_weights, "--verify"]
    write = encoding.write
    wrong = {"latents_crc": 1}
    monkeypatch.setattr(
        encoding, "write", lambda header, data: write(replace(header, **wrong), data)
    )
    outcome = run(*words)
    assert outcome.exit_code == 6
    assert "the encoder's had 00000001" in outcome.line
    assert [path.name for path in photo.parent.iterdir()] == ["photo.png"]
    monkeypatch.setattr(encoding, "write", write)
    assert run(*words).exit_code == 0


@pytest.mark.parametrize("size", ["much", "-1G", "0"])
def test_memory_is_a_size(run, photo, size):
    outcome = run("encode", photo, "--max-memory", size)
    assert outcome.exit_code == 2
    assert f"{size!r}: give bytes, or a number with K, M or G" in outcome.stderr


def test_too_little_memory(run, photo, tiny_weights):
    outcome = run("encode", photo, "--model", tiny_weights, "--max-memory", "1M")
    assert outcome.exit_code == 2
    assert "1 MiB are allowed: raise --max-memory" in outcome.line
    assert not photo.with_suffix(".bin").exists()


def test_no_such_picture(run, tmp_path):
    outcome = run("encode", tmp_path / "none.png")
    assert outcome.exit_code == 2
    assert "none.png does not exist" in outcome.line


def test_no_picture(run, tmp_path, tiny_weights):
    (tmp_path / "a.png").write_bytes(b"not a picture")
    outcome = run("encode", tmp_path / "a.png", "--model", tiny_weights)
    assert outcome.exit_code == 3
    assert "a.png" in outcome.line
    assert not (tmp_path / "a.bin").exists()


def test_no_weights(run, photo):
    outcome = run("encode", photo, "--model", "nobody")
    assert outcome.exit_code == 5
    assert "'nobody'" in outcome.line
    assert not photo.with_suffix(".bin").exists()


@pytest.mark.filterwarnings("default::paoncodec.errors.TablesMade")
def test_checkpoints_are_weights(run, photo, tmp_path):
    """As CompressAI's training saves them: with or without probability tables."""
    import torch

    from paoncodec import codecs

    torch.manual_seed(0)
    model = codecs.build("mbt-paon", {"N": 4, "M": 6, "shift": "none"})
    torch.save({"epoch": 3, "state_dict": model.state_dict()}, tmp_path / "Early.pth.tar")
    model.update(force=True, update_quantiles=True)
    torch.save({"state_dict": model.state_dict(), "lmbda": 0.0018}, tmp_path / "late.pth")
    for name, said in (("Early.pth.tar", "quality 4"), ("late.pth", "quality 1")):
        words = "--model", tmp_path / name
        outcome = run("encode", photo, *words, "--force")
        assert outcome.exit_code == 0
        *warned, last = outcome.stderr.splitlines()
        assert said in last
        assert len(warned) == (name == "Early.pth.tar")
        assert all(re.match(r"paoncodec: .*no probability tables", line) for line in warned)
        assert api.info(photo.with_suffix(".bin"))["model"] == name.lower().split(".")[0]
        decoded = run("decode", photo.with_suffix(".bin"), *words, "-o", tmp_path / "x.png", "-f")
        assert decoded.exit_code == 0
        with Image.open(tmp_path / "x.png") as picture:
            assert picture.size == (20, 10)


def test_checkpoints_run_no_code(run, photo, tmp_path):
    import torch

    class Hostile:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "made"),)

    torch.save({"state_dict": {}, "loss": Hostile()}, tmp_path / "hostile.pth.tar")
    outcome = run("encode", photo, "--model", tmp_path / "hostile.pth.tar")
    assert outcome.exit_code == 5
    assert "which could run code" in outcome.line
    words = ["--out", tmp_path / "run", "--start-from", tmp_path / "hostile.pth.tar"]
    outcome = run("train", "--lmbda", 0.01, "--data", photo.parent, *words)
    assert outcome.exit_code == 5
    assert "which could run code" in outcome.line
    assert not (tmp_path / "made").exists()


def test_another_quality(run, photo, tiny_weights):
    outcome = run("encode", photo, "--model", tiny_weights, "-q", "6")
    assert outcome.exit_code == 2
    assert "tiny has quality 4" in outcome.line


@pytest.mark.parametrize(
    ("error", "exit_code"), [(KeyboardInterrupt(), 130), (RuntimeError("what"), 70)]
)
def test_what_ends_it_leaves_no_output(run, photo, monkeypatch, error, exit_code):
    def encode(*_arguments, **_targets):
        raise error

    monkeypatch.setattr(api, "encode", encode)
    outcome = run("encode", photo)
    assert (outcome.exit_code, outcome.stdout) == (exit_code, b"")
    assert [path.name for path in photo.parent.iterdir()] == ["photo.png"]
    debugged = run("--debug", "encode", photo)
    assert debugged.exit_code == exit_code
    assert "Traceback" in debugged.stderr
