"""The `.bin` file as bytes: what it holds, how it is written, and how it is read with distrust.

Only bytes live here: no pictures, no numpy, no torch. docs/format.md describes the format.
"""

from paoncodec.bitstream.container import Container, Limits, Sniff, read, sniff, write
from paoncodec.bitstream.header import (
    MAGIC,
    VERSION,
    Header,
    Section,
    SectionKind,
    lowest_version,
    nbytes,
    pack,
    round_quality,
    section_name,
    unpack,
)
from paoncodec.bitstream.metadata import METADATA_LIMIT, deflate, inflate

__all__ = [
    "MAGIC",
    "METADATA_LIMIT",
    "VERSION",
    "Container",
    "Header",
    "Limits",
    "Section",
    "SectionKind",
    "Sniff",
    "deflate",
    "inflate",
    "lowest_version",
    "nbytes",
    "pack",
    "read",
    "round_quality",
    "section_name",
    "sniff",
    "unpack",
    "write",
]
