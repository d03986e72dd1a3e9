"""Exit codes, messages and travel between processes."""

import pickle

import pytest

from paoncodec import errors
from paoncodec.errors import (
    DecodeDesync,
    ImageError,
    LimitExceeded,
    MalformedStream,
    NotOurFile,
    OutOfReach,
    PaonError,
    TruncatedStream,
    UnsupportedSection,
    UnsupportedVersion,
    UsageError,
    WeightsError,
)

STREAM_ERRORS = [
    (
        MalformedStream("width", 29, "0 is not legal (legal: 1 to 9)"),
        "damaged file: width at byte 29: 0 is not legal (legal: 1 to 9); fetch or encode it again",
    ),
    (
        NotOurFile(b"\n\x00PNG and more"),
        "not a paoncodec file: magic at byte 0: starts with b'\\n\\x00PN', legal is b'PAON'; "
        "give a file written by `paoncodec encode`",
    ),
    (
        TruncatedStream(need=70, have=12, field="model"),
        "file cut short: model at byte 12: needs at least 70 bytes, has 12; "
        "fetch or encode it again",
    ),
    (
        UnsupportedVersion(found=2, newest=1, offset=4),
        "file of a later format: version at byte 4: is 2, this release reads up to 1; "
        "upgrade paoncodec",
    ),
    (
        UnsupportedSection(kind=9, offset=50),
        "file of a later format: sections at byte 50: section 9 belongs to the picture, and this "
        "release does not know it; upgrade paoncodec",
    ),
    (
        LimitExceeded(width=30, height=20, max_pixels=599, offset=28),
        "picture too large: width, height at byte 28: 30 x 20 = 600 pixels, at most 599 are "
        "allowed; raise --max-pixels (max_pixels in Python) if you trust the file",
    ),
]


EXIT_CODES = {
    PaonError: 70,
    UsageError: 2,
    OutOfReach: 2,
    ImageError: 3,
    MalformedStream: 4,
    NotOurFile: 4,
    TruncatedStream: 4,
    UnsupportedSection: 4,
    UnsupportedVersion: 4,
    LimitExceeded: 4,
    WeightsError: 5,
    DecodeDesync: 6,
}


def test_exit_codes():
    public = [
        kind
        for kind in map(vars(errors).__getitem__, errors.__all__)
        if not issubclass(kind, Warning)
    ]
    assert {kind: kind.exit_code for kind in public} == EXIT_CODES
    assert all(issubclass(kind, PaonError) for kind in public)


@pytest.mark.parametrize(("error", "message"), STREAM_ERRORS)
def test_messages(error, message):
    assert isinstance(error, MalformedStream)
    assert str(error) == message


@pytest.mark.parametrize(
    "error", [error for error, _ in STREAM_ERRORS] + [WeightsError("no weights"), DecodeDesync("x")]
)
def test_errors_survive_pickling(error):
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - bytes of our own
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)
