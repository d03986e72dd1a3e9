"""A verified file to the picture that it holds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from paoncodec import zoo
from paoncodec.beside import from_sections, read_samples
from paoncodec.bitstream import Container, Header, SectionKind, nbytes, section_name
from paoncodec.bitstream.header import offset_of
from paoncodec.errors import DecodeDesync, LimitExceeded, MalformedStream, UsageError
from paoncodec.memory import Budget
from paoncodec.region import Region

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from paoncodec.coding import ExactCodec
    from paoncodec.images import Picture, Samples

__all__ = ["RateMap", "is_lossless", "picture_of", "rate_map_of", "region_of"]

# A picture is enlarged to what the model needs before it is coded: up to this many times, if no
# side is below the model's factor, but far more if it is a thin line. So that `max_pixels` bounds
# the memory of those too, what is decoded may have this many times as many pixels, or as many as
# cost next to nothing.
_ENLARGEMENT = 4
_FEW_PIXELS = 2**20
# Memory for each pixel that a lossless image file takes to read (22 measured).
_UNPACKING_BYTES = 24


class RateMap(NamedTuple):
    """Where the bits of a file went.

    Attributes:
        bits: for each part of the payload the bits at each position of its latents, (H', W'), all
            channels together. Their sum is what the file holds, but for its header and some bytes
            at the ends of strings.
        size: height and width in pixels of what the positions share among them: the picture in the
            upper left corner, enlarged to sides that the model can halve often enough.
    """

    bits: dict[str, npt.NDArray[np.float64]]
    size: tuple[int, int]


def is_lossless(container: Container) -> bool:
    """Whether a file holds samples as they are, and no latents."""
    return SectionKind.SAMPLES in container.sections


def picture_of(
    weights: zoo.Weights | None,
    container: Container,
    max_pixels: int,
    max_memory: int | None,
    region: Region | None,
) -> Picture:
    """What a verified file holds.

    Args:
        weights: that it was made with; None: it keeps its samples without loss.
        container: the file.
        max_pixels: bounds what the model enlarges the picture to, too.
        max_memory: bytes that the process may take; None: half of what is free.
        region: only this part of the picture.

    Raises:
        MalformedStream: a payload holds something else.
        DecodeDesync: the latents are not the encoder's.
        UsageError: memory does not suffice.
    """
    from paoncodec.images import Picture

    header = container.header
    if weights is None or SectionKind.ALPHA in container.sections:
        need = _UNPACKING_BYTES * header.width * header.height
        Budget.of(max_memory).require(need, f"a picture of {header.width}x{header.height}")
    with _locating(header):
        alpha, metadata = from_sections(container)
    if alpha is not None and region is not None:
        alpha = region.of(alpha)
    if weights is None:
        samples = _unpacked(container, region)
    else:
        samples = _decompress(weights, container, max_pixels, max_memory, region)
    return Picture(samples, alpha, metadata)


def rate_map_of(weights: zoo.Weights, container: Container, max_pixels: int) -> RateMap:
    """Where the bits of a verified file with latents went."""
    from paoncodec.pixels import enlarged

    codec, header = zoo.shared_coder(weights), container.header
    shape = _latent_shape(codec, header, max_pixels)
    with _locating(header):
        [bits] = codec.spent(_strings(container), shape)
    return RateMap(bits, enlarged(header.height, header.width, codec.downsampling_factor))


def region_of(given: tuple[int, int, int, int] | None, header: Header) -> Region | None:
    """The part of a picture that is asked for.

    Raises:
        UsageError: it does not lie in the picture.
    """
    if given is None:
        return None
    if len(given) != 4:
        raise UsageError(f"region {tuple(given)}: give x, y, width and height")
    x, y, width, height = given
    inside = 0 <= x < x + width <= header.width and 0 <= y < y + height <= header.height
    if not inside:
        raise UsageError(
            f"region {x},{y},{width},{height}: must lie in the picture, which is "
            f"{header.width}x{header.height}"
        )
    return Region(x, y, width, height)


def _unpacked(container: Container, region: Region | None) -> Samples:
    """Samples (H, W, C) of a verified file that keeps them, or of a region of it."""
    with _locating(container.header):
        samples = read_samples(container)
    return samples if region is None else region.of(samples)


def _decompress(
    weights: zoo.Weights,
    container: Container,
    max_pixels: int,
    max_memory: int | None,
    region: Region | None,
) -> Samples:
    """Samples (H, W, C) of a verified file, or of a region of it."""
    from paoncodec import pixels

    header = container.header
    codec = zoo.shared_coder(weights)
    _latent_shape(codec, header, max_pixels)
    with _locating(header):
        return pixels.decoded(
            codec,
            _strings(container),
            (header.height, header.width, header.channels),
            header.depth,
            weights.rate(header.quality),
            Budget.of(max_memory),
            lambda digest: _check_digest(digest, header),
            region,
        )


def _strings(container: Container) -> list[list[bytes]]:
    """As a codec takes them."""
    return [[container.sections[SectionKind.Y]], [container.sections[SectionKind.Z]]]


def _latent_shape(codec: ExactCodec, header: Header, max_pixels: int) -> tuple[int, int]:
    """Sides of the smallest latents; LimitExceeded if the model would enlarge the picture much."""
    from paoncodec.pixels import enlarged

    factor = codec.downsampling_factor
    height, width = enlarged(header.height, header.width, factor)
    allowed = max(_ENLARGEMENT * max_pixels, _FEW_PIXELS)
    if height * width > allowed:
        raise LimitExceeded(width, height, allowed, offset_of(header, "width"))
    return height // factor, width // factor


@contextmanager
def _locating(header: Header) -> Iterator[None]:
    """A codec knows its strings, not where they stood in the file."""
    try:
        yield
    except MalformedStream as error:
        raise MalformedStream(error.field, _start(header, error.field), error.reason) from error


def _start(header: Header, section: str) -> int:
    """Where a section of a file starts, in bytes."""
    start = nbytes(header)
    for entry in header.sections:
        if section_name(entry.kind) == section:
            break
        start += entry.length
    return start


def _check_digest(found: int, header: Header) -> None:
    if found != header.latents_crc:
        raise DecodeDesync(
            f"the decoded latents have CRC-32 {found:08x}, the encoder's had "
            f"{header.latents_crc:08x}: no picture is made from them; please report this with the "
            "file and the versions of torch and paoncodec"
        )
