"""Pictures as people have them, by every model and quality, by Python, by files and by streams.

The whole matrix is slow; a selection in which every size, kind, model and quality occurs is not.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import paoncodec
from paoncodec import codecs
from paoncodec.images import Picture, picture_bytes, read_picture

SIZES = [(1, 1), (1, 17), (63, 64), (64, 64), (65, 127), (512, 768)]
QUALITIES = [1, 3.5, 6]
MODELS = ["mbt-paon", "elic-paon"]


def painting(height: int, width: int) -> np.ndarray:
    """Slow waves (H, W, 4) in 0 … 1, the last channel with transparent, half and opaque parts."""
    y, x = np.mgrid[:height, :width] / 60
    planes = [np.sin(2 * y + x), np.cos(x - 2 * y), np.sin(x + 3 * y), 3 * np.cos(2 * x + y)]
    return (0.5 + 0.4 * np.stack(planes, axis=2)).clip(0, 1)


def png_of(channels: list[int], dtype: type) -> Callable[[np.ndarray], bytes]:
    def make(values: np.ndarray) -> bytes:
        samples = np.rint(values[:, :, channels] * np.iinfo(dtype).max).astype(dtype)
        return picture_bytes(read_picture(samples))

    return make


def pillow_of(mode: str, format: str) -> Callable[[np.ndarray], bytes]:
    def make(values: np.ndarray) -> bytes:
        buffer = io.BytesIO()
        image = Image.fromarray(np.rint(values[:, :, :3] * 255).astype(np.uint8))
        converted = image.quantize(64) if mode == "P" else image.convert(mode)
        converted.save(buffer, format)
        return buffer.getvalue()

    return make


# Kind → (its file, Pillow's mode of what comes out, bits per sample).
KINDS: dict[str, tuple[Callable[[np.ndarray], bytes], str, int]] = {
    "grey": (png_of([0], np.uint8), "L", 8),
    "rgb": (png_of([0, 1, 2], np.uint8), "RGB", 8),
    "grey and alpha": (png_of([0, 3], np.uint8), "LA", 8),
    "rgb and alpha": (png_of([0, 1, 2, 3], np.uint8), "RGBA", 8),
    "16-bit grey": (png_of([0], np.uint16), "I;16", 16),
    "16-bit rgb": (png_of([0, 1, 2], np.uint16), "RGB", 16),
    "16-bit rgb and alpha": (png_of([0, 1, 2, 3], np.uint16), "RGBA", 16),
    "bilevel": (pillow_of("1", "PNG"), "L", 8),
    "palette": (pillow_of("P", "PNG"), "RGB", 8),
    "cmyk": (pillow_of("CMYK", "TIFF"), "RGB", 8),
}

MATRIX = [*itertools.product(SIZES, KINDS, MODELS, QUALITIES)]
# One of each kind, the other three going round; the large size, which takes longest, once.
SELECTION = [
    (SIZES[i % 5], kind, MODELS[i % 2], QUALITIES[i % 3]) for i, kind in enumerate(KINDS)
] + [((512, 768), "rgb and alpha", "mbt-paon", 3.5)]

# All but the large size in every kind; that in the largest kind of either depth.
WITHOUT_LOSS = [
    *itertools.product(SIZES[:5], KINDS),
    *itertools.product(SIZES[5:], ["rgb and alpha", "16-bit rgb and alpha"]),
]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Small models of all qualities, whose transforms are linear: no training, yet a codec."""
    import torch

    from paoncodec.codecs.starts import linear_start

    folder = tmp_path_factory.mktemp("weights")
    crops = torch.from_numpy(painting(128, 256)[:, :, :3]).permute(2, 0, 1).float()
    sizes = {"N": 12, "M": 48, "widths": (12, 24, 48), "shift": "none", "variable_rate": True}
    networks = {
        "mbt-paon": {
            "hyper_width": 8,
            "hyper_synthesis": (8, 8),
            "hyper_out": 16,
            "context_width": 16,
            "parameter_widths": (16, 16),
        },
        "elic-paon": {
            "groups": (16, 32),
            "hyper_width": 8,
            "hyper_synthesis": (8, 8),
            "hyper_out": 16,
            "channel_widths": (8,),
            "channel_kernels": (3, 1),
            "parameter_widths": ((16, 16), (16, 16)),
        },
    }
    paths = {}
    for arch, network in networks.items():
        torch.manual_seed(0)
        model = codecs.build(arch, sizes | network)
        linear_start(model, torch.stack(crops.split(64, dim=2)), 0.013)
        paths[arch] = folder / f"{arch}.safetensors"
        codecs.save_weights(model, paths[arch], arch, {"lmbda": "variable"})
    return paths


def name_of(case: tuple[object, ...]) -> str:
    size, *others = case
    return "-".join(["x".join(map(str, size)), *map(str, others)])


def cases(selection: list[tuple], matrix: list[tuple]) -> list[Any]:
    """The selection, and the rest of the matrix, which is slow."""
    return [
        *(pytest.param(case, id=name_of(case)) for case in selection),
        *(
            pytest.param(case, id=name_of(case), marks=pytest.mark.slow)
            for case in matrix
            if case not in selection
        ),
    ]


def assert_same(one: Picture, two: Picture) -> None:
    np.testing.assert_array_equal(one.samples, two.samples)
    assert one.depth == two.depth
    assert (one.alpha is None) == (two.alpha is None)
    if one.alpha is not None:
        np.testing.assert_array_equal(one.alpha, two.alpha)


def assert_close(original: Picture, decoded: Picture, tolerance: float) -> None:
    assert decoded.samples.shape == original.samples.shape
    assert decoded.depth == original.depth
    difference = original.samples.astype(float) - decoded.samples
    seen = np.ones(difference.shape[:2], bool) if original.alpha is None else original.alpha > 0
    assert np.abs(difference[seen]).mean() < tolerance * original.peak
    assert (decoded.alpha is None) == (original.alpha is None)
    if original.alpha is not None:
        np.testing.assert_array_equal(decoded.alpha, original.alpha)


@pytest.mark.filterwarnings("ignore::paoncodec.errors.PictureWarning")
@pytest.mark.parametrize("case", cases(SELECTION, MATRIX))
def test_round_trip(case, weights, run, tmp_path):
    size, kind, arch, quality = case
    make, mode, depth = KINDS[kind]
    model, file = weights[arch], make(painting(*size))
    (tmp_path / "in").write_bytes(file)

    data = paoncodec.encode(file, quality, model=model, lossless=False)
    picture = paoncodec.decode_picture(data, model=model)
    # Dots of black and white are more than a linear transform of waves can follow.
    assert_close(read_picture(file), picture, 0.5 if kind == "bilevel" else 0.06)
    assert picture.depth == depth
    image = paoncodec.decode(data, model=model)
    assert (image.mode, image.size) == (mode, size[::-1])

    options = ["-q", quality, "--model", model, "--lossy"]
    assert run("encode", tmp_path / "in", "-o", tmp_path / "a.bin", *options).exit_code == 0
    assert (tmp_path / "a.bin").read_bytes() == data
    assert run("encode", "-", *options, stdin=file).stdout == data
    assert run("decode", tmp_path / "a.bin", "--model", model).exit_code == 0
    assert_same(read_picture(tmp_path / "a.png"), picture)
    assert_same(read_picture(run("decode", "-", "--model", model, stdin=data).stdout), picture)


@pytest.mark.filterwarnings("ignore::paoncodec.errors.PictureWarning")
@pytest.mark.parametrize("case", cases(WITHOUT_LOSS, [*itertools.product(SIZES, KINDS)]))
def test_round_trip_without_loss(case, tiny_weights, run, tmp_path):
    size, kind = case
    make, mode, depth = KINDS[kind]
    file = make(painting(*size))
    (tmp_path / "in").write_bytes(file)
    data = paoncodec.encode(file, model=tiny_weights, lossless=True)
    picture = paoncodec.decode_picture(data)
    assert_close(read_picture(file), picture, 1e-9)
    assert picture.depth == depth
    image = paoncodec.decode(data)
    assert (image.mode, image.size) == (mode, size[::-1])

    options = ["--model", tiny_weights, "--lossless"]
    assert run("encode", tmp_path / "in", "-o", tmp_path / "a.bin", *options).exit_code == 0
    assert (tmp_path / "a.bin").read_bytes() == data
    assert run("encode", "-", *options, stdin=file).stdout == data
    assert run("decode", tmp_path / "a.bin").exit_code == 0
    assert_same(read_picture(tmp_path / "a.png"), picture)
    assert_same(read_picture(run("decode", "-", stdin=data).stdout), picture)


def test_the_selection_spans_the_matrix():
    for values, options in zip(
        zip(*SELECTION, strict=True), (SIZES, KINDS, MODELS, QUALITIES), strict=True
    ):
        assert set(values) == set(options)
