"""Samples kept as they are: where that takes less than latents, and when it is asked for."""

from __future__ import annotations

import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import paoncodec
from paoncodec import api, decoding, images
from paoncodec.bitstream import SectionKind, nbytes, read, write
from paoncodec.errors import DecodeDesync, MalformedStream, UsageError
from paoncodec.images import Metadata, Picture

RNG = np.random.default_rng(5)
NOISE = RNG.integers(0, 256, (70, 90, 3), dtype=np.uint8)
DRAWING = np.full((70, 90, 3), 255, np.uint8)
DRAWING[20:40, 10:70] = DRAWING[:, 50:55] = 200, 30, 90
METADATA = Metadata(icc=bytes(500), xmp="<x>é</x>".encode())


def is_lossless(data: bytes) -> bool:
    content = {"samples", "z", "y"} & set(paoncodec.info(data)["sections"])
    assert content in ({"samples"}, {"z", "y"})
    return content == {"samples"}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 17), (65, 40)])
def test_what_comes_out_is_what_went_in(
    tiny_weights: Path, height: int, width: int, channels: int, dtype: type
) -> None:
    peak, shape = np.iinfo(dtype).max, (height, width, channels)
    pixels = RNG.integers(0, peak, shape, dtype=dtype, endpoint=True)
    if channels % 2 == 0:
        pixels[:, :, -1] |= 1  # nothing is hidden
    data = paoncodec.encode(pixels, model=tiny_weights, lossless=True, verify=True)
    assert is_lossless(data)
    facts = paoncodec.info(data)
    assert (facts["version"], facts["depth"]) == (3, 8 * pixels.itemsize)
    crc = zlib.crc32(np.ascontiguousarray(pixels[..., : channels - 1 + channels % 2]).tobytes())
    assert (facts["model"], facts["latents_crc"]) == ("tiny", f"{crc:08x}")
    assert len(data) < 1.01 * pixels.nbytes + height + 500
    # No weights are needed, nor looked for.
    for model in (None, "no such model"):
        found = api.decode_picture(data, model=model)
        np.testing.assert_array_equal(found.with_alpha(), pixels)


def test_the_smaller_file_is_made(tiny_weights: Path, smooth: np.ndarray) -> None:
    for pixels in (NOISE, DRAWING, smooth, DRAWING[:, :, :1], NOISE[:1, :1]):
        coded, kept = (
            paoncodec.encode(pixels, model=tiny_weights, lossless=lossless)
            for lossless in (False, True)
        )
        assert not is_lossless(coded)
        found = paoncodec.encode(pixels, model=tiny_weights)
        assert found == min(coded, kept, key=len)
    assert is_lossless(paoncodec.encode(DRAWING, model=tiny_weights))
    assert not is_lossless(paoncodec.encode(smooth, model=tiny_weights))


def test_large_photographs_are_not_tried(
    tiny_weights: Path, smooth: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*given: Any) -> bytes:
        raise AssertionError("time is spent on a lossless file")

    monkeypatch.setattr("paoncodec.images.lossless_bytes", never)
    large = np.tile(smooth, (2, 2, 1))
    paoncodec.encode(large, model=tiny_weights)
    for small_or_flat in (smooth, np.tile(DRAWING, (3, 3, 1))):
        with pytest.raises(AssertionError, match="time is spent"):
            paoncodec.encode(small_or_flat, model=tiny_weights)


def patterns(height: int, width: int) -> dict[str, np.ndarray]:
    """That repeat, and whose latents take much at some qualities."""
    rows, columns = np.mgrid[:height, :width]
    planes = {
        "dots": (rows % 2 == 0) & (columns % 2 == 0),
        "sparse dots": (rows % 3 == 0) & (columns % 3 == 0),
        "columns": columns % 3 == 0,
        "rows": rows % 5 == 0,
        "checkerboard": (rows // 2 + columns // 2) % 2 == 0,
    }
    return {name: np.repeat(p[:, :, None] * np.uint8(255), 3, axis=2) for name, p in planes.items()}


@pytest.mark.parametrize("side", [40, 200])
@pytest.mark.parametrize("name", patterns(1, 1))
def test_patterns_take_what_they_take_without_loss_at_every_quality(
    variable_weights: Path, name: str, side: int
) -> None:
    pixels = patterns(side, side + 7)[name]
    kept = len(paoncodec.encode(pixels, model=variable_weights, lossless=True))
    for quality in (1, 3.5, 6):
        assert len(paoncodec.encode(pixels, quality, model=variable_weights)) <= kept


@pytest.mark.parametrize("max_memory", [None, 2**31])
def test_the_file_is_the_same_whatever_memory_is_free(
    tiny_weights: Path, monkeypatch: pytest.MonkeyPatch, max_memory: int | None
) -> None:
    given = []

    def noted(samples: np.ndarray, memory: float) -> bytes:
        given.append(memory)
        return images.lossless.lossless_bytes(samples, memory)

    monkeypatch.setattr(images, "lossless_bytes", noted)
    paoncodec.encode(DRAWING, model=tiny_weights, max_memory=max_memory)
    assert given == [math.inf] if max_memory is None else 0 < given[0] < max_memory


@pytest.mark.parametrize(
    "asked", [{"quality": 4}, {"target_bpp": 1.0}, {"target_size": 900}, {"target_psnr": 30.0}]
)
def test_lossless_files_have_no_quality(variable_weights: Path, asked: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="lossless, and a quality or target"):
        paoncodec.encode(NOISE, model=variable_weights, lossless=True, **asked)


@pytest.mark.parametrize("kind", ["target_size", "target_bpp"])
def test_a_target_that_has_room_for_the_samples_gets_them(
    variable_weights: Path, kind: str
) -> None:
    """The drawing fits as it is, though its latents would not."""
    kept = paoncodec.encode(DRAWING, model=variable_weights, lossless=True)
    coded = paoncodec.encode(DRAWING, 1, model=variable_weights, lossless=False)
    assert len(kept) < len(coded)
    unit = 1 if kind == "target_size" else 8 / (70 * 90)
    fits = {"model": variable_weights, kind: len(kept) * unit}
    assert paoncodec.encode(DRAWING, **fits) == kept
    for refused in ({**fits, "lossless": False}, {**fits, kind: (len(kept) - 1) * unit}):
        with pytest.raises(UsageError, match="the lowest, has"):
            paoncodec.encode(DRAWING, **refused)


def test_a_target_beyond_every_quality_is_reached_without_loss(
    variable_weights: Path, smooth: np.ndarray
) -> None:
    asked = {"model": variable_weights, "target_psnr": 99}
    assert is_lossless(paoncodec.encode(smooth, **asked))
    with pytest.raises(UsageError, match="the highest, has"):
        paoncodec.encode(smooth, **asked, lossless=False)


def test_transparency_and_metadata_are_kept_beside_the_samples(tiny_weights: Path) -> None:
    alpha = RNG.integers(1, 256, DRAWING.shape[:2], dtype=np.uint8)
    source = Picture(DRAWING, alpha, METADATA)
    data = paoncodec.encode(source, model=tiny_weights, lossless=True, verify=True)
    assert list(paoncodec.info(data)["sections"]) == ["alpha", "samples", "icc", "xmp"]
    found = api.decode_picture(data)
    np.testing.assert_array_equal(found.samples, DRAWING)
    np.testing.assert_array_equal(found.alpha, alpha)
    assert found.metadata == METADATA


def test_a_region_is_cut_out(tiny_weights: Path) -> None:
    data = paoncodec.encode(NOISE, model=tiny_weights, lossless=True)
    part = api.decode_picture(data, region=(7, 60, 20, 10))
    np.testing.assert_array_equal(part.samples, NOISE[60:, 7:27])
    with pytest.raises(UsageError, match="must lie in the picture"):
        api.decode_picture(data, region=(80, 0, 11, 1))


def test_memory_is_bounded(tiny_weights: Path) -> None:
    data = paoncodec.encode(NOISE, model=tiny_weights, lossless=True)
    with pytest.raises(UsageError, match="a picture of 90x70 takes about"):
        api.decode_picture(data, max_memory=1)
    large = np.tile(DRAWING, (2, 2, 1))
    webp, png = (
        read(paoncodec.encode(large, model=tiny_weights, lossless=True, max_memory=memory))
        for memory in (2**40, 1)
    )
    assert webp.sections[SectionKind.SAMPLES].startswith(b"RIFF")  # which takes more memory
    assert png.sections[SectionKind.SAMPLES].startswith(b"\x89PNG")


def test_no_map_of_bits(tiny_weights: Path) -> None:
    data = paoncodec.encode(NOISE, model=tiny_weights, lossless=True)
    with pytest.raises(UsageError, match="keeps its samples without loss"):
        api.rate_map(data)


def test_what_holds_something_else_is_refused(tiny_weights: Path) -> None:
    container = read(paoncodec.encode(NOISE, model=tiny_weights, lossless=True))
    for payload in (b"else", container.sections[SectionKind.SAMPLES][:-100]):
        data = write(container.header, {SectionKind.SAMPLES: payload})
        with pytest.raises(MalformedStream) as caught:
            paoncodec.decode(data)
        start = nbytes(read(data).header)
        assert (caught.value.field, caught.value.offset) == ("samples", start)
    other = paoncodec.encode(NOISE ^ 1, model=tiny_weights, lossless=True)
    data = write(container.header, dict(read(other).sections))
    with pytest.raises(MalformedStream, match="their CRC-32 is"):
        paoncodec.decode(data)


def test_verification_compares_samples(tiny_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "read_samples", lambda container: NOISE ^ 1)
    with pytest.raises(DecodeDesync, match="another value of samples"):
        paoncodec.encode(NOISE, model=tiny_weights, lossless=True, verify=True)
