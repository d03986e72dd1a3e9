"""Picture files of any size: read when they are needed."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from paoncodec.errors import ImageError, PictureLeftOut, UsageError
from paoncodec.vision.classification.data import read_images
from paoncodec.vision.classification.files import centred, read_files, read_test
from paoncodec.vision.classification.networks import ResNet
from paoncodec.vision.classification.samples import AugmentedImages
from tests.vision.classification.conftest import write_imagenet


@pytest.fixture
def imagenet(tmp_path: Path) -> Path:
    return write_imagenet(tmp_path / "imagenet")


def test_parts_are_train_and_val(imagenet: Path) -> None:
    train, test = (read_files(imagenet, part, 28) for part in ("train", "test"))
    assert (len(train), len(test)) == (12, 4)
    assert train.classes == ("n01440764", "n01443537")
    assert test.names[0] == "val/n01440764/n01440764_0.JPEG"
    assert train.picture(3).shape == (39, 46, 3)
    block = test.block(1, 9)
    assert (block.pixels.shape, block.places.tolist()) == ((3, 28, 28, 3), [1, 2, 3])
    other = train.of_classes(("x", "n01443537", "n01440764"))
    assert other.labels.tolist() == [2] * 6 + [1] * 6
    assert train.chosen(np.array([7])).names == (train.names[7],)
    with pytest.raises(UsageError, match="class n01440764: the network knows n01443537"):
        train.of_classes(("n01443537",))
    with pytest.raises(UsageError, match="not a folder of picture files"):
        read_files(imagenet / "nowhere", "train", 28)


def test_val_is_a_test_part_of_decoded_pictures_too(folders: Path, tmp_path: Path) -> None:
    place = shutil.copytree(folders, tmp_path / "copy")
    (place / "test").rename(place / "val")
    names = [name.replace("test/", "val/") for name in read_images(folders, "test").names]
    assert list(read_images(place, "test").names) == names


def test_networks_of_torchvisions_form_are_measured_on_files(imagenet: Path) -> None:
    classes = ("n01443537", "n01440764")
    found = read_test(imagenet, ResNet(18, classes=classes, size=28))
    assert found.block(0, 4).pixels.shape == (4, 28, 28, 3)
    assert found.labels.tolist() == [1, 1, 0, 0]
    with pytest.raises(ImageError, match=r"no picture can be used: .* must be 28x28"):
        read_test(imagenet, ResNet(8, classes=classes, size=28))


def test_the_middle_is_what_is_measured() -> None:
    pixels = np.zeros((64, 128, 3), np.uint8)
    pixels[:, 60:68] = 255
    found = centred(pixels, 28)  # the shorter side becomes 32
    assert found.shape == (28, 28, 3)
    bright = np.flatnonzero(found[14, :, 0] > 128)
    assert (bright[0], bright[-1]) == (12, 15)
    np.testing.assert_array_equal(centred(pixels[:, :64], 64), pixels[:, :64])


def test_files_that_cannot_be_read_are_named(imagenet: Path) -> None:
    bad = imagenet / "train" / "n01440764" / "n01440764_2.JPEG"
    bad.write_bytes(bad.read_bytes()[:100])
    Image.new("L", (50, 40), 9).save(imagenet / "train" / "n01440764" / "n01440764_1.JPEG")
    train = read_files(imagenet, "train", 28)
    block = train.block(0, 4)
    assert block.places.tolist() == [0, 1, 3]
    [(name, error)] = block.faults
    assert name == "train/n01440764/n01440764_2.JPEG"
    assert str(error).startswith(f"{name}: ")
    assert (block.pixels[1] == 9).all()
    data = AugmentedImages(train, 0, None, 0, upright=True, resized=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", PictureLeftOut)
        samples = [data[k] for k in range(12)]
    assert [values.shape for values, _ in samples] == [(3, 28, 28)] * 12
    assert [str(w.message).split(": ")[1] for w in caught] == [name]
