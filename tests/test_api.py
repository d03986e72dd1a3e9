"""Pictures to files and back: sizes, channels, rounding, and every way a file can be wrong.

Most of it runs on a codec that stores the samples as they are, so that what comes out must be
what went in; the last tests run on a real one.
"""

from __future__ import annotations

import io
import random
import warnings
import zlib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import save_file
from torch.nn import functional as F

import paoncodec
from paoncodec import api, codecs, zoo
from paoncodec.bitstream import Container, Header, SectionKind, nbytes, read, unpack, write
from paoncodec.errors import (
    DecodeDesync,
    ImageError,
    LimitExceeded,
    MalformedStream,
    NotOurFile,
    PictureWarning,
    TargetMissed,
    TruncatedStream,
    UsageError,
    WeightsError,
)
from paoncodec.images import Metadata, Picture, psnr
from paoncodec.quality import lmbda_of
from paoncodec.targets import Target

SIZES = [(1, 1), (1, 17), (63, 64), (64, 64), (65, 127), (130, 3)]


class StoringCodec:
    """Keeps x as float32 in the string of y: what is decoded is x to the last bit."""

    downsampling_factor = 64

    def __init__(self) -> None:
        self.seen: list[torch.Tensor] = []
        self.offset = 0.0
        self.wrong_digest = 0

    def compress(self, x: torch.Tensor) -> dict[str, Any]:
        assert torch.is_inference_mode_enabled()
        self.seen.append(x)
        y = zlib.compress(x.contiguous().numpy().tobytes())
        shape = (x.shape[2] // 64, x.shape[3] // 64)
        return {"strings": [[y], [b"z"]], "shape": shape, "digests": [zlib.crc32(y)]}

    def decompress_latents(
        self, strings: list[list[bytes]], shape: tuple[int, int]
    ) -> tuple[list[torch.Tensor], list[int]]:
        assert torch.is_inference_mode_enabled()
        [[y], [z]] = strings
        assert z == b"z"
        samples = np.frombuffer(zlib.decompress(y), np.float32)
        x = torch.from_numpy(samples.reshape(3, 64 * shape[0], 64 * shape[1]).copy())
        return [F.pixel_unshuffle(x, 16)], [zlib.crc32(y) ^ self.wrong_digest]

    def synthesis(self, y_hat: torch.Tensor, quality: None) -> torch.Tensor:
        assert torch.is_inference_mode_enabled()
        return F.pixel_shuffle(y_hat, 16) + self.offset


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A storing codec, the weights file it claims to have, and how often it was loaded."""
    path = tmp_path / "fake.safetensors"
    # The file's path and content tell models apart: each test has its own.
    metadata = {"arch": "mbt-paon", "lmbda": "0.013", "test": str(tmp_path)}
    save_file({"w": np.zeros(1)}, str(path), metadata=metadata)
    fake = SimpleNamespace(codec=StoringCodec(), path=path, loads=0)

    def load(weights: zoo.Weights) -> StoringCodec:
        assert weights == zoo.resolve(path)
        fake.loads += 1
        return fake.codec

    monkeypatch.setattr(zoo, "load_coder", load)
    return fake


def picture(height: int, width: int, channels: int, seed: int = 0) -> np.ndarray:
    shape = (height, width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def coded(*given: Any, **options: Any) -> bytes:
    """A file with latents, though samples as they are may take less: see test_lossless.py."""
    return paoncodec.encode(*given, **options, lossless=False)


def changed(data: bytes, **header: Any) -> bytes:
    """The file with another header, all checksums right."""
    container = read(data)
    return write(replace(container.header, **header), container.sections)


def opened(data: bytes) -> Container:
    return read(data)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_what_comes_out_is_what_went_in(
    fake: SimpleNamespace, height: int, width: int, channels: int
) -> None:
    pixels = picture(height, width, channels)
    data = coded(pixels, model=fake.path)
    image = paoncodec.decode(data, model=fake.path)
    assert image.size == (width, height)
    assert image.mode == ("L" if channels == 1 else "RGB")
    np.testing.assert_array_equal(np.asarray(image).reshape(pixels.shape), pixels)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_codec_sees_the_picture_continued_by_its_last_samples(
    fake: SimpleNamespace, channels: int
) -> None:
    pixels = picture(65, 127, channels)
    coded(pixels, model=fake.path)
    [x] = fake.codec.seen
    rows, columns = np.minimum(np.arange(128), 64), np.minimum(np.arange(128), 126)
    expected = pixels[rows][:, columns].astype(np.float32) / np.float32(255)
    assert x.dtype == torch.float32
    assert x.shape == (1, 3, 128, 128)
    for channel in range(3):
        plane = expected[:, :, channel if channels == 3 else 0]
        np.testing.assert_array_equal(x[0, channel].numpy(), plane)


def test_samples_are_rounded_to_the_nearest(fake: SimpleNamespace) -> None:
    pixels = picture(8, 8, 3)
    data = coded(pixels, model=fake.path)
    fake.codec.offset = 0.4 / 255
    np.testing.assert_array_equal(np.asarray(paoncodec.decode(data, model=fake.path)), pixels)
    fake.codec.offset = 0.6 / 255
    brighter = np.minimum(pixels.astype(int) + 1, 255)
    np.testing.assert_array_equal(np.asarray(paoncodec.decode(data, model=fake.path)), brighter)


def test_a_grey_picture_is_the_rounded_mean_of_the_channels(fake: SimpleNamespace) -> None:
    rgb = np.array([[[10, 11, 11], [0, 1, 0], [255, 255, 254]]], np.uint8)
    data = changed(coded(rgb, model=fake.path), channels=1)
    grey = paoncodec.decode(data, model=fake.path)
    assert grey.mode == "L"
    np.testing.assert_array_equal(np.asarray(grey), [[11, 0, 255]])


def test_the_header_says_what_the_file_holds(fake: SimpleNamespace) -> None:
    data = coded(picture(20, 30, 3), model=fake.path)
    weights = zoo.resolve(fake.path)
    container = opened(data)
    assert container.sections[SectionKind.Z] == b"z"
    y = container.sections[SectionKind.Y]
    expected = Header("fake", weights.identity, 30, 20, 3, 4.0, zlib.crc32(y))
    assert replace(container.header, sections=()) == expected


def test_info(sound_file: bytes, tmp_path: Path) -> None:
    facts = {
        "version": 1,
        "model": "mbt-paon-small",
        "weights_id": "0001020304050607",
        "width": 48,
        "height": 32,
        "channels": 3,
        "depth": 8,
        "quality": 4.0,
        "latents_crc": "12345678",
        "bytes": len(sound_file),
        "bpp": 8 * len(sound_file) / (48 * 32),
        "header_bytes": len(sound_file) - 220,
        "sections": {"z": 20, "y": 200},
    }
    path = tmp_path / "a.bin"
    path.write_bytes(sound_file)
    for source in (sound_file, memoryview(sound_file), path, str(path), io.BytesIO(sound_file)):
        assert paoncodec.info(source) == facts


def test_info_of_a_picture_of_any_size(sound_file: bytes) -> None:
    side = 2**31 - 1
    facts = paoncodec.info(changed(sound_file, width=side, height=side))
    assert (facts["width"], facts["height"]) == (side, side)


@pytest.mark.parametrize("route", ["path", "file"])
def test_decode_reads_paths_and_files(fake: SimpleNamespace, tmp_path: Path, route: str) -> None:
    pixels = picture(3, 4, 3)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    data = coded(tmp_path / "a.png", model=fake.path)
    (tmp_path / "a.bin").write_bytes(data)
    source = tmp_path / "a.bin" if route == "path" else io.BytesIO(data)
    image = paoncodec.decode(source, model=fake.path)
    np.testing.assert_array_equal(np.asarray(image), pixels)


def test_the_model_is_loaded_once_for_many_pictures(fake: SimpleNamespace) -> None:
    for _ in range(3):
        data = coded(picture(2, 2, 1), model=fake.path)
        paoncodec.decode(data, model=str(fake.path))
    assert fake.loads == 1


def test_load_codec_shares_nothing(tiny_weights: Path) -> None:
    codec = paoncodec.load_codec(tiny_weights)
    assert isinstance(codec, torch.nn.Module)
    assert codec is not paoncodec.load_codec(tiny_weights)


@pytest.mark.parametrize("quality", [4, 4.0, None])
def test_the_quality_of_the_model_may_be_named(
    fake: SimpleNamespace, quality: float | None
) -> None:
    data = coded(picture(2, 2, 1), quality=quality, model=fake.path)
    assert paoncodec.info(data)["quality"] == 4


@pytest.mark.parametrize("quality", [3, 4.1, 0, -1, float("nan"), float("inf")])
def test_another_quality_is_refused_with_the_one_there_is(
    fake: SimpleNamespace, quality: float
) -> None:
    with pytest.raises(UsageError, match="fake has quality 4 and no other"):
        coded(picture(2, 2, 1), quality=quality, model=fake.path)
    assert fake.loads == 0


def test_a_bad_picture_is_refused_before_a_model_is_loaded(fake: SimpleNamespace) -> None:
    with pytest.raises(ImageError):
        coded(b"not a picture", model=fake.path)
    assert fake.loads == 0


def test_other_latents_are_no_picture(fake: SimpleNamespace) -> None:
    data = coded(picture(2, 2, 1), model=fake.path)
    fake.codec.wrong_digest = 1
    with pytest.raises(DecodeDesync, match=r"CRC-32 [0-9a-f]{8}, the encoder's had [0-9a-f]{8}"):
        paoncodec.decode(data, model=fake.path)


def test_weights_that_nobody_has(sound_file: bytes) -> None:
    with pytest.raises(WeightsError, match="'nobody' with identity 0001020304050607"):
        paoncodec.decode(changed(sound_file, model="nobody"))


def test_other_weights_are_refused(fake: SimpleNamespace, sound_file: bytes) -> None:
    with pytest.raises(WeightsError, match="'mbt-paon-small' with identity 0001020304050607"):
        paoncodec.decode(sound_file, model=fake.path)
    assert fake.loads == 0


def test_a_picture_of_too_many_pixels_is_refused(fake: SimpleNamespace) -> None:
    data = coded(picture(30, 20, 1), model=fake.path)
    assert paoncodec.decode(data, max_pixels=600, model=fake.path).size == (20, 30)
    with pytest.raises(LimitExceeded, match="20 x 30 = 600 pixels, at most 599"):
        paoncodec.decode(data, max_pixels=599, model=fake.path)
    huge = changed(data, width=2**14 + 1, height=2**14)
    with pytest.raises(LimitExceeded):
        paoncodec.decode(huge, model=fake.path)


def test_a_line_is_limited_by_what_it_is_enlarged_to(fake: SimpleNamespace) -> None:
    data = coded(picture(1, 20, 1), model=fake.path)
    line = changed(data, width=2**28)  # 2^34 pixels when enlarged to 64 rows
    with pytest.raises(LimitExceeded, match="268435456 x 64 = 17179869184 pixels"):
        paoncodec.decode(line, model=fake.path)


def test_a_path_that_cannot_be_read(tmp_path: Path) -> None:
    for source in (tmp_path / "nothing.bin", tmp_path):
        with pytest.raises(UsageError, match="cannot be read"):
            paoncodec.decode(source)


def test_every_prefix_is_refused(sound_file: bytes) -> None:
    for length in range(len(sound_file)):
        for call in (paoncodec.info, paoncodec.decode):
            with pytest.raises(TruncatedStream):
                call(sound_file[:length])


def test_every_flipped_bit_of_the_header_is_refused(sound_file: bytes) -> None:
    size = nbytes(unpack(sound_file))
    for bit in range(8 * size):
        broken = bytearray(sound_file)
        broken[bit // 8] ^= 1 << bit % 8
        with pytest.raises(MalformedStream):
            paoncodec.decode(bytes(broken))


def test_flipped_bits_of_the_payload_are_refused(sound_file: bytes) -> None:
    start = 8 * nbytes(unpack(sound_file))
    rng = random.Random(0)  # noqa: S311 - the same flips on every run
    for _ in range(300):
        bit = rng.randrange(start, 8 * len(sound_file))
        broken = bytearray(sound_file)
        broken[bit // 8] ^= 1 << bit % 8
        with pytest.raises(MalformedStream, match=r"payload of [zy]"):
            paoncodec.decode(bytes(broken))


def test_other_things_are_refused(sound_file: bytes) -> None:
    png = io.BytesIO()
    Image.new("L", (3, 3)).save(png, "PNG")
    with pytest.raises(TruncatedStream):
        paoncodec.decode(b"")
    with pytest.raises(NotOurFile):
        paoncodec.decode(png.getvalue())
    with pytest.raises(MalformedStream, match="two files joined"):
        paoncodec.decode(2 * sound_file)


def test_a_file_of_something_else_is_not_read_whole() -> None:
    class Endless(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            assert 0 <= size <= 16, "memory would be taken for it"
            return b"RIFF"[:size]

    with pytest.raises(NotOurFile):
        paoncodec.decode(Endless())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (65, 127)])
def test_a_real_codec(tiny_weights: Path, height: int, width: int, channels: int) -> None:
    pixels = picture(height, width, channels)
    data = coded(pixels, model=tiny_weights)
    image = paoncodec.decode(data, model=tiny_weights)
    assert image.size == (width, height)
    assert image.mode == ("L" if channels == 1 else "RGB")
    assert coded(pixels, model=tiny_weights) == data


def test_a_real_codec_refuses_payloads_that_do_not_fit(tiny_weights: Path) -> None:
    data = coded(picture(64, 64, 3), model=tiny_weights)
    container = read(data)
    sections = container.sections
    for kind in sections:
        longer = write(container.header, sections | {kind: sections[kind] + bytes(64)})
        empty = write(container.header, sections | {kind: b""})
        for wrong in (longer, empty, changed(data, width=640)):
            with pytest.raises((MalformedStream, DecodeDesync)):
                paoncodec.decode(wrong, model=tiny_weights)


def test_the_map_of_bits_adds_up_to_the_payload(tiny_weights: Path, tmp_path: Path) -> None:
    data = coded(picture(70, 130, 3), model=tiny_weights)
    (tmp_path / "a.bin").write_bytes(data)
    bits, size = api.rate_map(tmp_path / "a.bin", model=tiny_weights)
    assert size == (128, 192)
    assert {name: part.shape for name, part in bits.items()} == {"z": (2, 3), "y": (8, 12)}
    for name, size in paoncodec.info(data)["sections"].items():
        assert 0.99 * bits[name].sum() - 1 <= 8 * size <= 1.01 * bits[name].sum() + 64


def test_the_map_of_bits_is_refused_as_the_picture_is(tiny_weights: Path) -> None:
    data = coded(picture(64, 64, 3), model=tiny_weights)
    with pytest.raises(WeightsError):
        api.rate_map(data)
    with pytest.raises(LimitExceeded):
        api.rate_map(data, max_pixels=64 * 64 - 1, model=tiny_weights)
    with pytest.raises(MalformedStream):
        api.rate_map(changed(data, width=640), model=tiny_weights)
    with pytest.raises(NotOurFile):
        api.rate_map(b"something else")


def test_the_default_model_is_in_the_zoo() -> None:
    pixels = picture(16, 16, 3)
    data = coded(pixels)
    assert paoncodec.info(data)["model"] == api.DEFAULT_MODEL
    assert paoncodec.decode(data).size == (16, 16)


def test_the_package_has_these_names() -> None:
    names = {"decode", "decode_picture", "encode", "info", "load_codec", "__version__"}
    assert names <= set(dir(paoncodec))
    assert set(paoncodec.__all__) == names
    with pytest.raises(AttributeError, match="transcode"):
        paoncodec.transcode  # noqa: B018


# Every quality, and targets


def measured(data: bytes, pixels: np.ndarray, model: Path) -> float:
    return psnr(pixels, np.asarray(paoncodec.decode(data, model=model)).reshape(pixels.shape))


def test_a_model_of_all_qualities_codes_at_each_and_the_file_says_which(
    variable_weights: Path,
    smooth: np.ndarray,
) -> None:
    pixels = smooth
    figures = []
    for quality in (1, 3.5, 4.1, 6):
        data = coded(pixels, quality, model=variable_weights)
        assert paoncodec.info(data)["quality"] == round(quality * 256) / 256
        figures.append((len(data), measured(data, pixels, variable_weights)))
    assert figures == sorted(figures)
    assert figures[0][0] < 0.8 * figures[-1][0]
    assert figures[0][1] + 2 < figures[-1][1]


def test_without_a_quality_it_is_4(variable_weights: Path, smooth: np.ndarray) -> None:
    data = coded(smooth, model=variable_weights)
    assert data == coded(smooth, 4, model=variable_weights)


@pytest.mark.parametrize("quality", [0.99, 6.01, float("nan")])
def test_no_quality_beyond_the_scale(
    variable_weights: Path, smooth: np.ndarray, quality: float
) -> None:
    with pytest.raises(UsageError, match=r"^quality .*: choose 1 to 6"):
        coded(smooth, quality, model=variable_weights)


def test_the_picture_follows_the_quality_that_the_file_records(
    variable_weights: Path, smooth: np.ndarray
) -> None:
    data = coded(smooth, 2, model=variable_weights)
    other = changed(data, quality=5.0)
    one, two = (paoncodec.decode(d, model=variable_weights) for d in (data, other))
    assert np.any(np.asarray(one) != np.asarray(two))


@pytest.mark.parametrize("kind", ["target_bpp", "target_size"])
def test_a_target_of_bytes_is_the_best_that_fits(
    variable_weights: Path, smooth: np.ndarray, kind: str
) -> None:
    pixels = smooth
    sizes = [len(coded(pixels, q, model=variable_weights)) for q in (1, 6)]
    wanted = sum(sizes) // 2
    value = wanted if kind == "target_size" else 8 * wanted / (96 * 130)
    data = coded(pixels, model=variable_weights, **{kind: value})
    assert len(data) <= wanted
    quality = paoncodec.info(data)["quality"]
    assert 1 < quality < 6
    assert len(coded(pixels, quality + 1 / 256, model=variable_weights)) > wanted


@pytest.mark.parametrize("channels", [1, 3])
def test_a_target_of_psnr_is_the_smallest_that_is_good_enough(
    variable_weights: Path, smooth: np.ndarray, channels: int
) -> None:
    pixels = smooth[:, :, :channels]
    ends = [
        measured(coded(pixels, q, model=variable_weights), pixels, variable_weights) for q in (1, 6)
    ]
    wanted = sum(ends) / 2
    data = coded(pixels, model=variable_weights, target_psnr=wanted)
    assert measured(data, pixels, variable_weights) >= wanted
    below = paoncodec.info(data)["quality"] - 1 / 256
    worse = coded(pixels, below, model=variable_weights)
    assert measured(worse, pixels, variable_weights) < wanted


def test_a_target_out_of_reach_is_refused(variable_weights: Path, smooth: np.ndarray) -> None:
    with pytest.raises(UsageError, match="100 bytes: quality 1, the lowest, has"):
        coded(smooth, model=variable_weights, target_size=100)
    with pytest.raises(UsageError, match="99 dB: quality 6, the highest, has"):
        coded(smooth, model=variable_weights, target_psnr=99)


@pytest.mark.parametrize(("kind", "value"), [("target_size", 3000), ("target_psnr", 20.0)])
def test_of_models_of_one_quality_the_nearest_is_taken(
    tmp_path: Path, variable_weights: Path, smooth: np.ndarray, kind: str, value: float
) -> None:
    models = [one_quality(variable_weights, tmp_path, q) for q in (1, 4, 6)]
    pixels = smooth
    files = [coded(pixels, model=model) for model in models]
    target = Target(kind.removeprefix("target_"), value)
    figures = [
        len(data) if kind == "target_size" else measured(data, pixels, model)
        for data, model in zip(files, models, strict=True)
    ]
    nearest = min(range(3), key=lambda k: target.distance(figures[k]))
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always", TargetMissed)
        assert coded(pixels, model=models, **{kind: value}) == files[nearest]
    missed = [str(w.message) for w in heard if w.category is TargetMissed]
    name, figure = models[nearest].stem, target.say(figures[nearest])
    text = f"{name}, the nearest of 3 models, comes to {figure}: the target was {target}"
    assert missed == ([] if target.is_met(figures[nearest]) else [text])


@pytest.mark.parametrize("target", [{"target_size": 50}, {"target_bpp": 0.01}, {"target_psnr": 90}])
def test_a_model_of_one_quality_says_that_it_misses_a_target(
    tiny_weights: Path, smooth: np.ndarray, target: dict[str, float]
) -> None:
    with pytest.warns(TargetMissed, match=r"tiny has one quality and comes to .*: the target was"):
        data = coded(smooth, model=tiny_weights, **target)
    assert data == coded(smooth, model=tiny_weights)


def test_a_model_of_one_quality_says_nothing_of_a_target_that_it_reaches(
    tiny_weights: Path, smooth: np.ndarray
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", TargetMissed)
        coded(smooth, model=tiny_weights, target_size=10**6)
        coded(smooth, model=tiny_weights, target_psnr=1)


def one_quality(variable: Path, folder: Path, quality: int) -> Path:
    """Weights of one quality that do what those of all do at it."""
    model, _ = codecs.load_weights(variable)
    fixed = codecs.build("mbt-paon", {**model.config.to_json(), "variable_rate": False})
    state = model.state_dict()
    gain, inverse = (
        state.pop(f"gain.{name}")[quality - 1].exp() for name in ("log_gain", "log_inverse")
    )
    state["g_a.3.numerator"] *= gain[:, None, None, None]
    state["g_a.3.bias"] *= gain
    for name in ("numerator", "denominator"):
        state[f"g_s.0.{name}"] *= inverse[:, None, None, None]
    for name in [name for name in state if "_tables" in name]:
        del state[name]
    fixed.load_state_dict(state, strict=False)
    path = folder / f"q{quality}.safetensors"
    codecs.save_weights(fixed, path, "mbt-paon", {"lmbda": str(lmbda_of(quality))})
    return path


def test_targets_and_models_that_do_not_go_together(
    variable_weights: Path, smooth: np.ndarray, tiny_weights: Path
) -> None:
    pixels = smooth
    for arguments, words in [
        ({"quality": 3, "target_bpp": 1}, "target bpp and quality together"),
        ({"target_psnr": 30, "target_bpp": 1}, "target bpp and target psnr together"),
        ({"model": []}, "no model"),
        ({"model": [tiny_weights, tiny_weights]}, "2 models: choose one, or give a target"),
        (
            {"model": [tiny_weights, variable_weights], "target_bpp": 1},
            "2 models, but variable has all qualities",
        ),
    ]:
        with pytest.raises(UsageError, match=words):
            coded(pixels, **{"model": variable_weights, **arguments})


@pytest.mark.parametrize(("height", "width"), [(1, 1), (70, 129)])
def test_pictures_of_any_size_by_elic(
    tmp_path: Path, smooth: np.ndarray, height: int, width: int
) -> None:
    torch.manual_seed(0)
    sizes = {"groups": (2, 6), "channel_widths": (4,), "channel_kernels": (3, 1), "shift": "none"}
    path = tmp_path / "elic.safetensors"
    model = codecs.build("elic-paon", {"N": 6, "M": 8, **sizes})
    codecs.save_weights(model, path, "elic-paon", {"lmbda": "0.013"})
    data = coded(smooth[:height, :width], model=path)
    decoded = np.asarray(paoncodec.decode(data, model=path))
    assert decoded.shape == (height, width, 3)
    with pytest.raises(TruncatedStream):
        paoncodec.decode(data[:-1], model=path)


# Transparency, depth and metadata


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_alpha_and_all_bits_come_back(fake: SimpleNamespace, channels: int, dtype: type) -> None:
    peak = np.iinfo(dtype).max
    shape = (65, 30, channels)
    pixels = np.random.default_rng(0).integers(0, peak, shape, dtype=dtype, endpoint=True)
    if channels % 2 == 0:
        pixels[:, :, -1] |= 1  # nothing is hidden
    data = coded(pixels, model=fake.path)
    decoded = paoncodec.decode_picture(data, model=fake.path)
    np.testing.assert_array_equal(decoded.with_alpha(), pixels)
    facts = paoncodec.info(data)
    assert facts["depth"] == 8 * pixels.itemsize
    assert ("alpha" in facts["sections"]) == (channels % 2 == 0)
    assert facts["version"] == (1 if channels % 2 and dtype == np.uint8 else 2)


METADATA = Metadata(icc=bytes(500), exif=b"II*\0 and so on", xmp="<x>é</x>".encode())


def test_metadata_comes_back_unless_it_is_stripped(fake: SimpleNamespace) -> None:
    source = Picture(picture(5, 4, 3), None, METADATA)
    data = coded(source, model=fake.path)
    assert paoncodec.decode_picture(data, model=fake.path).metadata == METADATA
    info = paoncodec.decode(data, model=fake.path).info
    exif = b"Exif\0\0" + METADATA.exif  # as Pillow has it
    assert info == {"icc_profile": METADATA.icc, "exif": exif, "xmp": METADATA.xmp}
    assert list(paoncodec.info(data)["sections"]) == ["z", "y", "icc", "exif", "xmp"]
    bare = coded(source, model=fake.path, strip=True)
    assert bare == coded(source.samples, model=fake.path)


def test_too_much_metadata_is_left_out_with_a_warning(fake: SimpleNamespace) -> None:
    source = Picture(picture(5, 4, 3), None, Metadata(icc=b"icc", xmp=bytes(2**24 + 1)))
    with pytest.warns(PictureWarning, match="16777217 bytes of XMP left out"):
        data = coded(source, model=fake.path)
    assert paoncodec.decode_picture(data, model=fake.path).metadata == Metadata(icc=b"icc")


@pytest.mark.parametrize("kind", [SectionKind.ALPHA, SectionKind.ICC, SectionKind.XMP])
def test_a_section_that_holds_something_else_is_refused(
    fake: SimpleNamespace, kind: SectionKind
) -> None:
    source = Picture(picture(5, 4, 3), np.zeros((5, 4), np.uint8), METADATA)
    container = opened(coded(source, model=fake.path))
    data = write(container.header, container.sections | {kind: b"else"})
    with pytest.raises(MalformedStream) as caught:
        paoncodec.decode(data, model=fake.path)
    assert caught.value.field == kind.name.lower()
    assert data[caught.value.offset :].startswith(b"else")
    assert fake.loads == 1  # by the encoder: the fault is found before the latents are decoded


def test_a_section_of_a_later_release_that_may_be_ignored_changes_nothing(
    fake: SimpleNamespace,
) -> None:
    source = Picture(picture(5, 4, 3), None, METADATA)
    container = opened(coded(source, model=fake.path))
    data = write(container.header, {**container.sections, 200: b"new"})
    decoded = paoncodec.decode_picture(data, model=fake.path)
    np.testing.assert_array_equal(decoded.samples, source.samples)
    assert paoncodec.info(data)["sections"]["section 200"] == 3


def test_hidden_colours_cost_next_to_nothing(variable_weights: Path, smooth: np.ndarray) -> None:
    alpha = np.zeros(smooth.shape[:2], np.uint8)
    alpha[20:60, 30:80] = 255
    noise = picture(*smooth.shape)
    noise[alpha > 0] = smooth[alpha > 0]
    sizes = [
        paoncodec.info(coded(pixels, model=variable_weights))["sections"]["y"]
        for pixels in (np.dstack([noise, alpha]), np.dstack([smooth, alpha]), noise, smooth)
    ]
    hidden, same, everything, seen = sizes
    assert hidden == same
    assert hidden <= seen
    assert hidden < 0.7 * everything


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_target_of_psnr_counts_what_is_coded(
    variable_weights: Path, smooth: np.ndarray, dtype: type
) -> None:
    samples = smooth.astype(dtype) * (1 if dtype == np.uint8 else 257)
    one, two = (
        paoncodec.info(coded(pixels, model=variable_weights, target_psnr=30.0))
        for pixels in (smooth, samples)
    )
    assert abs(one["quality"] - two["quality"]) < 0.1
