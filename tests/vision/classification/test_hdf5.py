"""Galaxy10's file: read, parted by classes, and refused where it is unsound."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from paoncodec.errors import ImageError, UsageError
from paoncodec.vision.classification import hdf5
from paoncodec.vision.classification.data import PARTS, WrongSize, read_images
from paoncodec.vision.classification.hdf5 import GALAXY10, is_hdf5, strata
from paoncodec.vision.classification.samples import split
from tests.vision.classification.conftest import write_galaxies

h5py = pytest.importorskip("h5py")


def test_a_file_is_parted_by_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5, "_ROWS", 7)  # so that it is read in several goes
    path = write_galaxies(tmp_path / "Galaxy10_DECals.h5")
    train, test = (read_images(path, part) for part in PARTS)
    assert (len(train), len(test)) == (38, 2)
    assert sorted(test.labels) == [0, 1]
    assert train.classes == GALAXY10
    with h5py.File(path) as file:
        for found in (train, test):
            for k, name in enumerate(found.names):
                number = int(name.removeprefix("Galaxy10_DECals/"))
                np.testing.assert_array_equal(found.pixels[k], file["images"][number])
                assert found.labels[k] == file["ans"][number]
    assert not set(train.names) & set(test.names)
    with pytest.raises(WrongSize, match="pictures of 16 pixels a side, not 32"):
        read_images(path, "test", 32)


def test_shares_are_those_of_the_paper() -> None:
    """0.90 : 0.05 : 0.05 of each class."""
    labels = np.repeat([3, 0, 7], [1000, 400, 60])
    testing = strata(labels, 0.05)
    np.testing.assert_array_equal(np.bincount(labels[testing])[[0, 3, 7]], [20, 50, 3])
    held_out = strata(labels[~testing], 0.05 / 0.95)
    np.testing.assert_array_equal(np.bincount(labels[~testing][held_out])[[0, 3, 7]], [20, 50, 3])
    np.testing.assert_array_equal(strata(labels, 0.05), testing)


def test_validation_is_drawn_by_classes(tmp_path: Path) -> None:
    images = read_images(write_galaxies(tmp_path / "a.h5"), "train")
    training, validation = split(images, 0.1, stratified=True)
    assert np.bincount(validation.labels).tolist() == [2, 2]
    assert sorted(training.names + validation.names) == sorted(images.names)


def test_a_file_is_known_by_its_name_or_beginning(tmp_path: Path) -> None:
    path = write_galaxies(tmp_path / "galaxies")
    assert is_hdf5(path)
    assert len(read_images(path, "test")) == 2
    (tmp_path / "a.HDF5").write_bytes(b"")
    assert is_hdf5(tmp_path / "a.HDF5")
    assert not is_hdf5(tmp_path)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"ans": None}, "has no ans, but dec, images, ra"),
        ({"images": None}, "has no images"),
        ({"images": np.zeros((40, 3, 16, 16), np.uint8)}, r"images of shape \(40, 3, 16, 16\)"),
        ({"images": np.zeros((40, 8, 8, 3), np.float32)}, "float32; must be uint8"),
        ({"ans": np.zeros(39, np.uint8)}, r"ans of shape \(39,\), uint8; must be a whole number"),
        ({"ans": np.zeros(40, np.float32)}, "must be a whole number for each of 40"),
        ({"ans": np.arange(40, dtype=np.uint8) % 11}, "ans has 10, must be 0 to 9"),
        ({"ans": np.eye(1, 40, dtype=np.uint8)[0]}, "a class has one picture alone"),
    ],
)
def test_other_layouts_are_refused(changed: dict, said: str, tmp_path: Path) -> None:
    path = write_galaxies(tmp_path / "bad.h5", **changed)
    with pytest.raises(ImageError, match=rf"bad\.h5: .*{said}"):
        read_images(path, "train")


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "inside"])
def test_damaged_files_are_named(damage: str, tmp_path: Path) -> None:
    path = write_galaxies(tmp_path / "bad.h5")
    content = path.read_bytes()
    with h5py.File(path) as file:
        chunk = file["images"].id.get_chunk_info(0)
    inside = bytearray(content)
    inside[chunk.byte_offset : chunk.byte_offset + chunk.size] = bytes(chunk.size)
    spoilt = {"cut": content[:-300], "empty": b"", "text": b"no file", "inside": bytes(inside)}
    path.write_bytes(spoilt[damage])
    with pytest.raises(ImageError, match=r"bad\.h5: not a sound HDF5 file \(.+\); fetch it again"):
        read_images(path, "train")


def test_a_file_larger_than_memory_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: object) -> None:
        raise MemoryError

    path = write_galaxies(tmp_path / "a.h5")
    monkeypatch.setattr(hdf5, "_rows", full)
    with pytest.raises(ImageError, match=r"a\.h5: there is no memory for so many pictures"):
        read_images(path, "train")


def test_without_h5py(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_galaxies(tmp_path / "a.h5")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(UsageError, match=r"take h5py: pip install 'paoncodec\[vision\]'"):
        read_images(path, "train")
