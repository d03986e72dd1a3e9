"""Field codecs: golden bytes, the values just inside and outside each bound, damaged bytes."""

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paoncodec.bitstream.fields import (
    U32,
    Cursor,
    Field,
    FixedBytes,
    FixedPoint,
    ShortText,
    UInt,
    Varint,
    check_record,
    read_record,
    write_record,
)
from paoncodec.errors import MalformedStream, TruncatedStream

CHOICE = UInt((1, 3), size=1)
SIZE = Varint(range(1, 2**31))
QUALITY = FixedPoint(lowest=1, highest=6, denominator=256)
NAME = ShortText(32, "a-z0-9._-")

GOLDEN = [
    (CHOICE, 1, "01"),
    (CHOICE, 3, "03"),
    (U32, 0, "00000000"),
    (U32, 0x12345678, "78563412"),
    (U32, 2**32 - 1, "ffffffff"),
    (SIZE, 1, "01"),
    (SIZE, 127, "7f"),
    (SIZE, 128, "8001"),
    (SIZE, 16383, "ff7f"),
    (SIZE, 16384, "808001"),
    (SIZE, 2**31 - 1, "ffffffff07"),
    (QUALITY, 1, "8002"),
    (QUALITY, 4.5, "8009"),
    (QUALITY, 6.0, "800c"),
    (FixedBytes(3), b"\x00\xff\n", "00ff0a"),
    (NAME, "a", "0161"),
    (NAME, "-._", "032d2e5f"),
    (NAME, "z" * 32, "20" + "7a" * 32),
]

ILLEGAL_VALUES = [
    (CHOICE, [-1, 0, 2, 4, 256, 1.0, "1", None]),
    (U32, [-1, 2**32, 0.0]),
    (SIZE, [-1, 0, 2**31, 5.0]),
    (QUALITY, [255 / 256, 1537 / 256, 0.0, 4.1, float("nan"), float("inf"), -4.0]),
    (FixedBytes(3), [b"", b"12", b"1234", "123"]),
    (NAME, ["", "z" * 33, "A", "é", "a\n", "a b", "a/b", "\\", b"a"]),
]

ILLEGAL_BYTES = [
    (CHOICE, ["00", "02", "04", "ff"]),
    (SIZE, ["00", "8080808008", "ffffffff7f"]),
    (SIZE, ["8000", "8100", "ff8000"]),  # longer than needed
    (SIZE, ["808080808001", "ffffffffff"]),  # no end where one must be
    (QUALITY, ["00", "ff01", "810c"]),
    (NAME, ["00", "21" + "61" * 33, "ff", "0141", "0161".replace("61", "0a")]),
    (NAME, ["01ff", "02c3a9", "015c"]),
]


def flat(cases):
    return [(codec, item) for codec, items in cases for item in items]


def written(codec, value):
    out = bytearray()
    codec.write(out, value)
    return bytes(out)


@pytest.mark.parametrize(("codec", "value", "golden"), GOLDEN)
def test_golden_bytes_both_ways(codec, value, golden):
    assert codec.problem(value) is None
    assert written(codec, value).hex() == golden
    cursor = Cursor(b"..." + bytes.fromhex(golden) + b"rest", offset=3)
    assert codec.read(cursor, "field") == value
    assert cursor.data[cursor.offset :] == b"rest"


@pytest.mark.parametrize(("codec", "value", "golden"), GOLDEN)
def test_every_prefix_is_cut_short(codec, value, golden):
    whole = bytes.fromhex(golden)
    for have in range(len(whole)):
        with pytest.raises(TruncatedStream) as caught:
            codec.read(Cursor(whole[:have]), "field")
        assert (caught.value.field, caught.value.have) == ("field", have)
        assert have < caught.value.need <= len(whole)


@pytest.mark.parametrize(("codec", "value"), flat(ILLEGAL_VALUES))
def test_illegal_values_are_named_with_what_is_legal(codec, value):
    problem = codec.problem(value)
    assert repr(value) in problem
    assert codec.legal in problem


@pytest.mark.parametrize(("codec", "damaged"), flat(ILLEGAL_BYTES))
def test_illegal_bytes_are_refused_at_their_start(codec, damaged):
    with pytest.raises(MalformedStream) as caught:
        codec.read(Cursor(b"..." + bytes.fromhex(damaged), offset=3), "field")
    assert type(caught.value) is MalformedStream
    assert (caught.value.field, caught.value.offset) == ("field", 3)


@given(st.integers(1, 2**31 - 1))
@settings(deadline=None)
def test_varint_returns_with_seven_bits_a_byte(value):
    encoded = written(SIZE, value)
    assert SIZE.read(Cursor(encoded), "field") == value
    assert len(encoded) == -(-value.bit_length() // 7)


@given(st.binary(max_size=7))
@settings(deadline=None)
def test_varint_has_one_form_for_a_value(data):
    cursor = Cursor(data)
    try:
        value = SIZE.read(cursor, "field")
    except MalformedStream:
        return
    assert written(SIZE, value) == data[: cursor.offset]


@given(st.floats(1, 6))
@settings(deadline=None)
def test_nearest_is_legal_and_within_half_a_step(value):
    nearest = QUALITY.nearest(value)
    assert QUALITY.problem(nearest) is None
    assert abs(nearest - value) <= 1 / 512


def test_nearest_takes_halves_to_even():
    assert QUALITY.nearest(2 + 1 / 512) == 2
    assert QUALITY.nearest(2 + 3 / 512) == 2 + 2 / 256


@pytest.mark.parametrize("value", [0.999, 6.001, float("nan"), float("inf"), -float("inf")])
def test_nearest_refuses_what_is_out_of_range(value):
    with pytest.raises(ValueError, match=r"legal: 1 to 6"):
        QUALITY.nearest(value)


@dataclass(frozen=True)
class Record:
    a: int
    b: int = 7
    version: int = 2


OLD = (
    Field("version", UInt(range(1, 3), size=1), "version"),
    Field("a", UInt(range(10), size=1), "first"),
)
NEW = (*OLD, Field("b", UInt(range(10), size=1), "later", since=2))


def test_new_reader_gives_old_data_the_default():
    values = read_record(Cursor(b"\x01\x05"), NEW)
    assert Record(**values) == Record(version=1, a=5, b=7)


def test_fields_of_later_versions_are_written_only_in_them():
    record = Record(a=5, b=9)
    assert write_record(record, NEW, version=1) == b"\x02\x05"
    assert write_record(record, NEW, version=2) == b"\x02\x05\x09"
    assert Record(**read_record(Cursor(b"\x02\x05\x09"), NEW)) == record


def test_a_record_names_its_illegal_field():
    check_record(Record(a=9, b=0), NEW)
    with pytest.raises(ValueError, match=r"^b: 10 is not legal \(legal: 0 to 9\)$"):
        check_record(Record(a=9, b=10), NEW)


def test_the_prefix_goes_before_the_name_in_errors():
    with pytest.raises(MalformedStream) as caught:
        read_record(Cursor(b"\x01\x0a"), OLD, prefix="outer.")
    assert caught.value.field == "outer.a"
