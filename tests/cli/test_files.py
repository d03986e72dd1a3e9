"""Inputs that are there; outputs that are complete or not there, and never overwritten unasked."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path

import pytest

from paoncodec.cli.files import check_output, default_output, input_file, write_output
from paoncodec.errors import UsageError

needs_permissions = pytest.mark.skipif(
    os.name != "posix" or os.geteuid() == 0, reason="nothing is forbidden to this user"
)


def test_default_outputs():
    assert default_output("a/img.png", ".bin") == str(Path("a/img.bin"))
    assert default_output("img.tar.png", ".bin") == "img.tar.bin"
    assert default_output("img", ".png") == "img.png"
    assert default_output("-", ".bin") == "-"


def test_inputs(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"a")
    assert input_file(str(tmp_path / "a")) == tmp_path / "a"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"in")))
    assert input_file("-").read() == b"in"
    with pytest.raises(UsageError, match="is a directory"):
        input_file(str(tmp_path))
    with pytest.raises(UsageError, match="does not exist"):
        input_file(str(tmp_path / "b"))


@needs_permissions
def test_an_input_that_may_not_be_read(tmp_path):
    path = tmp_path / "a"
    path.touch(mode=0o200)
    with pytest.raises(UsageError, match="may not be read"):
        input_file(str(path))


def test_an_existing_output_is_kept(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with pytest.raises(UsageError, match="exists and is kept"):
        check_output(str(path), "-", force=False)
    check_output(str(path), "-", force=True)
    with pytest.raises(UsageError, match="come to exist"):
        write_output(str(path), b"new", force=False)
    assert path.read_bytes() == b"old"
    write_output(str(path), b"new", force=True)
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_the_input_is_never_the_output(tmp_path):
    path = tmp_path / "a"
    path.touch()
    (tmp_path / "link").symlink_to(path)
    for target in (path, tmp_path / "link"):
        with pytest.raises(UsageError, match="is the input"):
            check_output(str(target), str(path), force=True)


def test_outputs_that_cannot_be(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is a directory"):
        check_output(str(tmp_path), "-", force=True)
    for parent in ("missing", "file"):
        with pytest.raises(UsageError, match="is not a directory"):
            check_output(str(tmp_path / parent / "a"), "-", force=True)


@needs_permissions
def test_a_directory_that_may_not_be_written_to(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UsageError, match="may not be written to"):
        check_output(str(tmp_path / "a"), "-", force=False)
    tmp_path.chmod(0o700)


def test_binary_output_does_not_go_to_a_terminal(monkeypatch):
    terminal = io.BytesIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(terminal))
    with pytest.raises(UsageError, match="terminal"):
        check_output("-", "-", force=True)


def test_a_new_file_has_the_usual_permissions(tmp_path):
    (tmp_path / "usual").touch()
    write_output(str(tmp_path / "ours"), b"", force=False)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert len(modes) == 1


def test_a_link_stays_one(tmp_path):
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    write_output(str(tmp_path / "link"), b"new", force=True)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_an_output_cut_short_leaves_nothing(tmp_path, monkeypatch, error):
    def fsync(_file: int) -> None:
        raise error

    (tmp_path / "old").write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", fsync)
    for name in ("old", "new"):
        with pytest.raises((KeyboardInterrupt, UsageError)):
            write_output(str(tmp_path / name), b"new", force=True)
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert (tmp_path / "old").read_bytes() == b"old"


def test_devices_are_written_to_and_not_replaced(tmp_path):
    check_output(os.devnull, "-", force=False)
    write_output(os.devnull, b"gone", force=False)
    assert not Path(os.devnull).is_file()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is full")
def test_a_full_device_is_named():
    with pytest.raises(UsageError, match=r"/dev/full cannot be written: No space"):
        write_output("/dev/full", b"too much", force=False)
