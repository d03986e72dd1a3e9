"""The file: a header, then the payloads of its sections, then nothing.

    header | payload of z | payload of y | payloads of what else there is
    header | payloads of what else there is, samples among it

docs/format.md is the normative description.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from zlib import crc32

from paoncodec.bitstream.header import (
    MAGIC,
    Header,
    Section,
    SectionKind,
    is_ignorable,
    nbytes,
    offset_of,
    pack,
    section_name,
    unpack,
)
from paoncodec.errors import LimitExceeded, MalformedStream, TruncatedStream, UnsupportedSection

__all__ = ["Container", "Limits", "Sniff", "read", "sniff", "write"]


_LATENTS = (SectionKind.Z, SectionKind.Y)


class Sniff(Enum):
    """What the first bytes of a file say."""

    OURS = "ours"
    OTHER = "other"
    SHORT = "short"


@dataclass(frozen=True)
class Limits:
    """What a reader accepts; `max_pixels` bounds width x height."""

    max_pixels: int = 2**28

    def __post_init__(self) -> None:
        if self.max_pixels < 1:
            raise ValueError(f"max_pixels is {self.max_pixels}, legal is 1 or more")


@dataclass(frozen=True)
class Container:
    """A file taken apart: its header and the verified payload of each section, by kind.

    Sections that this release does not know, and that a reader may do without, are among them.
    """

    header: Header
    sections: dict[int, bytes]


def sniff(head: bytes) -> Sniff:
    """Tell from the first bytes (four are enough) whether a file is ours.

    SHORT means that more bytes are needed to tell.

    >>> sniff(b"PAON").name, sniff(b"PA").name, sniff(b"\\x89PNG").name
    ('OURS', 'SHORT', 'OTHER')
    """
    if head.startswith(MAGIC):
        return Sniff.OURS
    return Sniff.SHORT if MAGIC.startswith(head) else Sniff.OTHER


def write(header: Header, sections: Mapping[int, bytes]) -> bytes:
    """Make a file of `header` and the payload of every section.

    The section table is computed here: what `header.sections` holds is not used.

    Raises:
        ValueError: there is neither samples nor both z and y, or something of both; a section is
            too long, or not of the header's version.
    """
    if problem := _incomplete(sections):
        raise ValueError(f"sections are {list(sections)}: {problem}")
    payloads = {kind: sections[kind] for kind in sorted(sections)}
    table = tuple(Section(kind, len(data), crc32(data)) for kind, data in payloads.items())
    return b"".join([pack(replace(header, sections=table)), *payloads.values()])


def read(data: bytes, limits: Limits = Limits()) -> Container:
    """Take a file apart; every byte of it is verified.

    Lengths are only believed after the header's CRC, and no more memory is taken than the
    payloads that are there.

    Raises:
        NotOurFile: it does not start with our magic.
        TruncatedStream: it ends too early.
        UnsupportedVersion, UnsupportedSection: it needs a later release.
        LimitExceeded: the picture has more pixels than `limits` allows.
        MalformedStream: anything else, with the field and its offset.
    """
    header = unpack(data)
    _check_limits(header, limits)
    _check_complete(header)
    _check_length(header, len(data))
    return Container(header, _verified_payloads(header, data))


def _check_limits(header: Header, limits: Limits) -> None:
    if header.width * header.height > limits.max_pixels:
        offset = offset_of(header, "width")
        raise LimitExceeded(header.width, header.height, limits.max_pixels, offset)


def _check_complete(header: Header) -> None:
    start = offset_of(header, "sections")
    found = {section.kind for section in header.sections}
    if problem := _incomplete(found):
        raise MalformedStream("sections", start, problem)
    for kind in found:
        if kind not in list(SectionKind) and not is_ignorable(kind):
            raise UnsupportedSection(kind, start)


def _incomplete(kinds: Collection[int]) -> str | None:
    """What is wrong with sections of these kinds: a file has the picture's latents or its samples,
    one of the two and the whole of it."""
    if SectionKind.SAMPLES in kinds:
        extra = [section_name(kind) for kind in _LATENTS if kind in kinds]
        return f"section {extra[0]} beside samples" if extra else None
    missing = [section_name(kind) for kind in _LATENTS if kind not in kinds]
    return f"section {missing[0]} is missing" if missing else None


def _check_length(header: Header, have: int) -> None:
    end = nbytes(header)
    for section in header.sections:
        end += section.length
        if end > have:
            raise TruncatedStream(need=end, have=have, field=_payload_name(section))
    if end < have:
        reason = f"{have - end} bytes after the last section, legal are 0 (two files joined?)"
        raise MalformedStream("end of file", end, reason)


def _verified_payloads(header: Header, data: bytes) -> dict[int, bytes]:
    payloads = {}
    start = nbytes(header)
    for section in header.sections:
        payload = data[start : start + section.length]
        found = crc32(payload)
        if found != section.crc32:
            reason = f"CRC-32 is {found:08x}, legal is {section.crc32:08x}"
            raise MalformedStream(_payload_name(section), start, reason)
        payloads[section.kind] = payload
        start += section.length
    return payloads


def _payload_name(section: Section) -> str:
    return f"payload of {section_name(section.kind)}"
