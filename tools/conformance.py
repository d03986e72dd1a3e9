"""Streams that must decode for ever: make them once, check them with every release.

python tools/conformance.py check                             decode all streams and compare
python tools/conformance.py make NAME ... --reason TEXT       add streams of the list below
python tools/conformance.py make NAME ... --reason TEXT --replace

A stream of tests/conformance is a `.bin` file, the latents and samples that it decodes to
(`.npz`), and what else it holds (`.json`), with the reason why it was made. Later releases must
find the same: latents, alpha and metadata exactly, and samples to one level of 8 bits, or exactly
where a stream keeps them without loss. To replace a stream is to break files that people have: it
takes --replace, and its reason is added to the earlier ones. Weights are never replaced.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from _common import run, write_whole
from torch import nn

import paoncodec
from paoncodec import api, codecs, zoo
from paoncodec.beside import checksum, to_sections
from paoncodec.bitstream import Container, Header, SectionKind, lowest_version, read, write
from paoncodec.coding.exact_codec import ExactCodec
from paoncodec.entropy import Reader, SymbolModel
from paoncodec.errors import PaonError, UsageError
from paoncodec.images import Metadata, Picture, Samples, lossless_bytes

FOLDER = Path(__file__).resolve().parents[1] / "tests" / "conformance"

_MBT = {
    "N": 8,
    "M": 12,
    "hyper_width": 8,
    "hyper_synthesis": (8, 8),
    "hyper_out": 16,
    "context_width": 16,
    "parameter_widths": (16, 16),
}
_ELIC = {
    "N": 4,
    "M": 6,
    "groups": (2, 1, 3),
    "hyper_width": 5,
    "hyper_synthesis": (9, 12),
    "hyper_out": 10,
    "channel_widths": (7,),
    "channel_kernels": (5, 3),
    "parameter_widths": ((14, 11), (12, 13), (15, 11)),
}
#: Weights by the name of their file: architecture, options, λ.
MODELS: Mapping[str, tuple[str, Mapping[str, Any], str]] = {
    "mbt-paon": ("mbt-paon", {**_MBT, "shift": "static"}, "0.013"),
    "mbt-paon-variable": ("mbt-paon", {**_MBT, "shift": "none", "variable_rate": True}, "variable"),
    "mbt-2018": ("mbt-2018", _MBT, "0.013"),
    "elic-paon": ("elic-paon", {**_ELIC, "shift": "none"}, "0.013"),
    "elic-2022": ("elic-2022", _ELIC, "0.013"),
    "elic-paon-means": ("elic-paon", {**_ELIC, "shift": "none", "rounding": "means"}, "0.013"),
}


@dataclass(frozen=True)
class Case:
    """What a stream is to hold.

    Attributes:
        weights: a name of MODELS.
        size: height and width.
        channels, depth: of the samples.
        alpha: which transparency: none, "disc" (which WebP holds in the fewest bytes, in 8 bits)
            or "noise" (which PNG does).
        metadata: whether there are a profile, EXIF and XMP.
        quality: for a variable rate.
        kept: which samples the stream keeps without loss, in place of latents: none, "drawing"
            (which WebP holds in the fewest bytes, in 8 bits) or "noise" (which PNG does).
    """

    weights: str
    size: tuple[int, int]
    channels: int = 3
    depth: int = 8
    alpha: str = ""
    metadata: bool = False
    quality: float = 4.0
    kept: str = ""


CASES: Mapping[str, Case] = {
    "mbt-paon-v1": Case("mbt-paon", (100, 130)),
    "mbt-paon-grey-v1": Case("mbt-paon", (1, 17), channels=1),
    "mbt-paon-variable-v1": Case("mbt-paon-variable", (64, 65), quality=2.5),
    "mbt-2018-v1": Case("mbt-2018", (65, 100)),
    "elic-paon-v1": Case("elic-paon", (100, 130)),
    "elic-2022-v1": Case("elic-2022", (65, 100)),
    "elic-paon-means-v1": Case("elic-paon-means", (64, 65), channels=1),
    "mbt-paon-v2": Case("mbt-paon", (50, 70), alpha="disc", metadata=True),
    "mbt-paon-grey-16-v2": Case("mbt-paon", (33, 64), channels=1, depth=16, alpha="noise"),
    "mbt-2018-v2": Case("mbt-2018", (30, 65), depth=16),
    "elic-paon-v2": Case("elic-paon", (50, 70), depth=16, alpha="disc", metadata=True),
    "elic-2022-v2": Case("elic-2022", (20, 65), alpha="noise"),
    "lossless-v3": Case("mbt-paon", (50, 70), kept="drawing", alpha="disc", metadata=True),
    "lossless-grey-v3": Case("mbt-paon", (19, 23), channels=1, kept="noise"),
    "lossless-16-v3": Case("mbt-paon", (20, 31), depth=16, kept="noise", alpha="noise"),
    "lossless-grey-16-v3": Case("mbt-paon", (1, 17), channels=1, depth=16, kept="noise"),
}

#: Arrays of a stream that must be the same for ever; samples that are made of latents may differ by
#: a level of 8 bits.
_EXACT = ("y", "z", "alpha")


@dataclass(frozen=True)
class Observed:
    """What a stream decodes to.

    Attributes:
        arrays: ``y`` and ``z`` (integers; y in single precision where it is rounded around its
            means), but of samples that are kept without loss; ``samples`` (H, W, C) and, if there
            is one, ``alpha``.
        facts: what `paoncodec info` says, and the SHA-256 of each kind of metadata.
    """

    arrays: Mapping[str, npt.NDArray[Any]]
    facts: Mapping[str, Any]


def observe(data: bytes, weights: Path) -> Observed:
    """Decode a stream.

    Raises:
        PaonError: it cannot be decoded.
    """
    container = read(data)
    picture = api.decode_picture(data, model=weights)
    arrays: dict[str, npt.NDArray[Any]] = {"samples": picture.samples}
    if SectionKind.SAMPLES not in container.sections:
        arrays |= _observed_latents(container, weights)
    if picture.alpha is not None:
        arrays["alpha"] = picture.alpha
    described = {name: sha256(text).hexdigest() for name, text in picture.metadata.items().items()}
    return Observed(arrays, {**api.info(data), "metadata": described})


def _observed_latents(container: Container, weights: Path) -> dict[str, npt.NDArray[Any]]:
    codec, _ = codecs.load_weights(weights)
    header, factor = container.header, codec.downsampling_factor
    shape = -(-header.height // factor), -(-header.width // factor)
    y_string, z_string = (container.sections[kind] for kind in (SectionKind.Y, SectionKind.Z))
    y, _ = codec.exact().decode(y_string, z_string, shape)
    tables = np.repeat(np.arange(len(codec.z_tables)), shape[0] * shape[1])
    z = Reader(SymbolModel(codec.z_tables), z_string, "z")(tables).reshape(-1, *shape)
    kind = np.int16 if codec.rounding == "integers" else np.float32
    return {"y": y.numpy().astype(kind), "z": z.astype(np.int16)}


def differences(expected: Observed, found: Observed) -> list[str]:
    """What of a stream has changed, in words; NaN is a change wherever it stands."""
    said = []
    if expected.arrays.keys() != found.arrays.keys():
        said.append(f"arrays: {sorted(found.arrays)}, expected {sorted(expected.arrays)}")
    for name in expected.arrays.keys() & found.arrays.keys():
        exact = name in _EXACT or "y" not in expected.arrays
        said += _array_differences(name, expected.arrays[name], found.arrays[name], exact)
    for name in sorted(expected.facts.keys() | found.facts.keys()):
        was, is_now = expected.facts.get(name), found.facts.get(name)
        if not (is_now == was and name in expected.facts and name in found.facts):
            said.append(f"{name}: {is_now}, expected {was}")
    return said


def _array_differences(
    name: str, was: npt.NDArray[Any], now: npt.NDArray[Any], exact: bool
) -> list[str]:
    if (was.dtype, was.shape) != (now.dtype, now.shape):
        return [f"{name}: {now.dtype} {now.shape}, expected {was.dtype} {was.shape}"]
    with np.errstate(invalid="ignore"):  # infinity less infinity is NaN
        distance = np.abs(was.astype(np.float64) - now.astype(np.float64))
    level = 257 if was.dtype == np.uint16 else 1
    allowed = 0 if exact else level
    # Every distance is asked to be small: one that is NaN is not, though it is not large either.
    wrong = ~(distance <= allowed)
    if not wrong.any():
        return []
    return [f"{name}: {wrong.sum()} of {wrong.size} differ by more than {allowed}"]


def load(name: str, folder: Path = FOLDER) -> tuple[bytes, Path, Observed]:
    """A stream, the path of its weights, and what it must decode to."""
    about = json.loads((folder / "streams" / f"{name}.json").read_text(encoding="utf-8"))
    with np.load(folder / "streams" / f"{name}.npz", allow_pickle=False) as arrays:
        expected = Observed(dict(arrays), about["facts"])
    data = (folder / "streams" / f"{name}.bin").read_bytes()
    return data, folder / "weights" / f"{about['weights']}.safetensors", expected


def names(folder: Path = FOLDER) -> list[str]:
    """Of all streams that are there."""
    return sorted(path.stem for path in (folder / "streams").glob("*.bin"))


def check(name: str, folder: Path = FOLDER) -> list[str]:
    """What this release finds otherwise in a stream; nothing, if all is well."""
    data, weights, expected = load(name, folder)
    try:
        return differences(expected, observe(data, weights))
    except PaonError as error:
        return [str(error)]


def make(name: str, reason: str, replace: bool = False, folder: Path = FOLDER) -> None:
    """Make a stream of CASES, and its weights unless they are there.

    Args:
        name: of the stream.
        reason: why it is made; recorded beside it, after those of its predecessors.
        replace: there may be a stream of this name, which is lost.
        folder: of all streams.

    Raises:
        UsageError: no such case, no reason, or a stream that is there already.
    """
    if name not in CASES:
        raise UsageError(f"stream {name!r}: choose among {', '.join(CASES)}")
    if not reason.strip():
        raise UsageError("a stream is made for a reason: give it with --reason")
    place = folder / "streams" / name
    about = place.with_suffix(".json")
    reasons = []
    if about.exists():
        if not replace:
            raise UsageError(
                f"{name} is there, and files like it are in the world: it must decode as it does. "
                "If it never was right, say so with --reason and --replace"
            )
        reasons = json.loads(about.read_text(encoding="utf-8"))["reasons"]
    case = CASES[name]
    weights = _weights(case.weights, folder / "weights")
    seed = zlib.crc32(name.encode())
    data = _lossless_stream(case, weights, seed) if case.kept else _stream(case, weights, seed)
    found = observe(data, weights)
    _require_lively(found.arrays["samples"])
    arrays = BytesIO()
    np.savez_compressed(arrays, **dict(found.arrays))
    reasons = [*reasons, {"reason": reason.strip(), "release": paoncodec.__version__}]
    text = {"weights": case.weights, "reasons": reasons, "facts": found.facts}
    place.parent.mkdir(parents=True, exist_ok=True)
    write_whole(place.with_suffix(".bin"), data)
    write_whole(place.with_suffix(".npz"), arrays.getvalue())
    write_whole(about, (json.dumps(text, indent=2, ensure_ascii=False) + "\n").encode())


def _require_lively(samples: npt.NDArray[Any]) -> None:
    """A picture that shows something: not all of one colour, or beyond black and white."""
    peak = np.iinfo(samples.dtype).max
    inside = np.mean((samples > 0) & (samples < peak))
    if not (inside > 0.5 and samples.std() > 0.04 * peak):
        raise UsageError(f"{inside:.0%} of the samples in range, deviation {samples.std():.1f}")


@torch.no_grad()
def _weights(name: str, folder: Path) -> Path:
    """Random weights under which latents are of many sizes, and pictures have contrast."""
    path = folder / f"{name}.safetensors"
    if path.exists():
        return path
    arch, options, lmbda = MODELS[name]
    torch.manual_seed(zlib.crc32(name.encode()))
    model = codecs.build(arch, options).eval()
    for layer in model.predictors():
        half = len(layer.bias) // 2
        layer.weight *= 4
        layer.bias[:half] = torch.logspace(-1, 1.5, half)
    _medians(model).add_(torch.linspace(-2.3, 3.1, len(_medians(model))))
    for parameter_name, parameter in model.named_parameters():
        if parameter_name.endswith("shifter.shift"):
            parameter.uniform_(-0.7, 0.7)
    _set_contrast(model)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / path.name
        codecs.save_weights(model, made, arch, {"lmbda": lmbda}, half=True)
        write_whole(path, made.read_bytes())
    return path


def _set_contrast(model: ExactCodec) -> None:
    """Makes g_s answer typical latents with pictures around grey."""
    last: Any = model.g_s[-1]
    weight = last.weight if isinstance(last, nn.ConvTranspose2d) else last.numerator
    y = torch.from_numpy(_latents(_len_of_y(model), (8, 8), 0)).float()[None]
    quality = None if model.gain is None else 4.0
    for _ in range(20):
        spread = float(model.synthesis(y, quality).std())
        weight *= min(10.0, 0.2 / max(spread, 1e-6))
    last.bias += 0.5 - model.synthesis(y, quality).mean(dim=(0, 2, 3))


def _len_of_y(model: ExactCodec) -> int:
    """M, the channels of y."""
    return sum(layer.get_parameter("bias").numel() // 2 for layer in model.predictors())


def _medians(model: ExactCodec) -> torch.Tensor:
    return model.entropy_bottleneck.quantiles[:, 0, 1]


def _latents(channels: int, sides: tuple[int, int], seed: int) -> npt.NDArray[np.float64]:
    """Integers (channels, *sides) of all sizes that are common."""
    deviations = np.logspace(-1, 1.5, channels)[:, None, None]
    return np.rint(np.random.default_rng(seed).normal(size=(channels, *sides)) * deviations)


def _stream(case: Case, weights: Path, seed: int) -> bytes:
    """A file of random latents, some of them as far off as they may be.

    Not of a picture: what g_a makes of one differs between machines in its last bits, and latents
    of our own choice reach every part of the coder.
    """
    codec, _ = codecs.load_weights(weights)
    height, width = case.size
    sides = math.ceil(height / 64), math.ceil(width / 64)
    y = _latents(_len_of_y(codec), (4 * sides[0], 4 * sides[1]), seed)
    # In the corner, where they spoil little of the picture.
    y[0, -1, -2:], y[-1, -2, -1] = (4095, -4095), 300
    z = np.rint(np.random.default_rng(seed + 1).normal(size=(len(_medians(codec)), *sides)) * 4)
    z[-1, 0, 0] = -4095
    shown = torch.from_numpy(z) + _medians(codec)[:, None, None]
    coded = codec.exact().encode(torch.from_numpy(y), shown)
    latents: dict[int, bytes] = {SectionKind.Z: coded.z, SectionKind.Y: coded.y}
    return _file(case, weights, seed, latents, coded.digest)


def _lossless_stream(case: Case, weights: Path, seed: int) -> bytes:
    """A file of random samples."""
    rng = np.random.default_rng(seed)
    peak = 2**case.depth - 1
    shape = (*case.size, case.channels)
    samples = rng.integers(0, peak, shape, endpoint=True)
    if case.kept == "drawing":
        rows, columns = np.indices(case.size) // 9
        samples = samples[rows, columns]
    exact: Samples = samples.astype(f"u{case.depth // 8}")
    kept: dict[int, bytes] = {SectionKind.SAMPLES: lossless_bytes(exact)}
    return _file(case, weights, seed, kept, checksum(exact))


def _file(case: Case, weights: Path, seed: int, content: Mapping[int, bytes], digest: int) -> bytes:
    """A file of latents or samples, and what the case has beside them."""
    sections = {**content, **to_sections(_frame(case, seed), strip=False)}
    found = zoo.resolve(weights)
    header = Header(
        model=found.name,
        weights_id=found.identity,
        width=case.size[1],
        height=case.size[0],
        channels=case.channels,
        quality=found.quality or case.quality,
        latents_crc=digest,
        version=lowest_version(case.depth, sections),
        depth=case.depth,
    )
    return write(header, sections)


def _frame(case: Case, seed: int) -> Picture:
    """A picture of which only what stands beside the samples counts."""
    dtype = np.uint8 if case.depth == 8 else np.uint16
    peak = np.iinfo(dtype).max
    rows, columns = np.ogrid[-1 : 1 : 1j * case.size[0], -1 : 1 : 1j * case.size[1]]
    alpha: Samples | None = None
    if case.alpha == "disc":
        alpha = np.where(rows**2 + columns**2 < 0.8, peak, 0).astype(dtype)
    elif case.alpha == "noise":
        rng = np.random.default_rng(seed)
        alpha = rng.integers(0, peak, case.size, dtype=dtype, endpoint=True)
    metadata = Metadata()
    if case.metadata:
        exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x01\0\0\0\0\0\0\0"
        metadata = Metadata(b"not a profile, but kept as one", exif, "<x:xmpmeta/> ≥".encode())
    return Picture(np.zeros((*case.size, case.channels), dtype), alpha, metadata)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    checking = commands.add_parser("check", help="decode streams and compare")
    making = commands.add_parser("make", help="add streams, with a reason")
    for command in (checking, making):
        command.add_argument("names", nargs="*", metavar="NAME", help="streams (default: all)")
        command.add_argument("--folder", type=Path, default=FOLDER, help="default: %(default)s")
    making.add_argument("--reason", required=True, help="recorded beside the stream")
    making.add_argument("--replace", action="store_true", help="lose a stream that is there")
    arguments = parser.parse_args(argv)
    if arguments.command == "make":
        for name in arguments.names or [n for n in CASES if n not in names(arguments.folder)]:
            make(name, arguments.reason, arguments.replace, arguments.folder)
            print(f"{name}: made")
        return
    failed = False
    for name in arguments.names or names(arguments.folder):
        said = check(name, arguments.folder)
        failed |= bool(said)
        print(f"{name}: {'; '.join(said) or 'as it was'}")
    sys.exit(failed)


if __name__ == "__main__":
    run(main)
