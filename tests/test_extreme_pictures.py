"""Pictures that no training set has: latents beyond their tables, exact all the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from compressai.models import CompressionModel
from PIL import Image, ImageDraw

import paoncodec
from paoncodec import api, codecs
from paoncodec.api import DEFAULT_MODEL
from paoncodec.entropy import VALUE_LIMIT, SymbolModel

HEIGHT, WIDTH = 64, 96
#: Bits of the samples of a pixel, and what a file takes beside them: no picture takes more.
MOST_BPP, BESIDE = 24, 250


def text() -> np.ndarray:
    """A screenshot: black letters on white, hard edges."""
    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw = ImageDraw.Draw(image)
    for row in range(0, HEIGHT, 12):
        draw.text((2, row), "The quick brown fox", fill="black")
    return np.asarray(image)


def pictures() -> dict[str, np.ndarray]:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 2**16, (HEIGHT, WIDTH, 3), dtype=np.uint16)
    ramp = (columns * 65535 // (WIDTH - 1)).astype(np.uint16)
    planes = {
        "black": np.zeros((HEIGHT, WIDTH)),
        "white": np.full((HEIGHT, WIDTH), 255),
        "checkerboard": (rows + columns) % 2 * 255,
        "blocks": (rows // 8 + columns // 8) % 2 * 255,
        "checkerboard of 2": (rows // 2 + columns // 2) % 2 * 255,
        "dots": (rows % 2 == 0) * (columns % 2 == 0) * 255,
        "sparse dots": (rows % 3 == 0) * (columns % 3 == 0) * 255,
        "stripes": columns % 2 * 255,
        "bars": rows // 3 % 2 * 255,
    }
    grey = {name: plane[:, :, None].astype(np.uint8) for name, plane in planes.items()}
    return {
        **{name: np.repeat(plane, 3, axis=2) for name, plane in grey.items()},
        "noise": (noise >> 8).astype(np.uint8),
        "noise of two colours": ((noise >> 15) * 255).astype(np.uint8),
        "noise of 16 bits": noise,
        "ramp of 16 bits": ramp[:, :, None],
        "primaries": np.eye(3, dtype=np.uint8)[columns // 4 % 3] * 255,
        "text": text(),
    }


PICTURES = pictures()


@pytest.fixture(scope="module")
def wild_weights(tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights whose latents of any picture are far beyond what they predict."""
    model, _ = codecs.load_weights(tiny_weights)
    with torch.no_grad():
        model.g_a[-1].numerator *= 3e4
        model.h_a[-1].weight *= 3e3
    path = tmp_path_factory.mktemp("wild") / "wild.safetensors"
    codecs.save_weights(model, path, "mbt-paon", {"lmbda": "0.013"})
    return path


def escapes(x: torch.Tensor, codec: CompressionModel) -> int:
    """How many latents of a picture are beyond their tables."""
    found = 0
    split = SymbolModel.split

    def counting(self: SymbolModel, *given: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        nonlocal found
        symbols, excess = split(self, *given)
        found += len(excess)
        return symbols, excess

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SymbolModel, "split", counting)
        codec.compress(x)
    return found


def enlarged(picture: np.ndarray) -> torch.Tensor:
    """(1, 3, 64, 128) in [0, 1], as the codec sees it."""
    x = torch.from_numpy(picture.astype(np.float32) / np.iinfo(picture.dtype).max)
    x = x.permute(2, 0, 1).expand(3, -1, -1)[None]
    return torch.nn.functional.pad(x, (0, -WIDTH % 64, 0, -HEIGHT % 64), mode="replicate")


@pytest.fixture(scope="module")
def default() -> CompressionModel:
    return api.load_codec(DEFAULT_MODEL)


@pytest.mark.parametrize("name", PICTURES)
def test_the_default_model_codes_anything(name: str, default: CompressionModel) -> None:
    picture = PICTURES[name]
    data = paoncodec.encode(picture, lossless=False)
    decoded = api.decode_picture(data)  # DecodeDesync, if a latent were another one
    assert decoded.samples.shape == picture.shape
    assert decoded.samples.dtype == picture.dtype
    with torch.inference_mode():
        rounded = default.reconstruct(enlarged(picture))
    expected = rounded[0, :, :HEIGHT, :WIDTH].permute(1, 2, 0).double().numpy()
    if picture.shape[2] == 1:
        expected = expected.mean(axis=2, keepdims=True)
    peak = np.iinfo(picture.dtype).max
    assert np.abs(decoded.samples - peak * expected).max() <= peak / 255


@pytest.mark.parametrize("quality", [1, 6])
@pytest.mark.parametrize("name", PICTURES)
def test_no_file_is_larger_than_its_picture(name: str, quality: float) -> None:
    picture = PICTURES[name]
    data = paoncodec.encode(picture, quality)
    assert 8 * len(data) <= MOST_BPP * HEIGHT * WIDTH + 8 * BESIDE
    others = [paoncodec.encode(picture, lossless=True)]
    others.append(paoncodec.encode(picture, quality, lossless=False))
    assert data in others
    assert len(data) == min(map(len, others))


def test_where_latents_alone_would_take_more_the_samples_are_kept() -> None:
    """So the bound above holds with any weights; the default's latents stay below it themselves."""
    picture, model = PICTURES["checkerboard of 2"], "mbt-paon-small-variable-v2"
    most = MOST_BPP * HEIGHT * WIDTH + 8 * BESIDE
    assert 8 * len(paoncodec.encode(picture, model=model, lossless=False)) > most
    assert 8 * len(paoncodec.encode(picture, model=model)) <= most


def test_the_default_model_needs_its_escapes(default: CompressionModel) -> None:
    with torch.inference_mode():
        assert any(
            escapes(enlarged(PICTURES[n]), default) for n in ("noise of two colours", "text")
        )


@pytest.mark.parametrize("name", ["black", "noise", "checkerboard", "ramp of 16 bits"])
def test_latents_beyond_every_table_are_escaped(name: str, wild_weights: Path) -> None:
    data = paoncodec.encode(PICTURES[name], model=wild_weights, lossless=False)
    assert paoncodec.decode(data, model=wild_weights).size == (WIDTH, HEIGHT)
    with torch.inference_mode():
        assert escapes(enlarged(PICTURES[name]), api.load_codec(wild_weights))
    # At most 16 bits for an escape, and 4 + 1 + 15 for what it stands for.
    latents = 12 * 4 * 8 + 8 * 2
    assert 8 * len(data) < 8 * 100 + 36 * latents


def test_latents_end_where_the_format_ends(wild_weights: Path) -> None:
    codec = api.load_codec(wild_weights)
    with torch.no_grad():
        codec.g_a[-1].numerator *= 1e6
        coded = codec.compress(enlarged(PICTURES["noise"]))
        y_hat, digest = codec.exact().decode(*(s[0] for s in coded["strings"]), coded["shape"])
    assert y_hat.abs().max() == VALUE_LIMIT
    assert digest == coded["digests"][0]
