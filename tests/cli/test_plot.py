"""`paoncodec plot`: kinds, outputs, refusals."""

from __future__ import annotations

import json

import pytest


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_a_plot_of_anchors(run, tmp_path, suffix):
    out = tmp_path / f"rd.{suffix}"
    outcome = run("plot", "--anchor", "mbt2018", "--anchor", "vtm", "-o", out)
    assert (outcome.exit_code, outcome.stdout) == (0, b"")
    assert outcome.line == f"{out}: {out.stat().st_size} bytes"


def test_kinds(run, tmp_path):
    (tmp_path / "a.json").write_text(
        '{"name": "a", "results": {"bpp": [0.1, 0.4], "psnr-rgb": [28, 32], '
        '"decoding_time": [1, 2]}}'
    )
    for kind, said in (("savings", "Rate saved against mbt2018"), ("costs", "seconds per picture")):
        out = tmp_path / f"{kind}.svg"
        words = ("--anchor", "mbt2018", "--kind", kind, "-o", out, "--title", "T")
        assert run("plot", tmp_path / "a.json", *words).exit_code == 0
        assert said in out.read_text()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["-o", "x.png"], "nothing to draw"),
        (["--anchor", "vtm", "-o", "x.gif"], "png, svg, pdf"),
        (["--anchor", "vtm", "-o", "x"], "without suffix"),
        (["--anchor", "nobody", "-o", "x.png"], "no anchor 'nobody'"),
        (["none.json", "-o", "x.png"], "none.json"),
        (["--anchor", "vtm", "-o", "x.png", "--kind", "savings"], "nothing to compare"),
    ],
)
def test_wrong_words_are_refused(run, tmp_path, monkeypatch, words, reason):
    monkeypatch.chdir(tmp_path)
    outcome = run("plot", *words)
    assert (outcome.exit_code, outcome.stdout) == (2, b"")
    assert reason in outcome.line
    assert not list(tmp_path.iterdir())


def test_results_without_the_cost_are_named(run, tmp_path):
    for name, time in (("timed", [1, 2]), ("untimed", [])):
        results = {
            "bpp": [0.1, 0.4],
            "psnr-rgb": [28, 32],
            **({"decoding_time": time} if time else {}),
        }
        (tmp_path / f"{name}.json").write_text(json.dumps({"name": name, "results": results}))
    files = [tmp_path / "timed.json", tmp_path / "untimed.json"]
    words = ("--anchor", "mbt2018", "--kind", "costs", "-o", tmp_path / "costs.svg")
    outcome = run("plot", *files, *words)
    assert outcome.exit_code == 0
    assert "not drawn, as their files do not say decoding-time: untimed\n" in outcome.stderr


def test_other_pictures_are_pointed_out(run, tmp_path):
    results = {"bpp": [0.1, 0.2], "psnr-rgb": [30, 32]}
    path = tmp_path / "ours.json"
    path.write_text(json.dumps({"dataset": {"name": "mine"}, "results": results}))
    outcome = run("plot", path, "--anchor", "mbt2018", "-o", tmp_path / "rd.png")
    assert outcome.exit_code == 0
    assert b"not the same pictures" in outcome.stderr.encode()


def test_savings_need_an_anchor(run, tmp_path):
    (tmp_path / "a.json").write_text('{"bpp": [1], "psnr": [30]}')
    outcome = run("plot", tmp_path / "a.json", "--kind", "savings", "-o", tmp_path / "x.png")
    assert outcome.exit_code == 2
    assert "--anchor" in outcome.line


def test_an_existing_plot_is_kept(run, tmp_path):
    out = tmp_path / "rd.png"
    out.write_bytes(b"old")
    assert run("plot", "--anchor", "vtm", "-o", out).exit_code == 2
    assert out.read_bytes() == b"old"
    assert run("plot", "--anchor", "vtm", "-o", out, "--force").exit_code == 0
