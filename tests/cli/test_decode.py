"""`paoncodec decode`: formats, streams, limits, and what is said."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from zlib import crc32

import numpy as np
import pytest
from PIL import Image

import paoncodec
from paoncodec import api
from paoncodec.errors import ImageError


@pytest.fixture(scope="module")
def coded(tiny_weights):
    """A file with a picture of 20 × 10 pixels."""
    pixels = np.random.default_rng(0).integers(0, 256, (10, 20, 3), dtype=np.uint8)
    return paoncodec.encode(pixels, model=tiny_weights)


@pytest.fixture
def file(tmp_path, coded):
    """`coded` in a folder of its own."""
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "photo.bin").write_bytes(coded)
    return folder / "photo.bin"


def pixels_of(source):
    with Image.open(source) as image:
        return np.asarray(image)


def test_the_picture_stands_beside_the_file(run, file, coded, tiny_weights):
    outcome = run("decode", file, "--model", tiny_weights)
    assert (outcome.exit_code, outcome.stdout) == (0, b"")
    assert re.fullmatch(rf"{len(coded)} bytes -> 20x10 px in \d+\.\d\d s", outcome.line)
    expected = np.asarray(paoncodec.decode(coded, model=tiny_weights))
    np.testing.assert_array_equal(pixels_of(file.with_suffix(".png")), expected)
    assert {path.name for path in file.parent.iterdir()} == {"photo.bin", "photo.png"}


def test_streams(run, coded, tiny_weights):
    outcome = run("decode", "-", "--model", tiny_weights, stdin=coded)
    assert outcome.exit_code == 0
    expected = np.asarray(paoncodec.decode(coded, model=tiny_weights))
    np.testing.assert_array_equal(pixels_of(io.BytesIO(outcome.stdout)), expected)


@pytest.mark.parametrize("suffix", [".ppm", ".BMP", ".tiff", ".webp"])
def test_the_suffix_says_the_format(run, file, coded, tiny_weights, suffix):
    target = file.with_suffix(suffix)
    assert run("decode", file, "-o", target, "--model", tiny_weights).exit_code == 0
    expected = np.asarray(paoncodec.decode(coded, model=tiny_weights))
    np.testing.assert_array_equal(pixels_of(target), expected)


@pytest.mark.parametrize("name", ["a.gif", "a"])
def test_a_format_that_is_not_written_is_refused_before_decoding(run, file, monkeypatch, name):
    monkeypatch.delattr(api, "decode_picture")
    outcome = run("decode", file, "-o", file.with_name(name))
    assert outcome.exit_code == 2
    assert "png" in outcome.line
    assert [path.name for path in file.parent.iterdir()] == ["photo.bin"]


@pytest.mark.parametrize(
    ("shape", "dtype", "name", "words"),
    [
        ((4, 5, 4), np.uint8, "a.jpg", "JPEG holds no transparency: write the picture as png"),
        ((4, 5, 2), np.uint8, "a.ppm", "PPM holds no transparency"),
        ((4, 5, 3), np.uint16, "a.webp", "WEBP holds 8 bits per sample"),
        ((4, 5, 3), np.uint8, "a.pgm", "a .pgm file holds grey only"),
    ],
)
def test_a_format_that_does_not_hold_the_picture_is_refused_before_decoding(
    run, tmp_path, tiny_weights, monkeypatch, shape, dtype, name, words
):
    file = tmp_path / "a.bin"
    file.write_bytes(paoncodec.encode(np.zeros(shape, dtype), model=tiny_weights))
    monkeypatch.delattr(api, "decode_picture")
    outcome = run("decode", file, "-o", tmp_path / name)
    assert outcome.exit_code == 2
    assert words in outcome.line


def test_a_picture_too_wide_for_the_format_is_refused_before_decoding(
    run, tmp_path, tiny_weights, monkeypatch
):
    file = tmp_path / "a.bin"
    file.write_bytes(paoncodec.encode(np.zeros((1, 16384, 3), np.uint8), model=tiny_weights))
    target = tmp_path / "a.webp"
    part = ["--region", "16000,0,384,1", "--model", tiny_weights]
    assert run("decode", file, "-o", target, *part).exit_code == 0
    assert pixels_of(target).shape == (1, 384, 3)
    monkeypatch.delattr(api, "decode_picture")
    outcome = run("decode", file, "-o", tmp_path / "b.webp")
    assert outcome.exit_code == ImageError.exit_code
    assert "WEBP ends at 16383 pixels" in outcome.line


def test_jpeg_out(run, file, coded, tiny_weights):
    target = file.with_suffix(".jpg")
    assert run("decode", file, "-o", target, "--model", tiny_weights).exit_code == 0
    exact = np.asarray(paoncodec.decode(coded, model=tiny_weights)).astype(int)
    with Image.open(target) as image:
        assert image.format == "JPEG"
        assert np.abs(np.asarray(image) - exact).mean() < 4


def test_metadata_that_the_format_does_not_hold_is_noted(run, tmp_path, tiny_weights):
    image = Image.new("RGB", (4, 4))
    image.save(tmp_path / "a.png", icc_profile=b"a profile")
    words = ["--model", tiny_weights]
    assert run("encode", tmp_path / "a.png", *words).exit_code == 0
    outcome = run("decode", tmp_path / "a.bin", "-o", tmp_path / "a.bmp", *words)
    assert outcome.exit_code == 0
    assert outcome.stderr.splitlines()[0] == "note: BMP does not hold the picture's ICC: left out"


def test_an_existing_output_is_kept_and_no_work_done(run, file, monkeypatch):
    file.with_suffix(".png").write_bytes(b"old")
    monkeypatch.delattr(api, "decode_picture")
    outcome = run("decode", file)
    assert outcome.exit_code == 2
    assert "--force" in outcome.line
    assert file.with_suffix(".png").read_bytes() == b"old"


def test_limits(run, file, tiny_weights):
    words = ["decode", file, "--model", tiny_weights, "--max-pixels"]
    outcome = run(*words, 199)
    assert outcome.exit_code == 4
    assert "20 x 10 = 200 pixels, at most 199" in outcome.line
    assert not file.with_suffix(".png").exists()
    assert run(*words, 200).exit_code == 0


def test_a_region(run, file, coded, tiny_weights):
    words = ["decode", file, "--model", tiny_weights, "--region"]
    outcome = run(*words, "3,2,11,5", "--max-memory", "64G")
    assert outcome.exit_code == 0
    assert outcome.line.startswith(f"{len(coded)} bytes -> 11x5 px in")
    whole = np.asarray(paoncodec.decode(coded, model=tiny_weights)).astype(int)
    part = pixels_of(file.with_suffix(".png"))
    assert np.abs(part - whole[2:7, 3:14]).max() <= 1


def test_a_region_outside_the_picture(run, file, tiny_weights):
    outcome = run("decode", file, "--model", tiny_weights, "--region", "3,2,18,5")
    assert outcome.exit_code == 2
    assert "region 3,2,18,5: must lie in the picture, which is 20x10" in outcome.line
    assert not file.with_suffix(".png").exists()


@pytest.mark.parametrize("region", ["1,2,3", "a,b,c,d", "1,2,3,4,5", ""])
def test_a_region_is_four_numbers(run, file, region):
    outcome = run("decode", file, "--region", region)
    assert outcome.exit_code == 2
    assert "give four whole numbers, such as 0,0,640,480" in outcome.stderr


def test_too_little_memory(run, file, tiny_weights):
    outcome = run("decode", file, "--model", tiny_weights, "--max-memory", "1M")
    assert outcome.exit_code == 2
    assert "1 MiB are allowed: raise --max-memory" in outcome.line


def test_no_such_file(run, tmp_path):
    outcome = run("decode", tmp_path / "none.bin")
    assert outcome.exit_code == 2
    assert "none.bin does not exist" in outcome.line


def test_no_weights(run, file):
    outcome = run("decode", file)
    assert outcome.exit_code == 5
    assert "'tiny'" in outcome.line
    assert "--model" in outcome.line


def test_other_latents(run, file, coded, tiny_weights):
    header = paoncodec.info(coded)
    crc = int(header["latents_crc"], 16).to_bytes(4, "little")
    at = coded.index(crc)
    broken = bytearray(coded[: header["header_bytes"]])
    broken[at] ^= 1
    body = bytes(broken[:-4])
    file.write_bytes(body + crc32(body).to_bytes(4, "little") + coded[header["header_bytes"] :])
    outcome = run("decode", file, "--model", tiny_weights)
    assert outcome.exit_code == 6
    assert not file.with_suffix(".png").exists()


@pytest.mark.slow
def test_both_ways_in_processes_of_their_own(tmp_path, tiny_weights):
    Image.new("L", (5, 3), 77).save(tmp_path / "a.png")
    command = [sys.executable, "-m", "paoncodec"]
    model = ["--model", tiny_weights]
    encode = [*command, "encode", tmp_path / "a.png", "-o", "-", *model]
    coded = subprocess.run(encode, capture_output=True, check=True)
    decode = [*command, "decode", "-", "-o", tmp_path / "b.png", *model]
    decoded = subprocess.run(decode, input=coded.stdout, capture_output=True, check=True)
    assert len(coded.stderr.splitlines()) == len(decoded.stderr.splitlines()) == 1
    assert decoded.stdout == b""
    with Image.open(tmp_path / "b.png") as image:
        assert (image.size, image.mode) == ((5, 3), "L")
