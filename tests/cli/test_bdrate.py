"""`paoncodec bdrate`: what is compared, what is said, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

RATES = [0.1, 0.2, 0.41, 0.79, 1.3]
LEVELS = [28.0, 30.1, 32.7, 35.2, 37.0]


@pytest.fixture
def curve_file(tmp_path):
    """`curve_file("name", factor)`: a curve with rates times that factor, on Kodak."""

    def write(name: str, factor: float = 1.0, dataset: str = "kodak") -> str:
        results = {"bpp": [factor * rate for rate in RATES], "psnr-rgb": LEVELS}
        rows = [
            {"image": image, "quality": q, "bpp": shift * factor * rate, "psnr-rgb": level}
            for image, shift in (("a", 1.0), ("b", factor))
            for q, (rate, level) in enumerate(zip(RATES, LEVELS, strict=True))
        ]
        content = {"name": name, "dataset": {"name": dataset}, "results": results, "images": rows}
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(content))
        return str(path)

    return write


def test_a_person_reads(run, curve_file):
    outcome = run("bdrate", curve_file("ours", 1.1), "--anchor", curve_file("theirs"))
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    lines = outcome.stdout.decode().splitlines()
    assert lines[:2] == [
        "ours against theirs, PSNR",
        "BD-rate    +10.00 %  (Akima +10.00, cubic +10.00)",
    ]
    assert lines[3] == "overlap    100% of the joint range of quality, 5 and 5 points"
    assert lines[4] == "by image   +15.50 ± 7.78 % (+10.00 to +21.00) over 2"


def test_json(run, curve_file):
    words = ("bdrate", curve_file("ours", 0.9), "--anchor", "mbt2018", "--anchor", "vtm")
    found = json.loads(run(*words, "--json").stdout)
    assert (found["test"]["name"], found["metric"]) == ("ours", "psnr")
    first, second = found["comparisons"]
    assert (first["anchor"]["name"], second["anchor"]["name"]) == ("mbt2018", "vtm")
    assert set(first["bd_rate"]) == {"pchip", "akima", "cubic"}
    assert first["points"] == {"test": 5, "anchor": 8}
    assert first["by_image"] is None
    assert len(first["anchor"]["sha256"]) == 64
    assert found["command"][:2] == ["paoncodec", "bdrate"]


def test_anchors_against_each_other_in_ms_ssim(run):
    outcome = run("bdrate", "mbt2018-mean", "--anchor", "mbt2018", "--metric", "ms-ssim")
    assert outcome.exit_code == 0
    assert outcome.stdout.startswith(b"mbt2018-mean against mbt2018, MS-SSIM\nBD-rate    +")


def test_other_pictures_are_pointed_out(run, curve_file):
    outcome = run("bdrate", curve_file("ours", 1.1, dataset="tecnick"), "--anchor", "mbt2018")
    assert outcome.exit_code == 0
    assert "'tecnick'" in outcome.line
    assert "'kodak'" in outcome.line


def test_other_pictures_under_the_same_names_are_found_out(run, curve_file):
    paths = [Path(curve_file("ours", 1.1)), Path(curve_file("theirs"))]
    for path, digest in zip(paths, ("aa", "bb"), strict=True):
        content = json.loads(path.read_text())
        content["dataset"]["sha256"] = digest
        path.write_text(json.dumps(content))
    outcome = run("bdrate", str(paths[0]), "--anchor", str(paths[1]))
    assert "not the same pictures" in outcome.line
    assert b"by image" not in outcome.stdout


def test_what_cannot_be_compared_is_refused_with_a_reason(run, curve_file, tmp_path):
    (tmp_path / "few.json").write_text('{"bpp": [0.5], "psnr-rgb": [32]}')
    for words, reason in (
        ([tmp_path / "few.json", "--anchor", "mbt2018"], "1 point(s)"),
        ([curve_file("ours"), "--anchor", "nobody"], "no anchor 'nobody'"),
        ([curve_file("ours"), "--anchor", "elic2022", "--metric", "ms-ssim"], "no ms-ssim"),
        ([tmp_path / "none.json", "--anchor", "mbt2018"], "none.json"),
    ):
        outcome = run("bdrate", *words)
        assert (outcome.exit_code, outcome.stdout) == (2, b"")
        assert reason in outcome.line
