"""Small data sets of classification, in each form in which they come."""

from __future__ import annotations

import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from paoncodec.vision.classification import PadeResNet

SIDE = 32


def picture(kind: str, rng: np.random.Generator, side: int = SIDE) -> np.ndarray:
    """(side, side, 3): flat or a chequerboard, of any colours; turning and mirroring keep it so."""
    low, high = rng.integers(20, 110, 3), rng.integers(140, 236, 3)
    fine = (np.add.outer(np.arange(side), np.arange(side)) % 2)[..., None]
    values = np.where(fine, low, high) if kind == "chequered" else np.broadcast_to(low, (1, 1, 3))
    noise = rng.integers(-4, 5, (side, side, 3))
    return (values + noise).clip(0, 255).astype(np.uint8)


def write_folders(root: Path, count: int = 12, side: int = SIDE) -> Path:
    """`root`/train/CLASS/0000.png and so on, and a third as many in `root`/test."""
    rng = np.random.default_rng(0)
    for part, number in (("train", count), ("test", count // 3)):
        for kind in ("chequered", "flat"):
            folder = root / part / kind
            folder.mkdir(parents=True)
            for k in range(number):
                Image.fromarray(picture(kind, rng, side)).save(folder / f"{k:04}.png")
    return root


def write_batch(path: Path, pixels: np.ndarray, labels: list[int], protocol: int = 2) -> None:
    """As CIFAR-10's authors wrote them."""
    data = pixels.transpose(0, 3, 1, 2).reshape(len(pixels), -1)
    names = [f"{path.name}_{k}.png" for k in range(len(labels))]
    content = {"batch_label": "some", "data": data, "labels": labels, "filenames": names}
    path.write_bytes(pickle.dumps(content, protocol))


def write_archive(path: Path, folder: Path, mode: str) -> Path:
    with tarfile.open(path, mode) as archive:
        archive.add(folder, folder.name)
    return path


def write_galaxies(path: Path, count: int = 40, side: int = 16, **changed: object) -> Path:
    """As Galaxy10 DECaLS is published: compressed chunks, and coordinates beside what is used."""
    import h5py

    rng = np.random.default_rng(0)
    kinds = ["chequered" if k % 2 else "flat" for k in range(count)]
    content: dict[str, object] = {
        "images": np.stack([picture(kind, rng, side) for kind in kinds]),
        "ans": (np.arange(count) % 2).astype(np.uint8),
        "ra": np.zeros(count),
        "dec": np.zeros(count),
        **changed,
    }
    with h5py.File(path, "w") as file:
        for name, values in content.items():
            if values is not None:
                file.create_dataset(name, data=values, chunks=True, compression="gzip")
    return path


def write_imagenet(root: Path, count: int = 6) -> Path:
    """JPEGs of many sizes in `root`/train/WNID and `root`/val/WNID."""
    rng = np.random.default_rng(0)
    for part, number in (("train", count), ("val", 2)):
        for wnid, kind in (("n01440764", "flat"), ("n01443537", "chequered")):
            folder = root / part / wnid
            folder.mkdir(parents=True)
            for k in range(number):
                pixels = picture(kind, rng, 40 + 2 * k)[: 36 + k]
                Image.fromarray(pixels).save(folder / f"{wnid}_{k}.JPEG")
    return root


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folders(tmp_path_factory.mktemp("pictures") / "two")


@pytest.fixture
def tiny() -> PadeResNet:
    """An untrained network of two classes for pictures of 32×32."""
    torch.manual_seed(0)
    return PadeResNet((1, 1), channels=4, classes=("chequered", "flat")).eval()
