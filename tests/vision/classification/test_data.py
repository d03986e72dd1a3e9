"""Labelled pictures: every form gives the same, and what is wrong is named."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from paoncodec.errors import ImageError, UsageError
from paoncodec.vision.classification.data import LabelledImages, WrongSize, read_images
from tests.vision.classification.conftest import write_archive, write_batch

PARTS = {"train": 24, "test": 8}


@pytest.fixture
def batches(folders: Path, tmp_path: Path) -> Path:
    """The pictures of `folders` as Python batches, the training part in two."""
    place = tmp_path / "root" / "cifar-10-batches-py"
    place.mkdir(parents=True)
    train, test = (read_images(folders, part) for part in PARTS)
    for name, found, half in (
        ("data_batch_1", train, slice(0, 10)),
        ("data_batch_2", train, slice(10, None)),
        ("test_batch", test, slice(None)),
    ):
        write_batch(place / name, found.pixels[half], found.labels[half].tolist())
    meta = {"label_names": ["chequered", "flat"], "num_vis": 3072}
    (place / "batches.meta").write_bytes(pickle.dumps(meta, 2))
    return place.parent


def same(one: LabelledImages, other: LabelledImages) -> None:
    np.testing.assert_array_equal(one.pixels, other.pixels)
    np.testing.assert_array_equal(one.labels, other.labels)
    assert one.classes == other.classes
    assert len(one.names) == len(other.names)


@pytest.mark.parametrize("part", PARTS)
def test_all_forms_hold_the_same(folders: Path, batches: Path, tmp_path: Path, part: str) -> None:
    found = read_images(folders, part)
    assert (len(found), found.size, found.classes) == (PARTS[part], 32, ("chequered", "flat"))
    assert found.names[0] == f"{part}/chequered/0000.png"
    assert (found.pixels.dtype, found.labels.tolist()[-1], found.faults) == (np.uint8, 1, ())
    same(read_images(folders / part, part), found)
    same(read_images(batches, part), found)
    same(read_images(batches / "cifar-10-batches-py", part), found)
    for mode in ("w", "w:xz", "w:gz"):
        same(read_images(write_archive(tmp_path / "a.tar", folders, mode), part), found)
    same(read_images(write_archive(tmp_path / "b.tar.gz", batches, "w:gz"), part), found)


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_batches_of_any_pickle(protocol: int, tmp_path: Path) -> None:
    """Without names of its own it has CIFAR-10's classes."""
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    write_batch(tmp_path / "test_batch", pixels, [9, 0, 3], protocol)
    found = read_images(tmp_path, "test")
    np.testing.assert_array_equal(found.pixels, pixels)
    assert [found.classes[k] for k in found.labels] == ["truck", "airplane", "cat"]
    assert found.names[0] == "test_batch_0.png"


def test_a_pickle_of_programs_is_refused_and_runs_none(tmp_path: Path) -> None:
    class Program:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "made"),)

    (tmp_path / "test_batch").write_bytes(pickle.dumps({"data": Program(), "labels": []}))
    with pytest.raises(ImageError, match=r"asks for posix\.mkdir"):
        read_images(tmp_path, "test")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"data": np.zeros((2, 3072), np.uint8), "labels": [0, 10]}, "label 10, must be 0 to 9"),
        ({"data": np.zeros((2, 3072), np.uint8), "labels": [-1, 1]}, "label -1, must be 0 to 9"),
        ({"data": np.zeros((2, 3072), np.uint8), "labels": [1]}, "one for each of 2"),
        ({"data": np.zeros((1, 3072), np.uint8), "labels": [0.5]}, "must be whole numbers"),
        ({"data": np.zeros((2, 1024), np.uint8), "labels": [0, 1]}, r"shape \(2, 1024\)"),
        ({"data": np.zeros((2, 3072), np.float32), "labels": [0, 1]}, "must be uint8"),
        ({"data": [1, 2], "labels": [0, 1]}, "must be uint8"),
        ({"data": np.zeros((2, 3072), np.uint8), "fine_labels": [0, 1]}, "it has no labels"),
        ([1, 2], "not a batch"),
    ],
)
def test_wrong_batches_are_refused(content: object, said: str, tmp_path: Path) -> None:
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps(content))
    with pytest.raises(ImageError, match=said):
        read_images(tmp_path, "train")


def test_a_cut_batch_is_refused(batches: Path) -> None:
    path = batches / "cifar-10-batches-py" / "data_batch_2"
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(ImageError, match="data_batch_2: not a batch of CIFAR-10"):
        read_images(batches, "train")
    (batches / "cifar-10-batches-py" / "test_batch").unlink()
    with pytest.raises(UsageError, match="no test_batch file"):
        read_images(batches, "test")


def test_grey_pictures_are_three_equal_planes(folders: Path, tmp_path: Path) -> None:
    place = shutil.copytree(folders, tmp_path / "copy")
    Image.new("L", (32, 32), 77).save(place / "test" / "flat" / "0000.png")
    found = read_images(place, "test")
    assert (found.pixels[4] == 77).all()


def test_pictures_that_cannot_be_used_are_named(folders: Path, tmp_path: Path) -> None:
    place = shutil.copytree(folders, tmp_path / "copy") / "test"
    Image.new("RGB", (32, 31)).save(place / "flat" / "0001.png")
    Image.new("RGB", (16, 16)).save(place / "flat" / "0002.png")
    Image.new("RGBA", (32, 32)).save(place / "flat" / "0003.png")
    (place / "chequered" / "0001.png").write_text("no picture")
    found = read_images(place, "test")
    assert len(found) == 4
    said = {name: str(error) for name, error in found.faults}
    assert "flat/0001.png: 32x31 pixels, must be" in said["flat/0001.png"]
    assert "16x16 pixels, must be 32x32" in said["flat/0002.png"]
    assert "transparency" in said["flat/0003.png"]
    assert said["chequered/0001.png"].startswith("chequered/0001.png: ")
    sizes = [name for name, error in found.faults if isinstance(error, WrongSize)]
    assert sizes == ["flat/0001.png", "flat/0002.png"]


def test_nothing_of_the_asked_for_size(folders: Path, batches: Path) -> None:
    with pytest.raises(ImageError, match="no picture can be used"):
        read_images(folders, "test", 16)
    with pytest.raises(WrongSize, match="pictures of 32 pixels a side, not 16"):
        read_images(batches, "test", 16)


def test_wrong_places_are_refused(folders: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file or folder"):
        read_images(tmp_path / "nowhere", "train")
    with pytest.raises(UsageError, match="no folders of pictures"):
        read_images(tmp_path, "train")
    with pytest.raises(UsageError, match="no folders of pictures"):
        read_images(folders / "train" / "flat", "train")
    shutil.copytree(folders / "train" / "flat", tmp_path / "one" / "flat")
    with pytest.raises(UsageError, match="of the class 'flat' alone"):
        read_images(tmp_path / "one", "train")
    shutil.copytree(folders / "train", tmp_path / "half" / "train")
    with pytest.raises(UsageError, match="in a folder 'test'"):
        read_images(tmp_path / "half", "test")
    shutil.copytree(folders / "test", tmp_path / "one" / "more")
    with pytest.raises(UsageError, match="class folders in several places"):
        read_images(tmp_path / "one", "train")


def test_wrong_archives_are_refused(folders: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="neither a folder nor a sound tar archive"):
        read_images(folders / "train" / "flat" / "0000.png", "train")
    whole = write_archive(tmp_path / "a.tar.xz", folders, "w:xz").read_bytes()
    cut = tmp_path / "cut.tar.xz"
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises((ImageError, UsageError), match=r"cut\.tar\.xz: (damaged|neither)"):
        read_images(cut, "train")


def test_an_archive_of_another_checksum_is_refused(folders: Path, tmp_path: Path) -> None:
    """What it unpacks to may be sound in form: a few other samples, found by gzip's CRC alone."""
    whole = bytearray(write_archive(tmp_path / "a.tar.gz", folders, "w:gz").read_bytes())
    whole[-8] ^= 1  # the first byte of the CRC
    (tmp_path / "bad.tar.gz").write_bytes(whole)
    with pytest.raises(ImageError, match=r"bad\.tar\.gz: damaged archive \(CRC check failed"):
        read_images(tmp_path / "bad.tar.gz", "train")


def test_labels_follow_other_classes(folders: Path) -> None:
    found = read_images(folders, "test")
    again = found.of_classes(("other", "flat", "chequered"))
    assert again.labels.tolist() == [2] * 4 + [1] * 4
    with pytest.raises(UsageError, match="class chequered: the network knows flat, other"):
        found.of_classes(("flat", "other"))
