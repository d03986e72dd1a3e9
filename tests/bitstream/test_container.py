"""The file as a whole: what is written, what is refused, and what that costs."""

import random
import re
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paoncodec.bitstream import (
    Header,
    Limits,
    Section,
    SectionKind,
    Sniff,
    nbytes,
    pack,
    read,
    sniff,
    unpack,
    write,
)
from paoncodec.errors import (
    LimitExceeded,
    MalformedStream,
    NotOurFile,
    TruncatedStream,
    UnsupportedSection,
)

ROOT = Path(__file__).resolve().parents[2]
BIGGEST = 2**31 - 1
Z, Y = SectionKind.Z, SectionKind.Y

HEADER = Header(
    model="mbt-paon-small",
    weights_id=bytes(range(8)),
    width=48,
    height=32,
    channels=3,
    quality=4.0,
    latents_crc=0xDEADBEEF,
)
PAYLOADS = {Z: bytes(range(150)), Y: bytes(i * i % 251 for i in range(400))}
FILE = write(HEADER, PAYLOADS)
HEADER_END = len(FILE) - 550
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x02\x00\x00\x00"


def refusal(data, *limits):
    with pytest.raises(MalformedStream) as caught:
        read(data, *limits)
    assert "\n" not in str(caught.value)
    return caught.value


def flipped(data, bit):
    damaged = bytearray(data)
    damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


def test_the_example_of_the_format_document():
    document = (ROOT / "docs" / "format.md").read_text(encoding="utf-8")
    lines = re.search(r"```hex\n(.*?)```", document, re.DOTALL)[1].splitlines()
    example = bytes.fromhex("".join(line.split("   ")[0] for line in lines))
    header = Header("tiny", bytes(range(8)), 300, 2, 1, 4.5, 0x12345678)
    assert write(header, {Z: b"z!", Y: b"yyy"}) == example
    assert read(example).sections == {Z: b"z!", Y: b"yyy"}


@given(st.binary(max_size=300), st.binary(max_size=300))
@settings(deadline=None)
def test_read_inverts_write(z, y):
    data = write(HEADER, {Y: y, Z: z})
    container = read(data)
    table = (Section(Z, len(z), crc32(z)), Section(Y, len(y), crc32(y)))
    assert container.header == replace(HEADER, sections=table)
    assert container.sections == {Z: z, Y: y}
    assert data == pack(container.header) + z + y
    assert write(container.header, container.sections) == data


@pytest.mark.parametrize("sections", [{}, {Z: b""}, {Y: b""}, {Z: b"", 3: b""}])
def test_write_wants_both_latents(sections):
    with pytest.raises(ValueError, match="sections are"):
        write(HEADER, sections)


@pytest.mark.parametrize(
    ("width", "height", "z", "y", "overhead"),
    [
        (1, 1, 0, 0, 54),
        (16383, 16383, 127, 16383, 57),
        (768, 512, 1500, 16383, 58),
        (768, 512, 1500, 30000, 59),
        (BIGGEST, BIGGEST, BIGGEST, BIGGEST, 70),
    ],
)
def test_bytes_that_are_not_payload(width, height, z, y, overhead):
    table = (Section(Z, z, 0), Section(Y, y, 0))
    assert nbytes(replace(HEADER, width=width, height=height, sections=table)) == overhead


@pytest.mark.parametrize(
    ("head", "answer"),
    [
        (FILE, Sniff.OURS),
        (b"PAON", Sniff.OURS),
        (b"PAO", Sniff.SHORT),
        (b"", Sniff.SHORT),
        (b"PAO\n", Sniff.OTHER),
        (b"p", Sniff.OTHER),
        (PNG, Sniff.OTHER),
        (b"Dear reader,\n", Sniff.OTHER),
    ],
)
def test_sniff(head, answer):
    assert sniff(head) is answer


@pytest.mark.parametrize("data", [PNG, b"Dear reader,\n", b"\n", bytes(1000)])
def test_files_of_others(data):
    assert isinstance(refusal(data), NotOurFile)


def test_every_prefix_is_cut_short():
    for have in range(len(FILE)):
        error = refusal(FILE[:have])
        assert type(error) is TruncatedStream
        assert error.have == error.offset == have
        assert have < error.need <= len(FILE)


def test_once_the_header_is_there_the_missing_length_is_known():
    assert refusal(FILE[: HEADER_END + 150]).need == len(FILE)


def test_every_flipped_bit_of_the_header_is_found():
    for bit in range(8 * HEADER_END):
        refusal(flipped(FILE, bit))


def test_flips_in_the_payload_are_found_in_the_section_they_hit():
    rng = random.Random(1)  # noqa: S311 - the same flips in every run
    for bit in (rng.randrange(8 * HEADER_END, 8 * len(FILE)) for _ in range(300)):
        error = refusal(flipped(FILE, bit))
        in_z = bit // 8 < HEADER_END + 150
        hit = ("payload of z", HEADER_END) if in_z else ("payload of y", HEADER_END + 150)
        assert (error.field, error.offset) == hit


@pytest.mark.parametrize("rest", [b"\x00", b"trailing", FILE], ids=["zero", "text", "joined"])
def test_nothing_may_follow(rest):
    error = refusal(FILE + rest)
    assert (error.field, error.offset) == ("end of file", len(FILE))
    assert f"{len(rest)} bytes after" in error.reason


@pytest.mark.parametrize("missing", [Z, Y])
def test_a_missing_section_is_named(missing):
    table = tuple(Section(kind, 0, 0) for kind in (Z, Y) if kind is not missing)
    error = refusal(pack(replace(HEADER, sections=table)))
    assert error.field == "sections"
    assert f"section {missing.name.lower()} is missing" in error.reason


VERSION_2 = replace(HEADER, version=2, depth=16)


def test_sections_beside_the_latents_come_in_the_order_of_their_numbers():
    sections = {SectionKind.XMP: b"x", 77: b"", SectionKind.ALPHA: b"alpha", 255: b"new"}
    data = write(VERSION_2, PAYLOADS | sections)
    assert data.endswith(PAYLOADS[Y] + b"alpha" + b"" + b"x" + b"new")
    header = unpack(data)
    assert [section.kind for section in header.sections] == [1, 2, 3, 77, 130, 255]
    assert (header.version, header.depth) == (2, 16)


def test_version_1_holds_the_latents_alone():
    for kind in (SectionKind.ALPHA, SectionKind.ICC, 200):
        with pytest.raises(ValueError, match="version: 1 is too low"):
            write(HEADER, {**PAYLOADS, kind: b""})
    with pytest.raises(ValueError, match="version: 1 is too low"):
        replace(HEADER, depth=16)


VERSION_3 = replace(HEADER, version=3)


def test_samples_stand_in_place_of_the_latents():
    sections = {SectionKind.SAMPLES: b"samples", SectionKind.ALPHA: b"alpha"}
    data = write(VERSION_3, sections)
    assert data.endswith(b"alphasamples")
    assert read(data).sections == sections
    for kind in (Z, Y):
        with pytest.raises(ValueError, match=f"section {kind.name.lower()} beside samples"):
            write(VERSION_3, {**sections, kind: b""})
        table = tuple(Section(k, 0, 0) for k in sorted([kind, SectionKind.SAMPLES]))
        error = refusal(pack(replace(VERSION_3, sections=table)))
        assert error.field == "sections"
        assert error.reason == f"section {kind.name.lower()} beside samples"


def test_samples_are_of_version_3():
    with pytest.raises(ValueError, match="version: 2 is too low"):
        write(replace(VERSION_3, version=2), {SectionKind.SAMPLES: b""})
    data = bytearray(write(VERSION_3, {SectionKind.SAMPLES: b""}))
    data[4] = 2
    end = nbytes(read(write(VERSION_3, {SectionKind.SAMPLES: b""})).header) - 4
    data[end : end + 4] = crc32(data[:end]).to_bytes(4, "little")
    error = refusal(bytes(data))
    assert error.field == "sections[0].kind"
    assert error.reason == "samples in a file of version 2 (legal: 3 or later)"


@pytest.mark.parametrize("kind", [5, 127])
def test_an_unknown_section_that_belongs_to_the_picture_is_refused(kind):
    error = refusal(write(VERSION_2, {**PAYLOADS, kind: b"what"}))
    assert isinstance(error, UnsupportedSection)
    assert error.kind == kind
    assert "upgrade paoncodec" in str(error)


@pytest.mark.parametrize("kind", [131, 255])
def test_an_unknown_section_that_may_be_ignored_is_kept_and_verified(kind):
    data = write(VERSION_2, {**PAYLOADS, kind: b"what"})
    assert read(data).sections == {**PAYLOADS, kind: b"what"}
    assert refusal(flipped(data, 8 * len(data) - 1)).field == f"payload of section {kind}"


def test_the_pixel_limit_is_inclusive():
    assert read(FILE, Limits(max_pixels=48 * 32)).header.width == 48
    error = refusal(FILE, Limits(max_pixels=48 * 32 - 1))
    assert isinstance(error, LimitExceeded)
    assert (error.width, error.height, error.max_pixels) == (48, 32, 1535)
    assert FILE[error.offset : error.offset + 2] == bytes([48, 32])


def test_the_default_limit():
    table = (Section(Z, 0, 0), Section(Y, 0, 0))
    at_limit = replace(HEADER, width=2**14, height=2**14, sections=table)
    assert read(pack(at_limit)).header.width == 2**14
    above = pack(replace(at_limit, height=2**14 + 1))
    assert isinstance(refusal(above), LimitExceeded)


@pytest.mark.parametrize("max_pixels", [0, -1])
def test_a_limit_admits_at_least_one_pixel(max_pixels):
    with pytest.raises(ValueError, match="max_pixels"):
        Limits(max_pixels=max_pixels)


def test_the_limit_comes_before_the_payload():
    damaged = flipped(FILE, 8 * len(FILE) - 1)
    assert isinstance(refusal(damaged, Limits(max_pixels=1)), LimitExceeded)


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"width": BIGGEST, "height": BIGGEST}, LimitExceeded),
        ({"width": BIGGEST}, LimitExceeded),
        ({"sections": (Section(Z, BIGGEST, 0), Section(Y, BIGGEST, 0))}, TruncatedStream),
    ],
)
def test_huge_sizes_take_no_memory(changes, kind):
    data = pack(replace(HEADER, **changes)) + b"few"
    tracemalloc.start()
    try:
        error = refusal(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert type(error) is kind
    assert peak < 2**16


@given(st.lists(st.tuples(st.integers(4, HEADER_END - 5), st.integers(0, 255)), max_size=4))
@settings(deadline=None)
def test_a_header_forged_with_the_right_crc_is_refused_or_means_what_it_says(changes):
    body = bytearray(FILE[: HEADER_END - 4])
    for offset, value in changes:
        body[offset] = value
    data = bytes(body) + crc32(body).to_bytes(4, "little") + FILE[HEADER_END:]
    try:
        container = read(data)
    except MalformedStream:
        return
    assert write(container.header, container.sections) == data


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_noise_after_the_magic_is_refused(noise):
    refusal(b"PAON" + noise)


def test_importing_the_bitstream_imports_no_heavy_package():
    program = "import sys, paoncodec.bitstream; print({'torch', 'numpy'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"
