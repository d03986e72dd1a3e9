"""Our files as Pillow's."""

from __future__ import annotations

import copy
import io
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import paoncodec
import paoncodec.pillow
from paoncodec.errors import PictureWarning, UsageError
from paoncodec.images import Metadata, Picture


@pytest.fixture
def rgba(smooth: np.ndarray) -> Image.Image:
    """With alpha, EXIF and a profile."""
    alpha = np.full((*smooth.shape[:2], 1), 200, np.uint8)
    image = Image.fromarray(np.concatenate([smooth, alpha], axis=2))
    image.info["icc_profile"] = b"a profile"
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    image.info["exif"] = exif.tobytes()
    return image


@pytest.mark.parametrize("suffix", [".paon", ".bin"])
def test_save_is_encode_and_open_is_decode(rgba: Image.Image, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    rgba.save(path)
    data = path.read_bytes()
    assert data == paoncodec.encode(rgba)
    expected = paoncodec.decode(data)
    with Image.open(path) as image:
        assert (image.format, image.mode, image.size) == ("PAON", "RGBA", rgba.size)
        assert image.get_format_mimetype() == "image/x-paon"
        assert image.info == expected.info
        assert image.getexif()[0x010F] == "a camera"
        image.load()
        image.load()
        assert np.array_equal(np.asarray(image), np.asarray(expected))
        assert image.info == expected.info
    assert image.resize((4, 4)).size == (4, 4)  # its pixels outlive the file


@pytest.mark.parametrize("loaded", [False, True])
def test_images_are_pickled_and_copied(rgba: Image.Image, tmp_path: Path, loaded: bool) -> None:
    rgba.save(tmp_path / "a.paon")
    expected = np.asarray(paoncodec.decode(tmp_path / "a.paon"))
    with Image.open(tmp_path / "a.paon") as image:
        if loaded:
            image.load()
        pickled = pickle.loads(pickle.dumps(image))  # noqa: S301
        for copied in (pickled, copy.deepcopy(image)):
            copied.load()
            assert np.array_equal(np.asarray(copied), expected)
            assert copied.resize((4, 4)).size == (4, 4)


def test_options(variable_weights: Path, rgba: Image.Image) -> None:
    out = io.BytesIO()
    metadata = {"exif": Image.Exif(), "icc_profile": None, "xmp": b"<x/>"}
    rgba.save(out, "PAON", model=variable_weights, quality=2.5, **metadata)
    info = paoncodec.info(out.getvalue())
    assert "exif" not in info["sections"]
    assert info["quality"] == 2.5
    assert "xmp" in info["sections"]
    assert "icc" not in info["sections"]
    assert rgba.info["icc_profile"] == b"a profile"
    stripped = io.BytesIO()
    rgba.save(stripped, "PAON", strip=True)
    assert set(paoncodec.info(stripped.getvalue())["sections"]) == {"z", "y", "alpha"}
    kept = io.BytesIO()
    rgba.save(kept, "PAON", lossless=True)
    with Image.open(kept) as image:
        assert np.array_equal(np.asarray(image), np.asarray(rgba))
    with pytest.raises(UsageError, match="quality 9"):
        rgba.save(io.BytesIO(), "PAON", model=variable_weights, quality=9)


@pytest.mark.parametrize(
    ("channels", "depth", "alpha", "mode"),
    [
        (1, 8, False, "L"),
        (1, 8, True, "LA"),
        (3, 8, False, "RGB"),
        (1, 16, False, "I;16"),
        (1, 16, True, "LA"),
        (3, 16, True, "RGBA"),
    ],
)
def test_modes(channels: int, depth: int, alpha: bool, mode: str) -> None:
    dtype = np.uint8 if depth == 8 else np.uint16
    samples = np.random.default_rng(0).integers(0, 2**depth, (20, 33, channels), dtype=dtype)
    beside = np.full((20, 33), 7, dtype) if alpha else None
    data = paoncodec.encode(Picture(samples, beside, Metadata()))
    image = Image.open(io.BytesIO(data))
    assert image.mode == mode
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PictureWarning)
        expected = paoncodec.decode(data)
        assert np.array_equal(np.asarray(image), np.asarray(expected))
        out = io.BytesIO()
        Image.open(io.BytesIO(data)).save(out, "PAON")
    again = paoncodec.info(out.getvalue())
    assert (again["width"], again["height"], again["channels"]) == (33, 20, channels)
    assert again["depth"] == (16 if mode == "I;16" else 8)


def test_what_is_wrong_is_said_in_pillows_way(sound_file: bytes) -> None:
    for damaged in (sound_file[:-1], b"PAON", sound_file[:50] + b"x" + sound_file[51:]):
        with pytest.raises(OSError, match=r"damaged file|cut short"):
            Image.open(io.BytesIO(damaged))
    image = Image.open(io.BytesIO(sound_file))  # nobody has its weights
    assert image.size == (48, 32)
    for _ in range(2):
        with pytest.raises(OSError, match="needs the weights"):
            image.load()


def test_pillow_keeps_its_guard(monkeypatch, sound_file: bytes) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(sound_file))


def test_opening_takes_no_torch(tmp_path: Path, sound_file: bytes) -> None:
    (tmp_path / "a.bin").write_bytes(sound_file)
    code = (
        "import sys, paoncodec.pillow; from PIL import Image; "
        "print(Image.open(sys.argv[1]).size, 'torch' in sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "a.bin"], capture_output=True, text=True, check=True
    )
    assert run.stdout == "(48, 32) False\n"
