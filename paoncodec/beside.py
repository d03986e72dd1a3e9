"""What a file holds beside the latents: transparency and metadata, to sections and back."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

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

__all__ = ["from_sections", "read_metadata", "to_sections"]

_METADATA = {"icc": SectionKind.ICC, "exif": SectionKind.EXIF, "xmp": SectionKind.XMP}


def to_sections(picture: Picture, strip: bool) -> dict[int, bytes]:
    """The payloads of a picture's alpha and, unless `strip` is set, of its metadata.

    Warns:
        PictureWarning: metadata is too large, and left out.
    """
    from paoncodec.images import alpha_bytes

    sections: dict[int, bytes] = {}
    if picture.alpha is not None:
        sections[SectionKind.ALPHA] = alpha_bytes(picture.alpha)
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
    from paoncodec.images import read_alpha

    header, found = container.header, container.sections
    metadata = read_metadata(container)
    if SectionKind.ALPHA not in found:
        return None, metadata
    try:
        alpha = read_alpha(found[SectionKind.ALPHA], header.height, header.width, header.depth)
    except ValueError as error:
        raise MalformedStream("alpha", 0, str(error)) from error
    return alpha, metadata


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
