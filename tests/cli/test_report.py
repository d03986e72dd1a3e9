"""`paoncodec report`: a folder in, one page out."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def folder(tmp_path):
    """Two result files without pictures, and a file of something else."""
    place = tmp_path / "results"
    place.mkdir()
    for name, factor in (("ours", 0.9), ("theirs", 1.0)):
        results = {"bpp": [factor * x for x in (0.1, 0.2, 0.4, 0.8)], "psnr-rgb": [28, 30, 32, 34]}
        content = {"name": name, "dataset": {"name": "waves"}, "results": results}
        (place / f"{name}.json").write_text(json.dumps(content))
    (place / "settings.json").write_text("{}")
    return place


def test_a_page(run, folder, tmp_path):
    out = tmp_path / "report.html"
    outcome = run("report", folder, "-o", out, "--anchor", "mbt2018", "--reference", "theirs")
    assert (outcome.exit_code, outcome.stdout) == (0, b"")
    passed, warned, done = outcome.stderr.splitlines()
    assert "settings.json" in passed
    assert "mbt2018 is of 'kodak'" in warned
    assert done.endswith("MB, 3 codecs")
    page = out.read_text()
    assert "<title>Codecs on waves</title>" in page
    for name in ("ours", "theirs", "mbt2018"):
        assert f'"name": "{name}"' in page
    assert '"reference": "theirs"' in page
    assert f"paoncodec report {folder} --output {out}" in page


def test_a_run_in_which_every_picture_failed_is_passed_over(run, folder, tmp_path):
    (folder / "failed.json").write_text('{"name": "failed", "results": {"bpp": []}}')
    outcome = run("report", folder, "-o", tmp_path / "report.html")
    assert outcome.exit_code == 0
    assert "failed.json: no picture of it could be measured" in outcome.stderr
    assert '"name": "failed"' not in (tmp_path / "report.html").read_text()


def test_to_stdout(run, folder):
    outcome = run("report", folder, "-o", "-", "--title", "Mine")
    assert outcome.stdout.startswith(b"<!doctype html>")
    assert b"<title>Mine</title>" in outcome.stdout


def test_what_is_refused(run, folder, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "old.html").write_text("old")
    for words, reason in (
        ([tmp_path / "empty", "-o", tmp_path / "r.html"], "holds no result files"),
        ([folder / "ours.json", "-o", tmp_path / "r.html"], "is not a directory"),
        ([folder, "-o", tmp_path / "old.html"], "--force"),
        ([folder, "-o", tmp_path / "r.html", "--reference", "nobody"], "ours, theirs"),
    ):
        outcome = run("report", *words)
        assert (outcome.exit_code, outcome.stdout) == (2, b""), words
        assert reason in outcome.stderr.splitlines()[-1]
    assert not (tmp_path / "r.html").exists()
