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
    nbytes,
    pack,
    round_quality,
    unpack,
)

__all__ = [
    "MAGIC",
    "VERSION",
    "Container",
    "Header",
    "Limits",
    "Section",
    "SectionKind",
    "Sniff",
    "nbytes",
    "pack",
    "read",
    "round_quality",
    "sniff",
    "unpack",
    "write",
]
