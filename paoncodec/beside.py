"""What a file holds beside latents: transparency, samples that are kept as they are, and metadata,
to sections and back."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING
from zlib import crc32

from paoncodec.bitstream import (
    METADATA_LIMIT,
    Container,
    SectionKind,
    deflate,
    inflate,
    section_name,
)
from paoncodec.errors import MalformedStream, PictureWarning

if TYPE_CHECKING:
    from paoncodec.images import Metadata, Picture, Samples

__all__ = ["checksum", "from_sections", "read_metadata", "read_samples", "to_sections"]

_METADATA = {"icc": SectionKind.ICC, "exif": SectionKind.EXIF, "xmp": SectionKind.XMP}


def to_sections(picture: Picture, strip: bool, memory: float = float("inf")) -> dict[int, bytes]:
    """The payloads of a picture's alpha and, unless `strip` is set, of its metadata.

    Args:
        picture: whose they are.
        strip: leave the metadata out.
        memory: bytes that this may take, about.

    Warns:
        PictureWarning: metadata is too large, and left out.
    """
    from paoncodec.images import lossless_bytes

    sections: dict[int, bytes] = {}
    if picture.alpha is not None:
        sections[SectionKind.ALPHA] = lossless_bytes(picture.alpha[:, :, None], memory)
    for name, data in {} if strip else picture.metadata.items().items():
        if len(data) > METADATA_LIMIT:
            text = f"{len(data)} bytes of {name.upper()} left out: {METADATA_LIMIT} are allowed"
            warnings.warn(text, PictureWarning, stacklevel=2)
            continue
        sections[_METADATA[name]] = deflate(data)
    return sections


def from_sections(container: Container) -> tuple[Samples | None, Metadata]:
    """Alpha and metadata of a verified file.

    Raises:
        MalformedStream: a payload holds something else; the field is the section's name, its
            offset counts from the start of the payload.
    """
    metadata = read_metadata(container)
    if SectionKind.ALPHA not in container.sections:
        return None, metadata
    return read_samples(container, SectionKind.ALPHA)[:, :, 0], metadata


def read_samples(container: Container, kind: SectionKind = SectionKind.SAMPLES) -> Samples:
    """What a section of a verified file, samples or alpha, holds without loss: (H, W, C).

    Raises:
        MalformedStream: as `from_sections`.
    """
    from paoncodec.images import read_lossless

    header = container.header
    channels = 1 if kind is SectionKind.ALPHA else header.channels
    shape = header.height, header.width, channels
    try:
        samples = read_lossless(container.sections[kind], shape, header.depth)
    except ValueError as error:
        raise MalformedStream(section_name(kind), 0, str(error)) from error
    if kind is SectionKind.SAMPLES and (found := checksum(samples)) != header.latents_crc:
        reason = f"their CRC-32 is {found:08x}, legal is {header.latents_crc:08x}"
        raise MalformedStream(section_name(kind), 0, reason)
    return samples


def checksum(samples: Samples) -> int:
    """CRC-32 of samples (H, W, C) in this order, low bytes first: what stands in the header."""
    return crc32(samples.astype(f"<u{samples.itemsize}", copy=False).tobytes())


def read_metadata(container: Container) -> Metadata:
    """Metadata of a verified file.

    Raises:
        MalformedStream: as `from_sections`.
    """
    from paoncodec.images import Metadata

    found = container.sections
    return Metadata(
        **{
            name: inflate(found[kind], section_name(kind)) or None
            for name, kind in _METADATA.items()
            if kind in found
        }
    )
