"""The header: what a decoder has to know before it touches the payload.

`FIELDS` is the one definition; `pack`, `unpack`, `nbytes` and the tables of docs/format.md all
come from it. To extend the format, raise `VERSION` and put the new field (with `since=VERSION`
and a default in `Header`) just before `header_crc`; nothing else may change. New kinds of sections
need no new version: see `is_ignorable`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise
from typing import Any
from zlib import crc32

from paoncodec.bitstream.fields import (
    U32,
    Codec,
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
from paoncodec.errors import MalformedStream, NotOurFile, UnsupportedVersion

__all__ = [
    "FIELDS",
    "MAGIC",
    "SECTION_FIELDS",
    "VERSION",
    "Header",
    "Section",
    "SectionKind",
    "is_ignorable",
    "lowest_version",
    "nbytes",
    "offset_of",
    "pack",
    "round_quality",
    "section_name",
    "unpack",
]

MAGIC = b"PAON"
VERSION = 3

# Lengths and sizes stay below 2^31 so that a reader in any language can keep them in an int32.
_MAX_INT32 = 2**31 - 1
_QUALITY = FixedPoint(lowest=1, highest=6, denominator=256)


class SectionKind(IntEnum):
    """What a section's payload holds; sections stand in the order of these numbers.

    From 128 on a reader may do without what it does not know: see `is_ignorable`.
    """

    Z = 1
    Y = 2
    ALPHA = 3
    SAMPLES = 4
    ICC = 128
    EXIF = 129
    XMP = 130


_FIRST_IGNORABLE = 128
_LATENTS = (SectionKind.Z, SectionKind.Y)


def is_ignorable(kind: int) -> bool:
    """Whether the picture is right without this section, should a reader not know what it is."""
    return kind >= _FIRST_IGNORABLE


def section_name(kind: int) -> str:
    """What to call a section: its name in docs/format.md, or its number if we know none.

    >>> section_name(2), section_name(200)
    ('y', 'section 200')
    """
    try:
        return SectionKind(kind).name.lower()
    except ValueError:
        return f"section {kind}"


class _KindByte(Codec[int]):
    """A section kind: those we know as `SectionKind`, the others, which a reader meets in files of
    later releases, as plain numbers."""

    layout = "u8"
    legal = (
        ", ".join(f"{kind.value} = {kind.name.lower()}" for kind in SectionKind)
        + "; another one up to 255"
    )

    def problem(self, value: int) -> str | None:
        return None if isinstance(value, int) and 1 <= value <= 255 else self._refusal(value)

    def write(self, out: bytearray, value: int) -> None:
        out.append(value)

    def parse(self, cursor: Cursor, field: str) -> int:
        number = cursor.take(1, field)[0]
        return SectionKind(number) if number in list(SectionKind) else number


SECTION_FIELDS = (
    Field("kind", _KindByte(), "what the payload holds"),
    Field("length", Varint(range(_MAX_INT32 + 1)), "bytes of the payload"),
    Field("crc32", U32, "CRC-32 of the payload"),
)


@dataclass(frozen=True)
class Section:
    """An entry of the section table; ValueError if a value is not legal."""

    kind: int
    length: int
    crc32: int

    def __post_init__(self) -> None:
        check_record(self, SECTION_FIELDS)


class _Implicit(Codec[None]):
    """Bytes that follow from the file itself."""

    implicit = True

    def problem(self, value: None) -> str | None:
        return None


class _Magic(_Implicit):
    """The constant bytes that every file starts with."""

    layout = f"{len(MAGIC)} bytes"
    legal = f"`{MAGIC.hex(' ')}` (`{MAGIC.decode()}`)"

    def write(self, out: bytearray, value: None) -> None:
        out += MAGIC

    def parse(self, cursor: Cursor, field: str) -> None:
        head = cursor.data[: len(MAGIC)]
        # The first bytes of our magic are a file of ours cut short, not somebody else's.
        if not MAGIC.startswith(head):
            raise NotOurFile(head)
        cursor.take(len(MAGIC), field)


class _Checksum(_Implicit):
    """CRC-32 of every byte before it."""

    layout = "u32"
    legal = "as computed"

    def write(self, out: bytearray, value: None) -> None:
        U32.write(out, crc32(out))

    def parse(self, cursor: Cursor, field: str) -> None:
        start = cursor.offset
        computed = crc32(cursor.data[:start])
        stored = U32.parse(cursor, field)
        if stored != computed:
            raise MalformedStream(field, start, f"is {stored:08x}, legal is {computed:08x}")


class _Version(UInt):
    """The format version: one above those we know is not damage, but a later format."""

    def parse(self, cursor: Cursor, field: str) -> int:
        found = super().parse(cursor, field)
        newest = self.values[-1]
        if found > newest:
            raise UnsupportedVersion(found, newest, offset=cursor.offset - self.size)
        return found


class _SectionTable(Codec["tuple[Section, ...]"]):
    """A count and that many entries, each kind at most once and in ascending order."""

    layout = "u8 n, then n entries"
    legal = "kinds ascending, none twice"

    def problem(self, value: tuple[Section, ...]) -> str | None:
        for before, after in pairwise(value):
            if after.kind == before.kind:
                return f"{section_name(after.kind)} is there twice (legal: {self.legal})"
            if after.kind < before.kind:
                names = f"{section_name(after.kind)} follows {section_name(before.kind)}"
                return f"{names} (legal: {self.legal})"
        return None

    def write(self, out: bytearray, value: tuple[Section, ...]) -> None:
        out.append(len(value))
        for section in value:
            out += write_record(section, SECTION_FIELDS)

    def parse(self, cursor: Cursor, field: str) -> tuple[Section, ...]:
        count = cursor.take(1, field)[0]
        return tuple(
            Section(**read_record(cursor, SECTION_FIELDS, prefix=f"{field}[{index}]."))
            for index in range(count)
        )


FIELDS = (
    Field("magic", _Magic(), "tells our files from others"),
    Field("version", _Version(range(1, VERSION + 1), size=1), "format version"),
    Field("model", ShortText(32, "a-z0-9._-"), "name of the model"),
    Field("weights_id", FixedBytes(8), "first 8 bytes of the SHA-256 of the weights file"),
    Field("width", Varint(range(1, _MAX_INT32 + 1)), "pixels in a row"),
    Field("height", Varint(range(1, _MAX_INT32 + 1)), "rows"),
    Field("channels", UInt((1, 3), size=1), "1 grey, 3 RGB"),
    Field("quality", _QUALITY, "the quality the encoder ran with"),
    Field("latents_crc", U32, "CRC-32 of the latents, or of the samples"),
    Field("sections", _SectionTable(), "the section table"),
    Field("depth", UInt((8, 16), size=1), "bits per sample, of alpha too", since=2),
    Field("header_crc", _Checksum(), "CRC-32 of every byte before it"),
)


@dataclass(frozen=True)
class Header:
    """All that the header holds; a value that is not legal raises ValueError.

    Attributes:
        model: name of the model, 1 to 32 of a-z, 0-9, `.`, `_` and `-`.
        weights_id: first 8 bytes of the SHA-256 of the weights file.
        width, height: size of the picture in pixels, each 1 to 2^31 - 1.
        channels: 1 (grey) or 3 (RGB).
        quality: 1 to 6 in steps of 1/256; see `round_quality`.
        latents_crc: CRC-32 of the latents, or of samples that stand in their place.
        sections: the section table; `container.write` fills it.
        version: format version; 1 can hold neither another depth than 8 nor other sections than z
            and y, 2 no samples. `lowest_version` tells which one a picture needs.
        depth: bits per sample, 8 or 16.
    """

    model: str
    weights_id: bytes
    width: int
    height: int
    channels: int
    quality: float
    latents_crc: int
    sections: tuple[Section, ...] = ()
    version: int = 1
    depth: int = 8

    def __post_init__(self) -> None:
        check_record(self, FIELDS)
        needed = lowest_version(self.depth, [section.kind for section in self.sections])
        if self.version < needed:
            raise ValueError(f"version: {self.version} is too low for what the file holds")


def lowest_version(depth: int, kinds: Iterable[int]) -> int:
    """The format version that a file needs: the older it is, the more releases read it."""
    found = set(kinds)
    if SectionKind.SAMPLES in found:
        return 3
    return 1 if depth == 8 and found <= set(_LATENTS) else 2


def round_quality(quality: float) -> float:
    """Round to the nearest quality that a header can hold, halves to even.

    The encoder must run with the rounded value, since it is the one the decoder will see:
    that is why `Header` refuses others in place of rounding by itself.

    Raises:
        ValueError: outside 1 to 6, or NaN.

    >>> round_quality(4.1)
    4.1015625
    """
    return _QUALITY.nearest(quality)


def pack(header: Header) -> bytes:
    """Write the header, its CRC at the end."""
    return write_record(header, FIELDS, header.version)


def unpack(data: bytes) -> Header:
    """Read the header that `data` starts with; what follows it is not looked at.

    Encodings are canonical: the header took the first `nbytes(unpack(data))` bytes.

    Raises:
        MalformedStream: or a subclass of it, at the first field that is wrong.
    """
    values = read_record(Cursor(data), FIELDS)
    _check_version(values)
    return Header(**values)


def _check_version(values: Mapping[str, Any]) -> None:
    for index, section in enumerate(values["sections"]):
        version, needed = values["version"], lowest_version(8, [section.kind])
        if version < needed:
            before = Header(**{**values, "sections": values["sections"][:index]})
            name = section_name(section.kind)
            reason = f"{name} in a file of version {version} (legal: {needed} or later)"
            start = offset_of(before, "header_crc")
            raise MalformedStream(f"sections[{index}].kind", start, reason)


def nbytes(header: Header) -> int:
    """Size of the packed header in bytes."""
    return len(pack(header))


def offset_of(header: Header, name: str) -> int:
    """Where the field `name` starts, in bytes from the start of the file."""
    names = [field.name for field in FIELDS]
    return len(write_record(header, FIELDS[: names.index(name)], header.version))
