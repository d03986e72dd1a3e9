"""The header against a serializer written out by hand from docs/format.md."""

from dataclasses import replace
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paoncodec.bitstream import (
    Header,
    Section,
    SectionKind,
    lowest_version,
    nbytes,
    pack,
    round_quality,
    unpack,
)
from paoncodec.bitstream.header import FIELDS, offset_of
from paoncodec.errors import MalformedStream, NotOurFile, TruncatedStream, UnsupportedVersion

BIGGEST = 2**31 - 1
Z, Y = SectionKind.Z, SectionKind.Y

HEADER = Header(
    model="mbt-paon-small",
    weights_id=b"\x00\x01\xfe\xff\n\r\x1a ",
    width=768,
    height=512,
    channels=3,
    quality=4.5,
    latents_crc=0xDEADBEEF,
    sections=(Section(Z, 1500, 0x01020304), Section(Y, 30000, 0xFFFFFFFF)),
)


def varint(value):
    groups = [value >> shift & 0x7F for shift in range(0, max(1, value.bit_length()), 7)]
    return bytes([group | 0x80 for group in groups[:-1]] + groups[-1:])


def u32(value):
    return value.to_bytes(4, "little")


def text(value):
    return bytes([len(value)]) + value.encode()


def entry(kind, length, crc):
    return bytes([kind]) + varint(length) + u32(crc)


ENTRIES = entry(1, 1500, 0x01020304) + entry(2, 30000, 0xFFFFFFFF)
PIECES = {
    "magic": b"PAON",
    "version": b"\x01",
    "model": text("mbt-paon-small"),
    "weights_id": b"\x00\x01\xfe\xff\n\r\x1a ",
    "width": varint(768),
    "height": varint(512),
    "channels": b"\x03",
    "quality": varint(1152),
    "latents_crc": u32(0xDEADBEEF),
    "sections": b"\x02" + ENTRIES,
}


def by_hand(**changed):
    """A header from PIECES, some of them changed, with the right CRC."""
    body = b"".join({**PIECES, **changed}.values())
    return body + u32(crc32(body))


def start_of(name):
    names = list(PIECES)
    return sum(len(PIECES[before]) for before in names[: names.index(name)])


sizes = st.one_of(st.integers(1, BIGGEST), st.integers(1, 300))
u32s = st.integers(0, 2**32 - 1)
tables = st.sets(st.sampled_from(SectionKind)).flatmap(
    lambda kinds: st.tuples(
        *(st.builds(Section, st.just(k), st.integers(0, BIGGEST), u32s) for k in sorted(kinds))
    )
)


def with_the_lowest_version(**fields):
    kinds = [section.kind for section in fields["sections"]]
    return Header(**fields, version=lowest_version(fields["depth"], kinds))


headers = st.builds(
    with_the_lowest_version,
    model=st.text("abcxyz0189._-", min_size=1, max_size=32),
    weights_id=st.binary(min_size=8, max_size=8),
    width=sizes,
    height=sizes,
    channels=st.sampled_from([1, 3]),
    quality=st.integers(256, 1536).map(lambda steps: steps / 256),
    latents_crc=u32s,
    sections=tables,
    depth=st.sampled_from([8, 16]),
)


@given(headers, st.binary(max_size=4))
@settings(deadline=None)
def test_unpack_inverts_pack_and_nbytes_is_its_length(header, rest):
    packed = pack(header)
    assert unpack(packed + rest) == header
    assert nbytes(header) == len(packed)


def test_pack_is_what_the_format_document_says():
    assert pack(HEADER) == by_hand()
    assert unpack(by_hand()) == HEADER


def test_field_names_and_offsets():
    assert [field.name for field in FIELDS] == [*PIECES, "depth", "header_crc"]
    for name in PIECES:
        assert offset_of(HEADER, name) == start_of(name)
    assert offset_of(HEADER, "header_crc") == len(pack(HEADER)) - 4


def test_later_fields_come_last_before_the_crc():
    since = [field.since for field in FIELDS[:-1]]
    assert since == sorted(since)


LEGAL = [
    ("version", 1, b"\x01"),
    ("model", "a", text("a")),
    ("model", "9" * 32, text("9" * 32)),
    ("weights_id", bytes(8), bytes(8)),
    ("weights_id", b"\xff" * 8, b"\xff" * 8),
    ("width", 1, varint(1)),
    ("width", BIGGEST, varint(BIGGEST)),
    ("height", 1, varint(1)),
    ("height", BIGGEST, varint(BIGGEST)),
    ("channels", 1, b"\x01"),
    ("channels", 3, b"\x03"),
    ("quality", 1, varint(256)),
    ("quality", 6, varint(1536)),
    ("latents_crc", 0, u32(0)),
    ("latents_crc", 2**32 - 1, u32(2**32 - 1)),
    ("sections", (), b"\x00"),
    ("sections", (Section(Y, 0, 0),), b"\x01" + entry(2, 0, 0)),
    ("sections", (Section(Z, BIGGEST, 5),), b"\x01" + entry(1, BIGGEST, 5)),
]


@pytest.mark.parametrize(("name", "value", "encoded"), LEGAL)
def test_values_at_their_bounds(name, value, encoded):
    header = replace(HEADER, **{name: value})
    assert pack(header) == by_hand(**{name: encoded})
    assert unpack(by_hand(**{name: encoded})) == header


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("version", 0),
        ("version", 4),
        ("model", ""),
        ("model", "9" * 33),
        ("model", "Model"),
        ("weights_id", bytes(7)),
        ("weights_id", bytes(9)),
        ("width", 0),
        ("width", BIGGEST + 1),
        ("height", 0),
        ("height", BIGGEST + 1),
        ("channels", 0),
        ("channels", 2),
        ("channels", 4),
        ("depth", 7),
        ("quality", 255 / 256),
        ("quality", 1537 / 256),
        ("quality", 4.1),
        ("latents_crc", -1),
        ("latents_crc", 2**32),
        ("sections", (Section(Z, 0, 0), Section(Z, 0, 0))),
        ("sections", (Section(Y, 0, 0), Section(Z, 0, 0))),
    ],
)
def test_illegal_headers_cannot_be_made(name, value):
    with pytest.raises(ValueError, match=f"^{name}: "):
        replace(HEADER, **{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [("kind", 0), ("kind", 256), ("length", -1), ("length", BIGGEST + 1), ("crc32", 2**32)],
)
def test_illegal_sections_cannot_be_made(name, value):
    with pytest.raises(ValueError, match=f"^{name}: "):
        replace(Section(Z, 0, 0), **{name: value})


@pytest.mark.parametrize(
    ("name", "encoded"),
    [
        ("version", b"\x00"),
        ("model", text("")),
        ("model", text("9" * 33)),
        ("model", text("Model")),
        ("model", b"\x02\xff\xfe"),
        ("width", varint(0)),
        ("width", varint(BIGGEST + 1)),
        ("width", b"\x80\x00"),
        ("height", varint(0)),
        ("height", varint(BIGGEST + 1)),
        ("height", b"\x81\x80\x00"),
        ("channels", b"\x00"),
        ("channels", b"\x02"),
        ("channels", b"\x04"),
        ("quality", varint(255)),
        ("quality", varint(1537)),
        ("sections", b"\x02" + entry(1, 1, 1) + entry(1, 1, 1)),
        ("sections", b"\x02" + entry(2, 1, 1) + entry(1, 1, 1)),
        ("sections", b"\xff" + 255 * entry(1, 1, 1)),
    ],
)
def test_illegal_fields_are_refused_by_name_and_offset(name, encoded):
    with pytest.raises(MalformedStream) as caught:
        unpack(by_hand(**{name: encoded}))
    assert type(caught.value) is MalformedStream
    assert (caught.value.field, caught.value.offset) == (name, start_of(name))


@pytest.mark.parametrize(
    ("second", "field", "inside"),
    [
        (b"\x00" + varint(1) + u32(0), "sections[1].kind", 0),
        (b"\x03" + varint(1) + u32(0), "sections[1].kind", 0),
        (b"\x02" + varint(BIGGEST + 1) + u32(0), "sections[1].length", 1),
        (b"\x02" + b"\x80\x00" + u32(0), "sections[1].length", 1),
    ],
)
def test_illegal_table_entries_are_refused_by_name_and_offset(second, field, inside):
    first = entry(1, 1, 1)
    with pytest.raises(MalformedStream) as caught:
        unpack(by_hand(sections=b"\x02" + first + second))
    offset = start_of("sections") + 1 + len(first) + inside
    assert (caught.value.field, caught.value.offset) == (field, offset)


@pytest.mark.parametrize("version", [4, 255])
@pytest.mark.parametrize("rest", [b"", b"\xff" * 50, by_hand()[5:]])
def test_a_later_version_is_told_from_damage(version, rest):
    with pytest.raises(UnsupportedVersion) as caught:
        unpack(b"PAON" + bytes([version]) + rest)
    assert (caught.value.found, caught.value.newest, caught.value.offset) == (version, 3, 4)


def test_version_2_has_the_depth_before_the_crc():
    header = replace(HEADER, version=2, depth=16)
    body = b"".join({**PIECES, "version": b"\x02", "depth": b"\x10"}.values())
    assert pack(header) == body + u32(crc32(body))
    assert unpack(pack(header)) == header
    assert unpack(pack(replace(HEADER, version=2))).depth == 8
    for wrong in (b"\x00", b"\x09", b"\xff"):
        body = b"".join({**PIECES, "version": b"\x02", "depth": wrong}.values())
        with pytest.raises(MalformedStream) as caught:
            unpack(body + u32(crc32(body)))
        assert caught.value.field == "depth"


@pytest.mark.parametrize(("depth", "kinds", "version"), [(8, [Z, Y], 1), (16, [Z, Y], 2)])
def test_the_lowest_version(depth, kinds, version):
    assert lowest_version(depth, kinds) == version
    assert lowest_version(depth, [*kinds, SectionKind.EXIF]) == 2
    assert lowest_version(depth, [SectionKind.SAMPLES]) == 3


def test_every_flipped_bit_is_found():
    packed = pack(HEADER)
    for bit in range(8 * len(packed)):
        damaged = bytearray(packed)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(MalformedStream):
            unpack(bytes(damaged))


def test_a_flip_that_keeps_the_fields_legal_is_found_by_the_crc():
    packed = bytearray(pack(HEADER))
    packed[offset_of(HEADER, "weights_id")] ^= 1
    with pytest.raises(MalformedStream) as caught:
        unpack(bytes(packed))
    assert (caught.value.field, caught.value.offset) == ("header_crc", len(packed) - 4)


def test_every_prefix_is_cut_short():
    packed = pack(HEADER)
    for have in range(len(packed)):
        with pytest.raises(TruncatedStream) as caught:
            unpack(packed[:have])
        assert caught.value.have == have
        assert have < caught.value.need <= len(packed)


@pytest.mark.parametrize("head", [b"PAO ", b"P\n", b"paon", b"\x89PNG\r\n\x1a\n", b"\x00"])
def test_other_magic_is_not_ours(head):
    with pytest.raises(NotOurFile) as caught:
        unpack(head)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("quality", [1.0, 4.1, 3.14159, 6.0])
def test_rounded_quality_fits_a_header(quality):
    rounded = round_quality(quality)
    assert unpack(pack(replace(HEADER, quality=rounded))).quality == rounded
