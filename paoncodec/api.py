"""Pictures to files and back: the only place where bytes, pictures and codecs meet.

Nothing heavy is imported before it is needed. `info` takes neither numpy nor torch, and a file is
verified, and its weights found, before torch is loaded; only what depends on the model, such as the
pixels a thin line is enlarged to, is checked after.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, TypeAlias, cast

from paoncodec import zoo
from paoncodec.beside import from_sections, read_samples, to_sections
from paoncodec.bitstream import (
    Container,
    Header,
    Limits,
    SectionKind,
    Sniff,
    lowest_version,
    nbytes,
    read,
    round_quality,
    section_name,
    sniff,
    write,
)
from paoncodec.bitstream.header import offset_of
from paoncodec.errors import (
    DecodeDesync,
    LimitExceeded,
    MalformedStream,
    NotOurFile,
    UsageError,
)
from paoncodec.memory import Budget
from paoncodec.quality import DEFAULT, HIGHEST, LOWEST
from paoncodec.region import Region
from paoncodec.targets import Target, find_quality

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from compressai.models import CompressionModel
    from PIL import Image

    from paoncodec.coding import ExactCodec
    from paoncodec.images import ImageSource, Picture, Samples

__all__ = [
    "DEFAULT_MODEL",
    "MAX_PIXELS",
    "RateMap",
    "decode",
    "decode_picture",
    "encode",
    "file_bytes",
    "info",
    "load_codec",
    "rate_map",
]

DEFAULT_MODEL = "mbt-paon-small-variable"
MAX_PIXELS = 2**28

DataSource: TypeAlias = "bytes | bytearray | memoryview | str | os.PathLike[str] | BinaryIO"
ModelSource: TypeAlias = "str | os.PathLike[str]"

# A picture is enlarged to what the model needs before it is coded: up to this many times, if no
# side is below the model's factor, but far more if it is a thin line. So that `max_pixels` bounds
# the memory of those too, what is decoded may have this many times as many pixels, or as many as
# cost next to nothing.
_ENLARGEMENT = 4
_FEW_PIXELS = 2**20

_MAGIC_BYTES = 4

# A file of more bits per pixel is compared with a lossless one. Those of coloured photographs take
# 8 to 14, of grey ones 3 to 6; ours take less than this at every quality.
_DEAR_BPP = 4
# Memory for each pixel that a lossless image file takes to write and to read (46 and 22 measured).
_STORING_BYTES = 48
_UNPACKING_BYTES = 24


def encode(
    image: ImageSource,
    quality: float | None = None,
    model: ModelSource | Sequence[ModelSource] = DEFAULT_MODEL,
    *,
    target_bpp: float | None = None,
    target_psnr: float | None = None,
    target_size: int | None = None,
    lossless: bool | None = None,
    strip: bool = False,
    verify: bool = False,
    max_memory: int | None = None,
) -> bytes:
    """Code a picture: the bytes of a `.bin` file (docs/format.md).

    Transparency, colour profile, EXIF and XMP are kept without loss. Colours that full transparency
    hides are not kept: those around take their place, since that costs least.

    Args:
        image: a path, the bytes of an image file, a binary file object, a Pillow image, a
            `paoncodec.images.Picture`, or a uint8 or uint16 array (H, W) or (H, W, 1 to 4). Any
            size from 1×1; grey or RGB of 8 or 16 bits, with or without alpha.
        quality: 1 (small files) to 6. None: that of the model, or 4 if it has them all.
        model: a name of the zoo or the path of a weights file. With a target it may be several of
            one quality each: the file is that of the model that comes nearest.
        target_bpp, target_size: the file has at most so many bits per pixel, or bytes: the highest
            quality that does. A search; it takes about eight times as long.
        target_psnr: the picture has at least so many dB: the lowest quality that does.
        lossless: True: keep the samples as they are, whatever that takes; there is no quality then.
            False: code them with loss, whatever that takes. None: as they are where it makes the
            smaller file, which is so of many drawings, screenshots and icons.
        strip: leave out the colour profile, EXIF and XMP.
        verify: decode the file before it is returned, and compare.
        max_memory: bytes that the process may take in all, about. None: half of what is free.
            Large pictures go through the networks in pieces (docs/pictures.md).

    Warns:
        PictureWarning: something of the picture is not kept as it is: further frames, CMYK colour,
            damaged metadata.

    Raises:
        UsageError: the model cannot do this quality, or reach this target, or memory does not
            suffice.
        ImageError: the picture cannot be read, or is of a kind that is not supported.
        WeightsError: the model's weights are missing or damaged.
        DecodeDesync: with ``verify``: the file does not decode to what was encoded.
    """
    from paoncodec.images import read_picture

    models = [model] if isinstance(model, (str, os.PathLike)) else model
    choice = [zoo.resolve(one) for one in models]
    target = _target(quality, bpp=target_bpp, psnr=target_psnr, size=target_size)
    _check_choice(choice, target)
    if lossless and (target is not None or quality is not None):
        raise UsageError("lossless, and a quality or target: choose one of them")
    source = _Source(read_picture(image), lossless, strip, max_memory)
    weights, asked = source.choose(choice, quality, target)
    data = source.file(weights, asked)
    if verify:
        source.verify(data, weights)
    return data


def decode(
    data: DataSource,
    *,
    max_pixels: int = MAX_PIXELS,
    model: ModelSource | None = None,
    region: tuple[int, int, int, int] | None = None,
    max_memory: int | None = None,
) -> Image.Image:
    """Decode a `.bin` file to a Pillow image of mode L, LA, RGB or RGBA, or I;16 for 16-bit grey.

    Colour profile, EXIF and XMP are in its `info`, as after `PIL.Image.open`. Pillow has no other
    mode of 16 bits: `decode_picture` gives all samples.

    Args:
        data: the bytes of the file, its path, or a binary file object.
        max_pixels: larger pictures are refused before memory is taken for them.
        model: name or path of the weights, if not those in the zoo under the name that the file
            gives. They must be the very weights that the file was made with.
        region: x and y of the upper left corner, width and height, in pixels: only this part of
            the picture is made. Its latents are decoded, and verified, whole.
        max_memory: as for `encode`.

    Warns:
        PictureWarning: samples of 16 bits were rounded to 8.

    Raises:
        MalformedStream: not a file of ours, damaged, cut short or too large.
        WeightsError: the file's weights are missing, damaged or others.
        DecodeDesync: the decoded latents differ from the encoder's.
        UsageError: the path cannot be read, the region is not in the picture, or memory does not
            suffice.
    """
    picture = decode_picture(
        data, max_pixels=max_pixels, model=model, region=region, max_memory=max_memory
    )
    from paoncodec.images import to_pil

    return to_pil(picture)


def decode_picture(
    data: DataSource,
    *,
    max_pixels: int = MAX_PIXELS,
    model: ModelSource | None = None,
    region: tuple[int, int, int, int] | None = None,
    max_memory: int | None = None,
) -> Picture:
    """Decode a `.bin` file to all that it holds: samples at their depth, alpha, metadata.

    Args:
        data, max_pixels, model, region, max_memory: as for `decode`.

    Raises:
        As `decode`.
    """
    if max_pixels < 1:
        raise UsageError(f"max_pixels {max_pixels}: must be at least 1")
    container = read(file_bytes(data), Limits(max_pixels))
    header = container.header
    part = _region(region, header)
    weights = None
    if not _is_lossless(container):
        weights = zoo.find(header.model, header.weights_id, given=model)
    # Everything about the file is known to be right: now torch may be loaded.
    return _picture(weights, container, max_pixels, max_memory, part)


def info(data: DataSource) -> dict[str, Any]:
    """What a `.bin` file says of itself; all of it is verified, nothing is decoded.

    Args:
        data: the bytes of the file, its path, or a binary file object.

    Returns:
        JSON types only: `version`, `model`, `weights_id` (hexadecimal), `width`, `height`,
        `channels` (1 grey, 3 RGB), `depth` (bits per sample), `quality`, `latents_crc`
        (hexadecimal), `bytes` (of the file), `bpp` (of the file), `header_bytes`, `sections`
        (name → bytes: z and y, or samples where they are kept without loss, and what there is of
        alpha, icc, exif and xmp).

    Raises:
        MalformedStream: not a file of ours, damaged or cut short.
        UsageError: the path cannot be read.
    """
    content = file_bytes(data)
    # No memory is taken for the picture, so it may have any size.
    container = read(content, Limits(max_pixels=2**62))
    header = container.header
    return {
        "version": header.version,
        "model": header.model,
        "weights_id": header.weights_id.hex(),
        "width": header.width,
        "height": header.height,
        "channels": header.channels,
        "depth": header.depth,
        "quality": header.quality,
        "latents_crc": f"{header.latents_crc:08x}",
        "bytes": len(content),
        "bpp": 8 * len(content) / (header.width * header.height),
        "header_bytes": nbytes(header),
        "sections": {section_name(kind): len(data) for kind, data in container.sections.items()},
    }


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


def rate_map(
    data: DataSource, *, max_pixels: int = MAX_PIXELS, model: ModelSource | None = None
) -> RateMap:
    """Where the bits of a `.bin` file went, as its model's probabilities say.

    Args:
        data, max_pixels, model: as for `decode`.

    Raises:
        As `decode`, but for DecodeDesync.
        UsageError: also if the file keeps its samples without loss, and so has no latents.
    """
    container = read(file_bytes(data), Limits(max_pixels))
    if _is_lossless(container):
        raise UsageError("the file keeps its samples without loss: no model says where bits went")
    weights = zoo.find(container.header.model, container.header.weights_id, given=model)
    codec = _shared_codec(weights)
    header, factor = container.header, codec.downsampling_factor
    shape = _latent_shape(codec, header, max_pixels)
    with _locating(header):
        [bits] = codec.spent(_strings(container), shape)
    from paoncodec.pixels import enlarged

    return RateMap(bits, enlarged(header.height, header.width, factor))


def file_bytes(source: DataSource) -> bytes:
    """The bytes of a `.bin` file; no memory is taken for a file that does not start as ours do.

    Raises:
        NotOurFile: it starts with something else.
        UsageError: it cannot be read.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source)
    try:
        if not isinstance(source, (str, os.PathLike)):
            return _read_ours(source)
        with Path(source).open("rb") as file:
            return _read_ours(file)
    except OSError as error:
        name = getattr(source, "name", source)
        raise UsageError(f"{name}: cannot be read: {error.strerror}") from error


def load_codec(model: ModelSource = DEFAULT_MODEL) -> CompressionModel:
    """A model of its own: a torch module with forward, compress and decompress as in CompressAI.

    Args:
        model: a name of the zoo or the path of a weights file.

    Raises:
        WeightsError: the model's weights are missing or damaged.
    """
    return zoo.load(zoo.resolve(model))


# Coding picture after picture must not load a model each time. Two, for a comparison of models;
# nobody else gets at these, so nobody can change them.
@lru_cache(maxsize=2)
def _shared_codec(weights: zoo.Weights) -> ExactCodec:
    return zoo.load_coder(weights)


def _quality(weights: zoo.Weights, asked: float | None) -> float:
    """The quality to write."""
    if weights.quality is None:
        try:
            return round_quality(DEFAULT if asked is None else asked)
        except ValueError as error:
            raise UsageError(f"quality {asked}: choose {LOWEST:g} to {HIGHEST:g}") from error
    own = round_quality(weights.quality)
    if asked is not None and not abs(asked - weights.quality) < 1 / 256:
        raise UsageError(
            f"quality {asked}: {weights.name} has quality {own:g} and no other; leave it out, or "
            "choose another model"
        )
    return own


def _target(quality: float | None, **targets: float | None) -> Target | None:
    """The one target that was given, if any."""
    given = {kind: value for kind, value in targets.items() if value is not None}
    if len(given) + (quality is not None) > 1:
        names = [f"target {kind}" for kind in given] + ["quality"] * (quality is not None)
        raise UsageError(f"{' and '.join(names)} together: choose one of them")
    return next((Target(cast(Any, kind), value) for kind, value in given.items()), None)


def _check_choice(choice: Sequence[zoo.Weights], target: Target | None) -> None:
    if not choice:
        raise UsageError("no model: give one, or leave it out for the default")
    if len(choice) == 1:
        return
    if target is None:
        raise UsageError(f"{len(choice)} models: choose one, or give a target")
    for weights in choice:
        if weights.quality is None:
            raise UsageError(
                f"{len(choice)} models, but {weights.name} has all qualities: give it alone"
            )


def _read_ours(file: BinaryIO) -> bytes:
    head = file.read(_MAGIC_BYTES)
    if sniff(head) is Sniff.OTHER:
        raise NotOurFile(head)
    return head + file.read()


class _Source:
    """A picture that is coded, perhaps more than once."""

    def __init__(
        self, picture: Picture, lossless: bool | None, strip: bool, max_memory: int | None
    ) -> None:
        from paoncodec.images import fill_hidden

        self._samples = fill_hidden(picture.samples, picture.alpha)
        self._alpha = picture.alpha
        self._depth = picture.depth
        self._lossless = lossless
        self._beside = to_sections(picture, strip)
        self._max_memory = max_memory

    def choose(
        self, choice: Sequence[zoo.Weights], quality: float | None, target: Target | None
    ) -> tuple[zoo.Weights, float]:
        """The model and the quality to write."""
        if target is None:
            return choice[0], _quality(choice[0], quality)
        if choice[0].quality is None:
            return choice[0], find_quality(target, lambda q: self.figure(target, choice[0], q))
        nearest = min(
            choice, key=lambda w: target.distance(self.figure(target, w, _quality(w, None)))
        )
        return nearest, _quality(nearest, None)

    def file(self, weights: zoo.Weights, quality: float) -> bytes:
        """The bytes of a file."""
        if self._lossless:
            return self._stored(weights, quality)
        coded = self._coded(weights, quality)
        if self._lossless is None and self._worth_storing(len(coded)):
            return min(coded, self._stored(weights, quality), key=len)
        return coded

    def _coded(self, weights: zoo.Weights, quality: float) -> bytes:
        """The bytes of a file with latents."""
        from paoncodec import pixels

        codec, rate = _shared_codec(weights), _rate(weights, quality)
        coded = pixels.encoded(codec, self._samples, rate, Budget.of(self._max_memory))
        y_strings, z_strings = coded["strings"]
        latents = {SectionKind.Z: z_strings[0], SectionKind.Y: y_strings[0]}
        return self._written(weights, quality, latents, coded["digests"][0])

    def _stored(self, weights: zoo.Weights, quality: float) -> bytes:
        """The bytes of a file with the samples as they are."""
        return self._written(weights, quality, {SectionKind.SAMPLES: self._samples_bytes}, 0)

    def _written(
        self, weights: zoo.Weights, quality: float, content: dict[Any, bytes], latents_crc: int
    ) -> bytes:
        height, width, channels = self._samples.shape
        sections = content | self._beside
        header = Header(
            model=weights.name,
            weights_id=weights.identity,
            width=width,
            height=height,
            channels=channels,
            quality=quality,
            latents_crc=latents_crc,
            version=lowest_version(self._depth, sections),
            depth=self._depth,
        )
        return write(header, sections)

    def _worth_storing(self, coded: int) -> bool:
        """Whether a lossless file, which takes time and memory to make, may well be smaller than
        so many bytes."""
        pixels = self._samples[:, :, 0].size
        if 8 * coded <= _DEAR_BPP * pixels and not self._is_flat:
            return False
        return _STORING_BYTES * pixels <= Budget.of(self._max_memory).room

    @cached_property
    def _is_flat(self) -> bool:
        from paoncodec.images import mostly_flat

        return mostly_flat(self._samples)

    @cached_property
    def _samples_bytes(self) -> bytes:
        from paoncodec.images import lossless_bytes

        need = _STORING_BYTES * self._samples[:, :, 0].size
        Budget.of(self._max_memory).require(need, "a lossless file of the picture")
        return lossless_bytes(self._samples)

    def verify(self, data: bytes, weights: zoo.Weights) -> None:
        """Decodes the file.

        Raises:
            DecodeDesync: what comes out is not what went in. Where samples are coded with loss,
                that is decided by the latents, whose checksum is the encoder's.
        """
        try:
            container = read(data, Limits(max_pixels=2**62))
            lossless = _is_lossless(container)
            given = None if lossless else weights
            found = _picture(given, container, 2**62, self._max_memory, None)
        except MalformedStream as error:
            raise DecodeDesync(f"the file that was made cannot be decoded: {error}") from error
        same_alpha = (found.alpha is None) == (self._alpha is None) and (
            found.alpha is None or bool((found.alpha == self._alpha).all())
        )
        same_beside = {k: v for k, v in container.sections.items() if k in self._beside}
        if found.samples.shape != self._samples.shape or found.depth != self._depth:
            lost = "size or depth"
        elif lossless and (found.samples != self._samples).any():
            lost = "value of samples"
        elif not same_alpha:
            lost = "transparency"
        elif same_beside != self._beside:
            lost = "metadata"
        else:
            return
        raise DecodeDesync(f"the file that was made gives another {lost}: please report this")

    def figure(self, target: Target, weights: zoo.Weights, quality: float) -> float:
        """The target's figure of the file of this quality."""
        height, width, _ = self._samples.shape
        if target.kind != "psnr":
            size = len(self.file(weights, quality))
            return size if target.kind == "size" else 8 * size / (height * width)
        from paoncodec import pixels
        from paoncodec.images import psnr

        codec, rate = _shared_codec(weights), _rate(weights, quality)
        budget = Budget.of(self._max_memory)
        return psnr(self._samples, pixels.reconstructed(codec, self._samples, rate, budget))


def _rate(weights: zoo.Weights, quality: float) -> dict[str, float]:
    """What a codec is told of the quality: nothing, if it has only one."""
    return {} if weights.quality is not None else {"quality": quality}


def _start(header: Header, section: str) -> int:
    """Where a section of a file starts, in bytes."""
    start = nbytes(header)
    for entry in header.sections:
        if section_name(entry.kind) == section:
            break
        start += entry.length
    return start


def _is_lossless(container: Container) -> bool:
    """Whether a file holds samples as they are, and no latents."""
    return SectionKind.SAMPLES in container.sections


def _picture(
    weights: zoo.Weights | None,
    container: Container,
    max_pixels: int,
    max_memory: int | None,
    region: Region | None,
) -> Picture:
    """What a verified file holds; without weights, one that needs none."""
    from paoncodec.images import Picture

    with _locating(container.header):
        alpha, metadata = from_sections(container)
    if alpha is not None and region is not None:
        alpha = region.of(alpha)
    if weights is None:
        samples = _unpacked(container, max_memory, region)
    else:
        samples = _decompress(weights, container, max_pixels, max_memory, region)
    return Picture(samples, alpha, metadata)


def _unpacked(container: Container, max_memory: int | None, region: Region | None) -> Samples:
    """Samples (H, W, C) of a verified file that keeps them, or of a region of it."""
    header = container.header
    need = _UNPACKING_BYTES * header.width * header.height
    Budget.of(max_memory).require(need, f"a picture of {header.width}x{header.height}")
    with _locating(header):
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
    codec = _shared_codec(weights)
    _latent_shape(codec, header, max_pixels)
    with _locating(header):
        return pixels.decoded(
            codec,
            _strings(container),
            (header.height, header.width, header.channels),
            header.depth,
            _rate(weights, header.quality),
            Budget.of(max_memory),
            lambda digest: _check_digest(digest, header),
            region,
        )


def _region(given: tuple[int, int, int, int] | None, header: Header) -> Region | None:
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


def _check_digest(found: int, header: Header) -> None:
    if found != header.latents_crc:
        raise DecodeDesync(
            f"the decoded latents have CRC-32 {found:08x}, the encoder's had "
            f"{header.latents_crc:08x}: no picture is made from them; please report this with the "
            "file and the versions of torch and paoncodec"
        )
