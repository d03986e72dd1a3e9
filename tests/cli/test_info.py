"""`paoncodec info`."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

import paoncodec
from paoncodec.bitstream import Header, SectionKind, write
from paoncodec.images import Metadata, Picture


def test_json_is_one_object_on_stdout(run, tmp_path, sound_file):
    (tmp_path / "a.bin").write_bytes(sound_file)
    outcome = run("info", "--json", tmp_path / "a.bin")
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    assert json.loads(outcome.stdout) == paoncodec.info(sound_file)
    assert run("info", "-", "--json", stdin=sound_file) == outcome


def test_a_person_reads_the_same(run, sound_file):
    outcome = run("info", "-", stdin=sound_file)
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    assert outcome.stdout.decode().splitlines() == [
        "format    version 1",
        "picture   48x32 px, RGB",
        "size      275 bytes, 1.432 bpp (header 55, z 20, y 200)",
        "quality   4",
        "model     mbt-paon-small",
        "weights   0001020304050607 (first 8 bytes of their SHA-256)",
        "latents   12345678 (CRC-32)",
    ]


def test_grey(run):
    header = Header("m", bytes(8), 1, 1, 1, 4.5, 0)
    data = write(header, {SectionKind.Z: b"", SectionKind.Y: b""})
    text = run("info", "-", stdin=data).stdout.decode()
    assert "picture   1x1 px, grey\n" in text
    assert "quality   4.5\n" in text


def test_samples_without_loss(run, tiny_weights):
    data = paoncodec.encode(np.zeros((4, 5, 3), np.uint8), model=tiny_weights, lossless=True)
    lines = run("info", "-", stdin=data).stdout.decode().splitlines()
    assert [line.split()[0] for line in lines] == ["format", "picture", "size", "quality"]
    assert lines[0] == "format    version 3"
    assert lines[3] == "quality   lossless"
    outcome = run("info", "-", "--map", "map.png", stdin=data)
    assert outcome.exit_code == 2
    assert "keeps its samples without loss" in outcome.line


def test_all_that_a_file_can_hold(run, tiny_weights, tmp_path):
    picture = Picture(
        np.zeros((4, 5, 3), np.uint16), np.zeros((4, 5), np.uint16), Metadata(icc=b"profile")
    )
    data = paoncodec.encode(picture, model=tiny_weights)
    text = run("info", "-", stdin=data).stdout.decode()
    assert "format    version 2\n" in text
    assert "picture   5x4 px, RGB and alpha, 16 bits\n" in text
    sections = paoncodec.info(data)["sections"]
    assert list(sections) == ["z", "y", "alpha", "icc"]
    assert f", alpha {sections['alpha']}, icc {sections['icc']})\n" in text


@pytest.fixture
def coded(tmp_path, tiny_weights):
    """A real file, and the words that name its weights."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 70, 3), dtype=np.uint8)
    path = tmp_path / "a.bin"
    path.write_bytes(paoncodec.encode(pixels, model=tiny_weights))
    return path, ("--model", tiny_weights)


@pytest.mark.parametrize(("suffix", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_a_map_of_the_bits(run, coded, tmp_path, suffix, magic):
    path, model = coded
    outcome = run("info", path, "--map", tmp_path / f"map.{suffix}", *model, "--json")
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    assert (tmp_path / f"map.{suffix}").read_bytes().startswith(magic)
    facts = json.loads(outcome.stdout)
    assert list(facts["bits"]) == ["z", "y"]
    for name, bits in facts["bits"].items():
        assert 0.99 * bits - 1 <= 8 * facts["sections"][name] <= 1.01 * bits + 64


def test_a_person_reads_the_bits_of_each_part(run, coded, tmp_path):
    path, model = coded
    last = run("info", path, "--map", tmp_path / "map.png", *model).stdout.decode().splitlines()[-1]
    assert re.fullmatch(r"bits      z \d+ \([\d.]+%\), y \d+ \([\d.]+%\)", last)


def test_no_map_where_it_cannot_be(run, coded, tmp_path):
    path, model = coded
    (tmp_path / "old.png").write_bytes(b"old")
    for words, code in (
        (["--map", tmp_path / "map.gif", *model], 2),
        (["--map", tmp_path / "old.png", *model], 2),
        ([*model], 2),
        (["--map", tmp_path / "map.png"], 5),
    ):
        outcome = run("info", path, *words)
        assert (outcome.exit_code, outcome.stdout) == (code, b""), words
    assert (tmp_path / "old.png").read_bytes() == b"old"
    assert not (tmp_path / "map.png").exists()
