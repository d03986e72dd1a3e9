"""Pictures to files and back: what users call.

Nothing heavy is imported before it is needed. `info` takes neither numpy nor torch, and a file is
verified, and its weights found, before torch is loaded; only what depends on the model, such as the
pixels a thin line is enlarged to, is checked after.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias, cast

from paoncodec import zoo
from paoncodec.bitstream import Limits, Sniff, nbytes, read, section_name, sniff
from paoncodec.decoding import RateMap, is_lossless, picture_of, rate_map_of, region_of
from paoncodec.encoding import PictureFile, check_choice
from paoncodec.errors import NotOurFile, UsageError
from paoncodec.targets import Target

if TYPE_CHECKING:
    from compressai.models import CompressionModel
    from PIL import Image

    from paoncodec.images import ImageSource, Picture

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

DEFAULT_MODEL = "mbt-paon-small-variable-v5"
MAX_PIXELS = 2**28

DataSource: TypeAlias = "bytes | bytearray | memoryview | str | os.PathLike[str] | BinaryIO"
ModelSource: TypeAlias = "str | os.PathLike[str]"

_MAGIC_BYTES = 4


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
            smaller file, which is so of many drawings, screenshots and icons, or where a target
            has room for it, both as far as a quick look tells; or where nothing else reaches a
            target.
        strip: leave out the colour profile, EXIF and XMP.
        verify: decode the file before it is returned, and compare.
        max_memory: bytes that the process may take in all, about. None: half of what is free.
            Large pictures go through the networks in pieces (docs/pictures.md).

    Warns:
        PictureWarning: something of the picture is not kept as it is: further frames, CMYK colour,
            damaged metadata.
        TargetMissed: models of one quality were given, and the nearest misses the target.

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
    check_choice(choice, target)
    if lossless and (target is not None or quality is not None):
        raise UsageError("lossless, and a quality or target: choose one of them")
    source = PictureFile(read_picture(image), lossless, strip, max_memory)
    data, weights = source.made(choice, quality, target)
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
    part = region_of(region, header)
    weights = None
    if not is_lossless(container):
        weights = zoo.find(header.model, header.weights_id, given=model)
    # Everything about the file is known to be right: now torch may be loaded.
    return picture_of(weights, container, max_pixels, max_memory, part)


def info(data: DataSource) -> dict[str, Any]:
    """What a `.bin` file says of itself; all of it is verified, nothing is decoded.

    Args:
        data: the bytes of the file, its path, or a binary file object.

    Returns:
        JSON types only: `version`, `model`, `weights_id` (hexadecimal), `width`, `height`,
        `channels` (1 grey, 3 RGB), `depth` (bits per sample), `quality`, `latents_crc`
        (hexadecimal), `bytes` (of the file), `bpp` (of the file), `header_bytes`, `sections`
        (name → bytes: z and y, or samples where they are kept without loss, and what there is of
        alpha, icc, exif and xmp). Where there are samples, `quality` means nothing.

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
    if is_lossless(container):
        raise UsageError("the file keeps its samples without loss: no model says where bits went")
    weights = zoo.find(container.header.model, container.header.weights_id, given=model)
    return rate_map_of(weights, container, max_pixels)


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


def _target(quality: float | None, **targets: float | None) -> Target | None:
    """The one target that was given, if any."""
    given = {kind: value for kind, value in targets.items() if value is not None}
    if len(given) + (quality is not None) > 1:
        names = [f"target {kind}" for kind in given] + ["quality"] * (quality is not None)
        raise UsageError(f"{' and '.join(names)} together: choose one of them")
    return next((Target(cast(Any, kind), value) for kind, value in given.items()), None)


def _read_ours(file: BinaryIO) -> bytes:
    head = file.read(_MAGIC_BYTES)
    if sniff(head) is Sniff.OTHER:
        raise NotOurFile(head)
    return head + file.read()
