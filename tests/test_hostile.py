"""Files and weights made to do harm: refused in a line, soon, and never a wrong picture.

What hypothesis, or `tools/fuzz.py`, has found stays here as an example of its own.
"""

from __future__ import annotations

import pickle
import tracemalloc
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

import paoncodec
from paoncodec import api, codecs, zoo
from paoncodec.bitstream import Container, SectionKind, deflate, read, write
from paoncodec.codecs import load_weights, save_weights
from paoncodec.codecs.registry import load_start
from paoncodec.coding import load_coder
from paoncodec.entropy import FrozenTables, Reader, SymbolModel, Writer
from paoncodec.errors import DecodeDesync, MalformedStream, PaonError, WeightsError

CONFORMANCE = Path(__file__).parent / "conformance"
ARCHITECTURES = ("mbt-paon", "elic-paon")
Z, Y = SectionKind.Z, SectionKind.Y

# Fixtures of a whole session are the same for all examples.
fuzzed = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


def weights_of(arch: str) -> Path:
    return CONFORMANCE / "weights" / f"{arch}.safetensors"


def stream(arch: str, version: int = 1) -> Container:
    return read((CONFORMANCE / "streams" / f"{arch}-v{version}.bin").read_bytes())


def forged(container: Container, sections: dict[int, bytes], **header: Any) -> bytes:
    """A file with other payloads and fields, and checksums that are right."""
    return write(replace(container.header, **header), {**container.sections, **sections})


def line_of(error: PaonError) -> str:
    assert "\n" not in str(error)
    assert len(str(error)) < 600
    return str(error)


def require_named(section: str, error: MalformedStream) -> None:
    line_of(error)
    assert error.field == section


words = st.binary(max_size=80).map(lambda data: data[: len(data) // 4 * 4])


@pytest.mark.parametrize("arch", ARCHITECTURES)
@given(z=words, y=words, sides=st.tuples(st.integers(1, 4096), st.integers(1, 4096)))
@example(z=b"", y=b"", sides=(2048, 2048))
@example(z=b"", y=b"", sides=(4096, 4096))
@example(z=b"\xff" * 80, y=b"\xff" * 80, sides=(4096, 4096))
@fuzzed
def test_payloads_of_anything_under_any_size(
    arch: str, z: bytes, y: bytes, sides: tuple[int, int]
) -> None:
    width, height = sides
    data = forged(stream(arch), {Z: z, Y: y}, width=width, height=height)
    with pytest.raises((MalformedStream, DecodeDesync)) as caught:
        paoncodec.decode(data, model=weights_of(arch))
    line_of(caught.value)


@pytest.mark.parametrize("arch", ARCHITECTURES)
@given(which=st.sampled_from([Z, Y]), flips=st.lists(st.integers(0, 2**16), max_size=3), cut=words)
@fuzzed
def test_payloads_of_a_true_file_with_damage(
    arch: str, which: SectionKind, flips: list[int], cut: bytes
) -> None:
    """Right checksums around wrong payloads: whatever is not refused has the right latents."""
    container = stream(arch)
    payload = bytearray(container.sections[which] + cut)
    for bit in flips:
        payload[bit // 8 % len(payload)] ^= 1 << bit % 8
    data = forged(container, {which: bytes(payload)})
    try:
        found = api.decode_picture(data, model=weights_of(arch))
    except (MalformedStream, DecodeDesync) as error:
        line_of(error)
        return
    sound = api.decode_picture(forged(container, {}), model=weights_of(arch))
    assert np.array_equal(found.samples, sound.samples)


class Counting:
    """Tables of a coder, and how many symbols have been asked of them."""

    def __init__(self, model: SymbolModel) -> None:
        self.model, self.asked = model, 0
        self.escape = model.escape

    def groups(self, tables: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for members, rows in self.model.groups(tables):
            self.asked += len(members)
            yield members, rows

    def join(self, *given: np.ndarray) -> np.ndarray:
        return self.model.join(*given)


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("words", [0, 1, 30])
def test_what_a_small_file_claims_costs_no_more_than_a_small_file(arch: str, words: int) -> None:
    """Of the millions of symbols that a picture would have, those of some groups are read."""
    codec, _ = load_weights(weights_of(arch))
    model = Counting(SymbolModel(codec.y_tables))
    reader = Reader(model, np.random.default_rng(1).bytes(4 * words), "y")
    tables = np.random.default_rng(0).integers(0, len(codec.y_tables), (4000, 50))
    with pytest.raises(MalformedStream, match=r"end before its symbols do|not what an encoder"):
        list(map(reader, tables))
    assert model.asked <= 50 * (words + 3)


def test_a_true_payload_is_never_held_to_end_too_early() -> None:
    """Symbols of nearly no information, and of most: the coder spends what the tables say."""
    rows = [[2**16 - 1, 1], [2**16 - 4, 1, 1, 1, 1], [1] * 5000 + [2**16 - 5000], [2**14] * 4]
    tables = FrozenTables()
    tables.set([torch.tensor([0, *np.cumsum(row)]) for row in rows], [0] * len(rows))
    model = SymbolModel(tables)
    for table, value in ((0, 0), (1, 0), (2, 7), (3, 1)):
        which = np.full(20000, table)
        writer = Writer(model)
        writer(which, np.full(20000, value))
        reader = Reader(model, writer.getvalue(), "y")
        for part in np.array_split(which, 40):
            assert (reader(part) == value).all()
        reader.finish()


beside = st.sampled_from([SectionKind.ALPHA, SectionKind.ICC, SectionKind.EXIF, SectionKind.XMP])


@given(kind=beside, payload=st.binary(max_size=60), deflated=st.booleans())
@example(kind=SectionKind.ALPHA, payload=b"\x89PNG\r\n\x1a\n", deflated=False)
@example(kind=SectionKind.ALPHA, payload=b"RIFF\0\0\0\0WEBPVP8L", deflated=False)
@fuzzed
def test_sections_of_anything(kind: SectionKind, payload: bytes, deflated: bool) -> None:
    payload = deflate(payload) if deflated else payload
    data = forged(stream("mbt-paon", 2), {kind: payload})
    try:
        picture = api.decode_picture(data, model=weights_of("mbt-paon"))
    except MalformedStream as error:
        require_named(kind.name.lower(), error)
        return
    assert kind is not SectionKind.ALPHA
    assert deflate(getattr(picture.metadata, kind.name.lower()) or b"") == payload or not deflated


@given(at=st.integers(0, 10**6), value=st.integers(0, 255), cut=st.integers(0, 30))
@fuzzed
def test_alpha_of_a_true_file_with_damage(at: int, value: int, cut: int) -> None:
    for name in ("mbt-paon-v2", "mbt-paon-grey-16-v2"):
        container = read((CONFORMANCE / "streams" / f"{name}.bin").read_bytes())
        payload = bytearray(container.sections[SectionKind.ALPHA])
        payload[at % len(payload)] = value
        data = forged(container, {SectionKind.ALPHA: bytes(payload[: len(payload) - cut])})
        try:
            picture = api.decode_picture(data, model=weights_of("mbt-paon"))
        except MalformedStream as error:
            require_named("alpha", error)
        else:
            assert picture.alpha.shape == picture.samples.shape[:2]


LOSSLESS = ("lossless-v3", "lossless-grey-v3", "lossless-16-v3", "lossless-grey-16-v3")


def lossless_stream(name: str) -> Container:
    return read((CONFORMANCE / "streams" / f"{name}.bin").read_bytes())


@given(payload=st.binary(max_size=60), name=st.sampled_from(LOSSLESS))
@example(payload=b"\x89PNG\r\n\x1a\n", name="lossless-16-v3")
@example(payload=b"RIFF\0\0\0\0WEBPVP8L", name="lossless-v3")
@fuzzed
def test_samples_of_anything(payload: bytes, name: str) -> None:
    data = forged(lossless_stream(name), {SectionKind.SAMPLES: payload})
    with pytest.raises(MalformedStream) as caught:
        api.decode_picture(data)
    require_named("samples", caught.value)


@given(
    name=st.sampled_from(LOSSLESS),
    at=st.integers(0, 10**6),
    value=st.integers(0, 255),
    cut=st.integers(0, 30),
    mended=st.booleans(),
)
@fuzzed
def test_samples_of_a_true_file_with_damage(
    name: str, at: int, value: int, cut: int, mended: bool
) -> None:
    """Right checksums around wrong payloads: there is a picture of that kind, or none."""
    container = lossless_stream(name)
    payload = bytearray(container.sections[SectionKind.SAMPLES])
    payload[at % len(payload)] = value
    payload = payload[: len(payload) - cut]
    if mended and payload.startswith(b"\x89PNG"):
        payload = with_right_checksums(bytes(payload))
    data = forged(container, {SectionKind.SAMPLES: bytes(payload)})
    try:
        samples = api.decode_picture(data).samples
    except MalformedStream as error:
        require_named("samples", error)
        return
    header = container.header
    assert samples.shape == (header.height, header.width, header.channels)
    assert 8 * samples.itemsize == header.depth


def with_right_checksums(png: bytes) -> bytes:
    """A PNG whose chunks have the CRCs of what is in them."""
    made, at = bytearray(png[:8]), 8
    while at + 12 <= len(png):
        end = at + 8 + int.from_bytes(png[at : at + 4], "big")
        made += png[at:end] + zlib.crc32(png[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return bytes(made)


def test_a_bomb_of_metadata_takes_little_memory() -> None:
    bomb = zlib.compress(bytes(2**28), 9)
    data = forged(stream("mbt-paon", 2), {SectionKind.XMP: bomb})
    tracemalloc.start()
    try:
        with pytest.raises(MalformedStream, match="inflates to more than"):
            api.decode_picture(data, model=weights_of("mbt-paon"))
        assert tracemalloc.get_traced_memory()[1] < 2**26
    finally:
        tracemalloc.stop()


def rewritten(source: Path, target: Path, change: Callable[[dict[str, Tensor]], object]) -> Path:
    """Weights with other tensors."""
    with safe_open(source, framework="pt") as file:
        metadata = file.metadata()
    tensors = {name: tensor.clone() for name, tensor in load_file(source).items()}
    change(tensors)
    save_file(tensors, target, metadata=metadata)
    return target


def refusal(reader: Callable[[Path], object], path: Path) -> str:
    """What a person is told, if anything."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, of types that are odd
        try:
            reader(path)
        except WeightsError as error:
            return line_of(error)
    return ""


def refusals(path: Path) -> list[str]:
    """What people are told who load a model, and who load a coder."""
    return [refusal(reader, path) for reader in (load_weights, load_coder)]


READERS = st.sampled_from([load_weights, load_coder])
SHAPES = st.lists(st.integers(0, 9), max_size=4)
DTYPES = st.sampled_from([torch.float16, torch.float64, torch.int32, torch.uint8, torch.bool])


@pytest.mark.parametrize("arch", ARCHITECTURES)
@given(data=st.data())
@fuzzed
def test_tensors_of_any_kind(arch: str, data: st.DataObject, tmp_path: Path) -> None:
    def change(tensors: dict[str, Tensor]) -> None:
        name = data.draw(st.sampled_from(sorted(tensors)))
        how = data.draw(st.sampled_from(["shape", "type", "value", "gone"]))
        if how == "shape":
            tensors[name] = torch.ones(data.draw(SHAPES), dtype=tensors[name].dtype)
        elif how == "type":
            tensors[name] = tensors[name].to(data.draw(DTYPES))
        elif how == "value" and tensors[name].numel():
            at = data.draw(st.integers(0, tensors[name].numel() - 1))
            whole = not tensors[name].is_floating_point()
            numbers = st.sampled_from([0, 1, -1, 2**14] if whole else [0.0, 1e30, -1e9, np.nan])
            tensors[name].view(-1)[at] = data.draw(numbers)
        else:
            del tensors[name]

    path = rewritten(weights_of(arch), tmp_path / "x.safetensors", change)
    refusal(data.draw(READERS), path)


@given(at=st.integers(0, 3000), value=st.integers(0, 255), cut=st.integers(0, 2), reader=READERS)
@fuzzed
def test_bytes_of_weights_files(
    at: int, value: int, cut: int, reader: Callable[[Path], object], tmp_path: Path
) -> None:
    """Most of those at the beginning are names, shapes and types."""
    content = bytearray(weights_of("mbt-2018").read_bytes())
    content[at] = value
    path = tmp_path / "x.safetensors"
    path.write_bytes(content[: len(content) - 1000 * cut])
    refusal(reader, path)


@given(at=st.integers(0, 10**6), value=st.integers(0, 255), cut=st.integers(0, 2))
@fuzzed
def test_bytes_of_checkpoints(at: int, value: int, cut: int, tmp_path: Path) -> None:
    path = tmp_path / "x.pth.tar"
    torch.save({"state_dict": load_file(weights_of("mbt-2018")), "lmbda": 0.01}, path)
    content = bytearray(path.read_bytes())
    content[at % len(content)] = value
    path.write_bytes(content[: len(content) - 1000 * cut])
    refusal(load_weights, path)


@given(st.binary(max_size=60))
@example(pickle.dumps({"state_dict": 1}, protocol=2))
@example(b"\x80\x02c__builtin__\neval\n.")
@fuzzed
def test_pickles_of_anything(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.pth"
    path.write_bytes(b"\x80\x02" + content)
    assert all(refusals(path))


def test_widths_beyond_the_file_take_no_memory(tmp_path: Path) -> None:
    """Two tensors of some megabytes say that there is a layer of 36 terabytes."""

    def change(tensors: dict[str, Tensor]) -> None:
        tensors["g_a.0.numerator"] = torch.zeros(600_000, 1, 1, 1)
        tensors["g_a.1.numerator"] = torch.zeros(600_000, 1, 1, 1)

    path = rewritten(weights_of("mbt-paon"), tmp_path / "x.safetensors", change)
    assert all("larger than the shapes" in told for told in refusals(path))


def test_a_width_without_content_takes_no_memory(tmp_path: Path) -> None:
    def change(tensors: dict[str, Tensor]) -> None:
        tensors["h_s.4.weight"] = torch.zeros(2**31, 0)

    path = rewritten(weights_of("mbt-paon"), tmp_path / "x.safetensors", change)
    assert all(refusals(path))


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("name", ["g_s.3.bias", "entropy_bottleneck.", "h_a.0.weight"])
def test_weights_that_are_no_numbers(name: str, bad: float, tmp_path: Path) -> None:
    """Neither saved, where CompressAI would look for quantiles for ever, nor loaded."""
    model, _ = load_weights(weights_of("mbt-paon"))
    name = next(n for n, _ in model.named_parameters() if n.startswith(name))
    with torch.no_grad():
        model.get_parameter(name).view(-1)[0] = bad
    with pytest.raises(WeightsError, match="NaN or infinity"):
        save_weights(model, tmp_path / "x.safetensors", "mbt-paon", {})
    assert not list(tmp_path.iterdir())
    path = rewritten(
        weights_of("mbt-paon"),
        tmp_path / "x.safetensors",
        lambda tensors: tensors.update({name: model.get_parameter(name).data.clone()}),
    )
    assert all("NaN or infinity" in told for told in refusals(path))
    torch.save(model.state_dict(), tmp_path / "x.pth.tar")
    for load in (load_weights, load_start):
        with pytest.raises(WeightsError, match="NaN or infinity"):
            load(tmp_path / "x.pth.tar")


def test_weights_that_float16_does_not_hold(tmp_path: Path) -> None:
    model = codecs.build("mbt-paon", {"N": 8, "M": 8})
    with torch.no_grad():
        model.g_a[1].numerator[0, 0, 0, 0] = 1e5
    save_weights(model, tmp_path / "full.safetensors", "mbt-paon", {})
    with pytest.raises(WeightsError, match="NaN or infinity"):
        save_weights(model, tmp_path / "half.safetensors", "mbt-paon", {}, half=True)


@torch.no_grad()
def test_a_prior_without_bounds_is_refused() -> None:
    """Finite weights whose logits are not, and quantiles that would make tables of gigabytes."""
    model = codecs.build("mbt-paon", {"N": 4, "M": 4})
    for name, parameter in model.entropy_bottleneck.named_parameters():
        if "matri" in name:
            parameter.fill_(1e20)
    with pytest.raises(WeightsError, match="beyond floating point"):
        model.update(update_quantiles=True)
    model = codecs.build("mbt-paon", {"N": 4, "M": 4})
    model.entropy_bottleneck.quantiles[0, 0, 2] = 1e9
    with pytest.raises(WeightsError, match="apart"):
        model.update()


def test_a_synthesis_beyond_numbers_is_no_picture(tmp_path: Path) -> None:
    path = rewritten(
        weights_of("mbt-2018"), tmp_path / "x.safetensors", lambda t: t["g_s.0.weight"].fill_(6e4)
    )
    rewritten(path, path, lambda t: t.update({"g_s.2.weight": t["g_s.2.weight"].float() * 1e36}))
    data = forged(stream("mbt-2018"), {}, weights_id=zoo.resolve(path).identity)
    with pytest.raises(WeightsError, match="NaN or infinity of this picture"):
        paoncodec.decode(data, model=path)
