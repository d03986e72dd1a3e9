"""Metadata comes back as it was, and a payload cannot ask for more memory than is allowed."""

import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paoncodec.bitstream import METADATA_LIMIT, deflate, inflate
from paoncodec.errors import MalformedStream


@given(st.binary(max_size=2000))
def test_what_comes_out_is_what_went_in(data):
    assert inflate(deflate(data), "exif") == data


def test_the_limit_is_inclusive():
    data = bytes(METADATA_LIMIT)
    assert inflate(deflate(data), "icc") == data
    with pytest.raises(ValueError, match="16777217 bytes"):
        deflate(data + b"x")


def test_a_bomb_is_refused_before_it_takes_memory():
    stream = zlib.compressobj(9)
    bomb = b"".join(stream.compress(bytes(2**20)) for _ in range(256)) + stream.flush()
    tracemalloc.start()
    try:
        with pytest.raises(MalformedStream, match="inflates to more than 16777216 bytes"):
            inflate(bomb, "icc")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3 * METADATA_LIMIT


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (b"", "cut short"),
        (b"no zlib", "is no zlib stream"),
        (deflate(b"profile")[:-1], "cut short"),
        (deflate(b"profile") + b"!", "1 bytes after"),
        (deflate(b"profile")[:-4] + bytes(4), "is no zlib stream"),
    ],
)
def test_other_payloads_are_refused_by_name(payload, words):
    with pytest.raises(MalformedStream, match=words) as caught:
        inflate(payload, "icc")
    assert (caught.value.field, caught.value.offset) == ("icc", 0)
