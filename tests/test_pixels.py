"""Pictures in pieces: the file and the samples of the whole, and parts of a picture alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

import paoncodec
from paoncodec import codecs, encoding, pixels
from paoncodec.bitstream import Header, SectionKind, read, write
from paoncodec.coding import strips
from paoncodec.coding.exact_codec import ExactCodec
from paoncodec.errors import DecodeDesync, UsageError
from paoncodec.images import Metadata, Picture, lossless_bytes

REGIONS = [(0, 0, 250, 270), (0, 0, 1, 1), (249, 269, 1, 1), (17, 33, 100, 63), (240, 0, 10, 270)]


@pytest.fixture(scope="module")
def photo(smooth: np.ndarray) -> np.ndarray:
    """A picture (270, 250, 3)."""
    return np.tile(np.concatenate([smooth, smooth[::-1]]), (2, 2, 1))[:270, :250]


@pytest.fixture(scope="module")
def shifting_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A codec whose shifts are predicted from averages over the picture."""
    torch.manual_seed(0)
    model = codecs.build("mbt-paon", {"N": 6, "M": 6, "shift": "predicted"})
    path = tmp_path_factory.mktemp("weights") / "shifting.safetensors"
    codecs.save_weights(model, path, "mbt-paon", {"lmbda": "0.013"})
    return path


@pytest.fixture
def in_pieces(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[int]]:
    """From its call on pictures are cut small. Returns how many pieces each transform had."""
    counts: list[int] = []

    def begin() -> list[int]:
        monkeypatch.setattr(pixels, "_SMALL", 0)
        monkeypatch.setattr(pixels, "PIECE_BYTES", 2**20)
        plan = strips.plan

        def counted(*arguments: object) -> strips.Plan:
            made = plan(*arguments)
            counts.append(len(list(made.pieces())))
            return made

        monkeypatch.setattr(strips, "plan", counted)
        return counts

    return begin


def varied(photo: np.ndarray, kind: str) -> Picture:
    alpha = np.full(photo.shape[:2], 255, np.uint8)
    alpha[50:200, 60:180] = 128
    pictures = {
        "rgb": lambda: Picture(photo),
        "grey": lambda: Picture(photo[:, :, :1].copy()),
        "alpha": lambda: Picture(photo, alpha, Metadata(icc=b"profile")),
        "deep": lambda: Picture(photo.astype(np.uint16) * 257),
    }
    return pictures[kind]()


@pytest.mark.parametrize("kind", ["rgb", "grey", "alpha", "deep"])
def test_pieces_make_the_whole_picture_and_its_file(
    kind: str, photo: np.ndarray, variable_weights: Path, in_pieces: Callable[[], list[int]]
) -> None:
    picture = varied(photo, kind)
    whole = paoncodec.encode(picture, 5, variable_weights)
    decoded = paoncodec.decode_picture(whole, model=variable_weights)
    counts = in_pieces()
    assert paoncodec.encode(picture, 5, variable_weights, verify=True) == whole
    again = paoncodec.decode_picture(whole, model=variable_weights)
    assert len(counts) == 3  # g_a, g_s to verify, g_s
    assert min(counts) > 3
    assert again.samples.dtype == decoded.samples.dtype
    step = np.abs(again.samples.astype(int) - decoded.samples).max()
    assert step <= 1
    assert again.metadata == decoded.metadata


@pytest.mark.parametrize("cut", [False, True])
def test_no_time_goes_into_samples_of_wrong_latents(
    cut: bool,
    photo: np.ndarray,
    variable_weights: Path,
    in_pieces: Callable[[], list[int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = paoncodec.encode(photo, model=variable_weights)
    if cut:
        in_pieces()
    container = read(data)
    header = replace(container.header, latents_crc=container.header.latents_crc ^ 1)
    made: list[torch.Tensor] = []
    synthesis = ExactCodec.synthesis

    def noted(self: ExactCodec, y_hat: torch.Tensor, *quality: float) -> torch.Tensor:
        made.append(y_hat)
        return synthesis(self, y_hat, *quality)

    monkeypatch.setattr(ExactCodec, "synthesis", noted)
    paoncodec.decode(data, model=variable_weights)
    assert made
    made.clear()
    with pytest.raises(DecodeDesync):
        paoncodec.decode(write(header, container.sections), model=variable_weights)
    # But for what is measured on the network, with zeros and NaN.
    assert not any(y_hat.isfinite().all() and y_hat.any() for y_hat in made)


def test_a_target_of_psnr_is_met_in_pieces_too(
    photo: np.ndarray, variable_weights: Path, in_pieces: Callable[[], list[int]]
) -> None:
    whole = paoncodec.encode(photo, model=variable_weights, target_psnr=27.0)
    counts = in_pieces()
    assert paoncodec.encode(photo, model=variable_weights, target_psnr=27.0) == whole
    assert min(counts) > 3


@pytest.mark.parametrize("region", REGIONS, ids=str)
@pytest.mark.parametrize("kind", ["grey", "alpha", "deep"])
def test_a_region_is_a_part_of_the_picture(
    kind: str, region: tuple[int, int, int, int], photo: np.ndarray, variable_weights: Path
) -> None:
    data = paoncodec.encode(varied(photo, kind), 5, variable_weights)
    whole = paoncodec.decode_picture(data, model=variable_weights)
    part = paoncodec.decode_picture(data, model=variable_weights, region=region)
    x, y, width, height = region
    here = slice(y, y + height), slice(x, x + width)
    assert part.samples.shape == (height, width, whole.samples.shape[2])
    assert np.abs(part.samples.astype(int) - whole.samples[here]).max() <= 1
    assert (part.alpha is None) == (whole.alpha is None)
    if part.alpha is not None:
        assert np.array_equal(part.alpha, whole.alpha[here])
    assert part.metadata == whole.metadata


def test_a_region_as_pillows_image(photo: np.ndarray, variable_weights: Path) -> None:
    data = paoncodec.encode(photo, 5, variable_weights)
    image = paoncodec.decode(data, model=variable_weights, region=(17, 33, 100, 63))
    assert image.size == (100, 63)


def test_a_region_costs_what_it_shows(
    photo: np.ndarray, variable_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = paoncodec.encode(photo, 5, variable_weights)
    seen: list[int] = []
    synthesis = ExactCodec.synthesis

    def watched(codec: ExactCodec, y_hat: torch.Tensor, quality: float | None = None) -> object:
        seen.append(y_hat.shape[2] * y_hat.shape[3])
        return synthesis(codec, y_hat, quality)

    monkeypatch.setattr(strips, "bytes_per_latent", lambda *_: 1.0)
    monkeypatch.setattr(strips, "reach", lambda *_: 2)
    monkeypatch.setattr(ExactCodec, "synthesis", watched)
    paoncodec.decode(data, model=variable_weights, region=(100, 100, 16, 16))
    assert seen == [(2 + 2 * 2) ** 2]


def test_a_region_has_four_numbers(photo: np.ndarray, variable_weights: Path) -> None:
    data = paoncodec.encode(photo, model=variable_weights)
    with pytest.raises(UsageError, match=r"region \(1, 2, 3\): give x, y, width and height"):
        paoncodec.decode(data, model=variable_weights, region=(1, 2, 3))
    with pytest.raises(UsageError, match="max_pixels 0: must be at least 1"):
        paoncodec.decode(data, model=variable_weights, max_pixels=0)


@pytest.mark.parametrize(
    "region",
    [(0, 0, 251, 1), (0, 0, 1, 271), (-1, 0, 2, 2), (5, -1, 2, 2), (0, 0, 0, 1), (9, 9, 9, -9)],
)
def test_a_region_that_is_not_in_the_picture_is_refused(
    region: tuple[int, int, int, int], photo: np.ndarray, variable_weights: Path
) -> None:
    data = paoncodec.encode(photo, 5, variable_weights)
    with pytest.raises(UsageError, match="must lie in the picture, which is 250x270"):
        paoncodec.decode(data, model=variable_weights, region=region)


def limit(monkeypatch: pytest.MonkeyPatch, free: float) -> int:
    """A limit that leaves so many bytes, whatever this process holds."""
    held = psutil.Process().memory_info()
    monkeypatch.setattr(psutil.Process, "memory_info", lambda _: held)
    return int(held.rss + free)


def test_a_limit_makes_pieces_smaller_until_none_is_small_enough(
    photo: np.ndarray, variable_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = paoncodec.encode(photo, 5, variable_weights)
    sizes: list[int] = []
    plan = strips.plan

    def watched(*arguments: object) -> strips.Plan:
        made = plan(*arguments)
        sizes.append(made.largest())
        return made

    monkeypatch.setattr(strips, "plan", watched)
    for free in (2.5e6, 2e6):
        enough = limit(monkeypatch, free)
        assert paoncodec.encode(photo, 5, variable_weights, max_memory=enough) == whole
        paoncodec.decode(whole, model=variable_weights, max_memory=enough)
    assert sizes[0] > sizes[2]
    assert sizes[1] > sizes[3]
    for free in (1e5, -1e9):
        for call in (
            lambda most: paoncodec.encode(photo, 5, variable_weights, max_memory=most),
            lambda most: paoncodec.decode(whole, model=variable_weights, max_memory=most),
        ):
            with pytest.raises(UsageError, match="raise --max-memory"):
                call(max(1, limit(monkeypatch, free)))


def test_predicted_shifts_want_the_whole_picture(
    photo: np.ndarray, shifting_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = paoncodec.encode(photo, model=shifting_weights)
    whole = np.asarray(paoncodec.decode(data, model=shifting_weights))
    part = paoncodec.decode(data, model=shifting_weights, region=(17, 33, 100, 63))
    assert np.array_equal(np.asarray(part), whole[33:96, 17:117])
    enough = limit(monkeypatch, 2e8)
    assert paoncodec.encode(photo, model=shifting_weights, max_memory=enough) == data
    monkeypatch.setattr(strips, "bytes_per_latent", lambda *_: 1e6)
    small = limit(monkeypatch, 2e8)
    with pytest.raises(UsageError, match="250x270, which this model's predicted shifts want whole"):
        paoncodec.encode(photo, model=shifting_weights, max_memory=small)
    with pytest.raises(UsageError, match="predicted shifts want whole"):
        paoncodec.decode(data, model=shifting_weights, max_memory=small)


def spoiled(what: str, header: Header, sections: dict[int, bytes]) -> bytes:
    """A sound file, but of something else."""
    if what == "latents":
        header = replace(header, latents_crc=header.latents_crc ^ 1)
    if what == "transparency":
        sections = sections | {SectionKind.ALPHA: lossless_bytes(np.zeros((270, 250, 1), np.uint8))}
    if what == "metadata":
        sections = {kind: data for kind, data in sections.items() if kind != SectionKind.ICC}
    if what == "cannot be decoded":
        sections = sections | {SectionKind.Y: sections[SectionKind.Y][:-4]}
    return write(header, sections)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("latents", "the encoder's had"),
        ("transparency", "gives another transparency"),
        ("metadata", "gives another metadata"),
        ("cannot be decoded", "not what an encoder writes|cannot be decoded|have CRC"),
    ],
)
def test_what_is_not_what_was_encoded_is_found(
    what: str,
    said: str,
    photo: np.ndarray,
    variable_weights: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    picture = varied(photo, "alpha")
    monkeypatch.setattr(encoding, "write", lambda *parts: spoiled(what, *parts))
    paoncodec.encode(picture, 5, variable_weights)
    with pytest.raises(DecodeDesync, match=said):
        paoncodec.encode(picture, 5, variable_weights, verify=True)
