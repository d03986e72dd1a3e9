"""Folders of pictures: mirrored, continued after bad files, resumed, summed up."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import paoncodec
from paoncodec import api
from paoncodec.cli import progress as progress_module
from paoncodec.cli.progress import progress
from paoncodec.images import read_image

RNG = np.random.default_rng(0)


def pixels(height: int, width: int) -> np.ndarray:
    return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures in two folders, with files beside them that are none."""
    tree = tmp_path / "in"
    (tree / "sub" / "deep").mkdir(parents=True)
    (tree / ".hidden").mkdir()
    Image.fromarray(pixels(8, 9)).save(tree / "a.png")
    Image.fromarray(pixels(5, 4)).save(tree / "b.TIF", "TIFF")
    Image.fromarray(pixels(6, 7)).save(tree / "sub" / "deep" / "c.png")
    Image.fromarray(pixels(2, 2)).save(tree / ".hidden" / "d.png")
    (tree / "notes.txt").write_text("no picture")
    return tree


def tree_of(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_there_and_back(run, folder, tmp_path, tiny_weights):
    out, back, model = tmp_path / "out", tmp_path / "back", ["--model", tiny_weights]
    outcome = run("encode", folder, "-o", out, "--recursive", *model)
    assert outcome.exit_code == 0
    assert tree_of(out) == {"a.bin", "b.bin", "sub/deep/c.bin"}
    assert (out / "a.bin").read_bytes() == paoncodec.encode(folder / "a.png", model=tiny_weights)
    files, sizes, area, time = outcome.stdout.decode().splitlines()
    assert files == "files   3 done, 0 done before, 0 failed"
    before = sum((folder / name).stat().st_size for name in ("a.png", "b.TIF", "sub/deep/c.png"))
    after = sum(path.stat().st_size for path in out.rglob("*.bin"))
    assert sizes.startswith(f"bytes   {before} -> {after} (")
    assert sizes.endswith(f", {after / before - 1:+.1%})")
    assert area.startswith(f"pixels  {8 * 9 + 5 * 4 + 6 * 7}, ")
    assert re.fullmatch(r"time    \d+\.\d s", time)

    assert run("decode", out, "-o", back, "-r", "--format", "ppm", *model).exit_code == 0
    assert tree_of(back) == {"a.ppm", "b.ppm", "sub/deep/c.ppm"}
    expected = np.asarray(paoncodec.decode(out / "b.bin", model=tiny_weights))
    np.testing.assert_array_equal(read_image(back / "b.ppm"), expected)


def test_folders_in_it_are_left_alone_unless_asked_for(run, folder, tmp_path, tiny_weights):
    out = tmp_path / "out"
    assert run("encode", folder, "-o", out, "--model", tiny_weights).exit_code == 0
    assert tree_of(out) == {"a.bin", "b.bin"}


@pytest.fixture
def quick(monkeypatch, sound_file):
    """No codec is run: each picture that can be read becomes the sound file. What was asked for."""
    calls = []

    def encode(source, *_arguments, **_options):
        read_image(source)
        calls.append(source.name)
        return sound_file

    monkeypatch.setattr(api, "encode", encode)
    return calls


def test_a_bad_file_stops_none_of_the_others(run, folder, tmp_path, quick):
    (folder / "aa.png").write_bytes(b"no picture")
    (folder / "c.jpg").write_bytes(b"")
    out = tmp_path / "out"
    outcome = run("encode", folder, "-o", out, "-r")
    assert outcome.exit_code == 3
    assert tree_of(out) == {"a.bin", "b.bin", "sub/deep/c.bin"}
    head, first, second = outcome.stderr.splitlines()
    assert head == "paoncodec: 2 of 5 files failed:"
    assert first.startswith(f"  aa.png: {folder / 'aa.png'}: not a picture that Pillow knows")
    assert second.startswith("  c.jpg: ")
    assert outcome.stdout.decode().startswith("files   3 done, 0 done before, 2 failed\n")


def test_the_exit_code_is_that_of_the_first_failure(run, tmp_path, sound_file):
    files = tmp_path / "files"
    files.mkdir()
    (files / "a.bin").write_bytes(sound_file)  # nobody has its weights
    (files / "b.bin").write_bytes(sound_file[:-1])
    assert run("decode", files, "-o", tmp_path / "out").exit_code == 5
    (files / "a.bin").write_bytes(sound_file[:30])
    outcome = run("decode", files, "-o", tmp_path / "out")
    assert outcome.exit_code == 4
    assert len(outcome.stderr.splitlines()) == 3


def test_a_bug_in_one_file_is_one_failure(run, folder, tmp_path, monkeypatch):
    def encode(*_arguments, **_options):
        raise RuntimeError("two\nlines")

    monkeypatch.setattr(api, "encode", encode)
    outcome = run("encode", folder, "-o", tmp_path / "out")
    assert outcome.exit_code == 70
    assert outcome.stderr.splitlines()[1] == "  a.png: RuntimeError: two lines"


def test_what_no_file_can_have_ends_the_run(run, folder, tmp_path, tiny_weights):
    outcome = run("encode", folder, "-o", tmp_path / "out", "--model", tiny_weights, "-q", "6")
    assert outcome.exit_code == 2
    assert "tiny has quality 4" in outcome.line
    outcome = run("encode", folder, "-o", tmp_path / "out", "--model", "nobody")
    assert outcome.exit_code == 5
    assert "'nobody'" in outcome.line


def test_existing_outputs_are_kept_resumed_or_replaced(run, folder, tmp_path, quick, sound_file):
    out = tmp_path / "out"
    out.mkdir()
    words = ["encode", folder, "-o", out, "-r"]
    (out / "a.bin").write_bytes(b"done")
    outcome = run(*words)
    assert (outcome.exit_code, quick) == (2, [])
    assert "1 of 3 outputs exist and are kept: give --resume" in outcome.line

    outcome = run(*words, "--resume")
    assert (outcome.exit_code, quick) == (0, ["b.TIF", "c.png"])
    assert (out / "a.bin").read_bytes() == b"done"
    assert b"2 done, 1 done before, 0 failed" in outcome.stdout

    later = (out / "b.bin").stat().st_mtime + 10
    os.utime(folder / "b.TIF", (later, later))  # it has changed since
    assert run(*words, "--resume").exit_code == 0
    assert quick[2:] == ["b.TIF"]

    assert run(*words, "--force").exit_code == 0
    assert (out / "a.bin").read_bytes() == sound_file
    assert len(quick) == 6
    os.utime(out / "b.bin", (later, later))
    outcome = run(*words, "--resume")
    assert outcome.stdout.decode().splitlines()[0] == "files   0 done, 3 done before, 0 failed"


def test_names_that_differ_in_their_suffix_keep_it(run, folder, tmp_path, quick):
    Image.fromarray(pixels(3, 3)).save(folder / "a.bmp")
    assert run("encode", folder, "-o", tmp_path / "out").exit_code == 0
    assert tree_of(tmp_path / "out") == {"a.png.bin", "a.bmp.bin", "b.bin"}


def test_no_two_outputs_have_the_same_name(run, folder, tmp_path, quick):
    """Also where the longer name of one is the shorter of another."""
    Image.fromarray(pixels(3, 3)).save(folder / "a.bmp")
    Image.fromarray(pixels(4, 4)).save(folder / "a.png.tif")
    assert run("encode", folder, "-o", tmp_path / "out").exit_code == 0
    assert tree_of(tmp_path / "out") == {"a.png.bin", "a.bmp.bin", "a.png.tif.bin", "b.bin"}


def test_models_that_miss_a_target_are_named_with_the_file(run, folder, tmp_path, tiny_weights):
    words = ["encode", folder, "-o", tmp_path / "out", "--lossy", "--target-size", "9"]
    outcome = run(*words, "--model", tiny_weights, "--model", tiny_weights)
    assert outcome.exit_code == 0
    said = [line for line in outcome.stderr.splitlines() if line.startswith("note: a.png: ")]
    size = (tmp_path / "out" / "a.bin").stat().st_size
    assert said == [
        f"note: a.png: tiny, the nearest of 2 models, comes to {size} bytes: the target was "
        "9 bytes",
        "note: a.png: nearest of 2 models: tiny",
    ]


def test_notes_of_pictures_are_told(run, folder, tmp_path, monkeypatch, tiny_weights):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(folder / "b.gif", save_all=True, append_images=frames[1:])
    outcome = run("encode", folder, "-o", tmp_path / "out", "--model", tiny_weights)
    assert outcome.exit_code == 0
    assert outcome.line == f"note: {folder / 'b.gif'}: the first of 2 frames is taken"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["encode", "{in}"], "is a folder: name another one for the results with -o"),
        (["encode", "{in}", "-o", "{in}/a.png"], "is a folder: name another one"),
        (["encode", "{in}/sub", "-o", "{out}"], "--recursive searches the folders in it too"),
        (["decode", "{in}", "-o", "{out}", "-r"], "holds no files to take (.bin)"),
        (["decode", "{in}", "-o", "{out}", "--format", "gif"], "cannot write 'gif'"),
        (["encode", "{in}/a.png", "--recursive"], "--recursive: for a folder only"),
        (["encode", "{in}/a.png", "--jobs", "2", "--resume"], "--jobs, --resume: for a folder"),
        (["decode", "{in}/a.png", "--format", "png"], "--format: for a folder only"),
    ],
)
def test_words_that_do_not_go_together(run, folder, tmp_path, words, said):
    places = {"in": folder, "out": tmp_path / "out"}
    outcome = run(*(word.format(**places) for word in words))
    assert outcome.exit_code == 2
    assert said in outcome.line
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_several_at_a_time_make_the_same_files(run, folder, tmp_path, tiny_weights):
    (folder / "bad.png").write_bytes(b"no picture")
    words = ["--recursive", "--model", tiny_weights]
    for out, jobs in ((tmp_path / "one", 1), (tmp_path / "two", 2)):
        assert run("encode", folder, "-o", out, "--jobs", jobs, *words).exit_code == 3
        assert tree_of(out) == {"a.bin", "b.bin", "sub/deep/c.bin"}
    for name in tree_of(tmp_path / "one"):
        first, second = ((tmp_path / side / name).read_bytes() for side in ("one", "two"))
        assert first == second


@pytest.mark.parametrize(("pace", "left"), [(70, "2 min left"), (3000, "1 h 40 min left")])
def test_without_a_terminal_a_line_a_minute_says_how_long_it_takes(monkeypatch, capsys, pace, left):
    clock = iter(range(0, 100 * pace, pace))
    now = [0]

    def monotonic():
        return now[0]

    monkeypatch.setattr(progress_module, "monotonic", monotonic)
    with progress(3) as bar:
        now[0] = next(clock)
        now[0] = next(clock)
        bar.step("a.png")
    assert capsys.readouterr().err == f"1/3, {left}: a.png\n"
