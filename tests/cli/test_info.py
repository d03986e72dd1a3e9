"""`paoncodec info`."""

from __future__ import annotations

import json

import paoncodec
from paoncodec.bitstream import Header, SectionKind, write


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
