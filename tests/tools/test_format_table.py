"""The tables in docs/format.md are those of the code."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from paoncodec.bitstream.header import FIELDS, SECTION_FIELDS

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "format.md"


def run(*arguments):
    """Run the tool on the package beside it, installed or not."""
    return subprocess.run(
        [sys.executable, ROOT / "tools" / "format_table.py", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def stale(tmp_path):
    document = tmp_path / "format.md"
    text = DOCUMENT.read_text(encoding="utf-8").replace("| `width` |", "| `breadth` |")
    document.write_text(text, encoding="utf-8")
    return document


def test_the_document_is_up_to_date():
    done = run("--check")
    assert (done.returncode, done.stderr) == (0, "")


def test_every_field_has_a_row():
    text = DOCUMENT.read_text(encoding="utf-8")
    for field in (*FIELDS, *SECTION_FIELDS):
        assert f"| `{field.name}` | {field.codec.layout} | {field.codec.legal} |" in text


def test_check_finds_a_stale_table_and_leaves_it(stale):
    before = stale.read_bytes()
    done = run("--check", stale)
    assert done.returncode == 1
    assert "stale" in done.stderr
    assert stale.read_bytes() == before


def test_without_check_the_table_is_rewritten_and_nothing_else(stale):
    assert run(stale).returncode == 0
    assert stale.read_bytes() == DOCUMENT.read_bytes()


def test_a_document_without_markers_is_left_alone(tmp_path):
    document = tmp_path / "other.md"
    document.write_text("# No table here\n", encoding="utf-8")
    done = run(document)
    assert done.returncode != 0
    assert "markers" in done.stderr
    assert document.read_text(encoding="utf-8") == "# No table here\n"
