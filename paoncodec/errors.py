"""What can go wrong, each kind with the exit code a script sees.

Every message is one line that says which value was met, what is legal and what to do next.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "DecodeDesync",
    "ImageError",
    "LimitExceeded",
    "MalformedStream",
    "NotOurFile",
    "OutOfReach",
    "PaonError",
    "PictureLeftOut",
    "PictureWarning",
    "TablesMade",
    "TargetMissed",
    "TruncatedStream",
    "UnsupportedSection",
    "UnsupportedVersion",
    "UsageError",
    "WeightsError",
]


class PaonError(Exception):
    """Base of all errors that paoncodec raises on purpose; by itself, a fault of paoncodec."""

    exit_code: ClassVar[int] = 70


class UsageError(PaonError):
    """The call or the command line asks for something that does not exist."""

    exit_code = 2


class OutOfReach(UsageError):
    """No quality of a model reaches the target."""


class ImageError(PaonError):
    """The picture cannot be read, or is of a kind that is not supported."""

    exit_code = 3


class PictureLeftOut(UserWarning):
    """A picture of a data set cannot be used, and another takes its place; the text names it."""


class PictureWarning(UserWarning):
    """Something about a picture is not kept as it is: a frame, a colour space, metadata."""


class TargetMissed(UserWarning):
    """A model of one quality misses the target, and was the nearest there was."""


class TablesMade(UserWarning):
    """Weights came without probability tables, which were made on this machine."""


class MalformedStream(PaonError):
    """The bytes are not a file that a decoder may go on with.

    Args:
        field: what was being read, by its name in docs/format.md.
        offset: where it starts, in bytes from the start of the file.
        reason: the value met and what is legal, without a full stop.
    """

    exit_code = 4
    summary: ClassVar[str] = "damaged file"
    remedy: ClassVar[str] = "fetch or encode it again"

    def __init__(self, field: str, offset: int, reason: str) -> None:
        super().__init__(field, offset, reason)
        self.field = field
        self.offset = offset
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.summary}: {self.field} at byte {self.offset}: {self.reason}; {self.remedy}"


# The subclasses below set `args` to what their own constructor takes: an exception is unpickled
# by calling its class with `args`, and one raised in a worker process has to reach the parent.


class NotOurFile(MalformedStream):
    """The file does not start with our magic; `head` is its first bytes."""

    summary = "not a paoncodec file"
    remedy = "give a file written by `paoncodec encode`"

    def __init__(self, head: bytes) -> None:
        super().__init__("magic", 0, f"starts with {head[:4]!r}, legal is b'PAON'")
        self.args = (head,)
        self.head = head


class TruncatedStream(MalformedStream):
    """The file ends too early.

    Args:
        need: the least length in bytes that the part read so far allows.
        have: the length in bytes that was given.
        field: what was being read.
    """

    summary = "file cut short"

    def __init__(self, need: int, have: int, field: str = "file") -> None:
        super().__init__(field, have, f"needs at least {need} bytes, has {have}")
        self.args = (need, have, field)
        self.need = need
        self.have = have


class UnsupportedVersion(MalformedStream):
    """The file's format version `found` is above `newest`, the highest this release reads."""

    summary = "file of a later format"
    remedy = "upgrade paoncodec"

    def __init__(self, found: int, newest: int, offset: int) -> None:
        super().__init__("version", offset, f"is {found}, this release reads up to {newest}")
        self.args = (found, newest, offset)
        self.found = found
        self.newest = newest


class UnsupportedSection(MalformedStream):
    """The picture is not right without a section of `kind`, which this release does not know."""

    summary = "file of a later format"
    remedy = "upgrade paoncodec"

    def __init__(self, kind: int, offset: int) -> None:
        reason = f"section {kind} belongs to the picture, and this release does not know it"
        super().__init__("sections", offset, reason)
        self.args = (kind, offset)
        self.kind = kind


class LimitExceeded(MalformedStream):
    """The picture has more pixels than the caller allows; `offset` is that of the width."""

    summary = "picture too large"
    remedy = "raise --max-pixels (max_pixels in Python) if you trust the file"

    def __init__(self, width: int, height: int, max_pixels: int, offset: int) -> None:
        pixels = f"{width} x {height} = {width * height} pixels, at most {max_pixels} are allowed"
        super().__init__("width, height", offset, pixels)
        self.args = (width, height, max_pixels, offset)
        self.width = width
        self.height = height
        self.max_pixels = max_pixels


class WeightsError(PaonError):
    """The weights are missing, damaged, or other than those the file was made with."""

    exit_code = 5


class DecodeDesync(PaonError):
    """The decoded latents differ from the encoder's; no picture is made from them."""

    exit_code = 6
