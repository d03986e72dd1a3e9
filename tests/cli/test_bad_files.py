"""Files that are wrong, through the command: one line, exit code 4, no picture, no torch.

The cases run in one process of their own, which can say at the end what it has loaded. That every
prefix and every flip is refused is shown in tests/test_api.py; here some of the prefixes do.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from paoncodec.bitstream import nbytes, unpack

# Decodes the files of a folder that are named on stdin; says how each ended, and what is loaded.
SCRIPT = """
import contextlib, io, json, sys
from pathlib import Path
from paoncodec.cli import main

def ended(name):
    out, err = io.TextIOWrapper(io.BytesIO()), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(["decode", str(folder / name), "-o", str(folder / "picture.png")])
        except SystemExit as end:
            code = end.code
    out.flush()
    return [name, code, len(out.buffer.getvalue()), err.getvalue()]

folder = Path(sys.argv[1])
cases = [ended(name) for name in sys.stdin.read().split()]
print(json.dumps({"cases": cases, "torch": "torch" in sys.modules}))
"""


def flipped(data: bytes, bit: int) -> bytes:
    broken = bytearray(data)
    broken[bit // 8] ^= 1 << bit % 8
    return bytes(broken)


def wrong_files(data: bytes, png: bytes) -> dict[str, bytes]:
    """Name → content."""
    header = nbytes(unpack(data))
    rng = random.Random(0)  # noqa: S311 - the same flips on every run
    prefixes = [*range(0, len(data), 7), len(data) - 1]
    payload = [rng.randrange(8 * header, 8 * len(data)) for _ in range(300)]
    return {
        "empty": b"",
        "png": png,
        "text": b"PAO is not PAON",
        "joined": data + data,
        "longer": data + b"\0",
        **{f"prefix-{length}": data[:length] for length in prefixes},
        **{f"header-{bit}": flipped(data, bit) for bit in range(8 * header)},
        **{f"payload-{index}": flipped(data, bit) for index, bit in enumerate(payload)},
    }


def test_wrong_files(tmp_path: Path, sound_file: bytes) -> None:
    Image.new("L", (2, 2)).save(tmp_path / "a.png")
    files = wrong_files(sound_file, (tmp_path / "a.png").read_bytes())
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, tmp_path],
        input="\n".join(files),
        capture_output=True,
        text=True,
        check=True,
    )
    report = json.loads(run.stdout)
    assert [name for name, *_ in report["cases"]] == list(files)
    for name, exit_code, stdout_bytes, stderr in report["cases"]:
        assert (name, exit_code, stdout_bytes) == (name, 4, 0)
        assert len(stderr.splitlines()) == 1, stderr
        assert stderr.startswith("paoncodec: ")
    assert report["torch"] is False
    assert {path.name for path in tmp_path.iterdir()} == {"a.png", *files}


@pytest.mark.parametrize("command", ["decode", "info"])
def test_a_picture_in_place_of_a_file(run, tmp_path: Path, command: str) -> None:
    picture = tmp_path / "a.png"
    Image.new("L", (2, 2)).save(picture)
    before = picture.read_bytes()
    outcome = run(command, picture)
    assert outcome.exit_code == 4
    assert "not a paoncodec file" in outcome.line
    assert picture.read_bytes() == before


@pytest.mark.parametrize("name", ["empty", "cut", "flipped"])
def test_processes_of_their_own(tmp_path: Path, sound_file: bytes, name: str) -> None:
    content = {"empty": b"", "cut": sound_file[:-1], "flipped": flipped(sound_file, 100)}[name]
    (tmp_path / "a.bin").write_bytes(content)
    run = subprocess.run(
        [sys.executable, "-m", "paoncodec", "decode", tmp_path / "a.bin"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stdout) == (4, "")
    assert len(run.stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]
