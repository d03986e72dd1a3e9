"""Every kind of picture that people have: what it is read as, and that it is written as it was."""

from __future__ import annotations

import io
import itertools
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageCms
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from paoncodec.errors import ImageError, PictureWarning, UsageError
from paoncodec.images import Metadata, Picture, picture_bytes, read_picture, to_pil

RNG = np.random.default_rng(5)
BYTES = RNG.integers(0, 256, (5, 7, 4), dtype=np.uint8)
WORDS = RNG.integers(0, 2**16, (5, 7, 4), dtype=np.uint16)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
CHANNELS = {1: [0], 2: [0, 3], 3: [0, 1, 2], 4: [0, 1, 2, 3]}


def saved(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def stored(picture: Picture) -> np.ndarray:
    return picture.with_alpha()


# 16-bit files, put together here from their specifications


def png(samples: np.ndarray, *, filtered: bool = False, extra: bytes = b"") -> bytes:
    """A 16-bit PNG whose rows have no filter, or Sub and Up in turn."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + crc

    height, width, channels = samples.shape
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    raw = samples.astype(">u2").tobytes()
    size, step = 2 * width * channels, 2 * channels
    rows = [raw[i * size : (i + 1) * size] for i in range(height)]
    body = b""
    for i, row in enumerate(rows):
        number = 1 + i % 2 if filtered else 0
        above = rows[i - 1] if i else bytes(size)
        left = bytes(step) + row[:-step]
        before = {0: bytes(size), 1: left, 2: above}[number]
        body += bytes([number]) + bytes((a - b) % 256 for a, b in zip(row, before, strict=True))
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(body))
    return b"\x89PNG\r\n\x1a\n" + chunks + chunk(b"IEND", b"")


def colour_key(*values: int) -> bytes:
    body = b"tRNS" + struct.pack(f">{len(values)}H", *values)
    return struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))


def tiff(samples: np.ndarray, order: str, deflated: bool, **changes: int) -> bytes:
    """A 16-bit TIFF of one strip; `changes` replace tags, `t262=0`."""
    height, width, channels = samples.shape
    data = samples.astype(f"{order}u2").tobytes()
    data = zlib.compress(data) if deflated else data
    bits = struct.pack(f"{order}{channels}H", *[16] * channels)
    tags = {
        256: (3, 1, width),
        257: (3, 1, height),
        258: (3, channels, 0),
        259: (3, 1, 8 if deflated else 1),
        262: (3, 1, 2 if channels > 2 else 1),
        273: (4, 1, 0),
        277: (3, 1, channels),
        278: (3, 1, height),
        279: (4, 1, len(data)),
    }
    if channels == 4:
        tags[338] = (3, 1, 2)
    tags |= {int(tag[1:]): (3, 1, value) for tag, value in changes.items()}
    behind = 8 + 2 + 12 * len(tags) + 4
    tags[273] = (4, 1, behind + len(bits))
    if channels > 2:
        tags[258] = (3, channels, behind)
    else:
        tags[258] = (3, 1, 16)
    body = b""
    for tag, (kind, count, value) in sorted(tags.items()):
        short = kind == 3 and count == 1
        field = struct.pack(
            f"{order}HH" if short else f"{order}I", *([value, 0] if short else [value])
        )
        body += struct.pack(f"{order}HHI", tag, kind, count) + field
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    return head + struct.pack(f"{order}H", len(tags)) + body + bytes(4) + bits + data


def deflated_tiff(data: bytes) -> np.ndarray:
    """The samples of a 16-bit TIFF with differences along rows."""
    tags = ImageFileDirectory_v2(data[:8])
    file = io.BytesIO(data)
    file.seek(tags.next)
    tags.load(file)
    assert (tags[259], tags[317], tags[338]) == (8, 2, (2,))
    strips = zip(tags[273], tags[279], strict=True)
    raw = b"".join(zlib.decompress(data[start : start + size]) for start, size in strips)
    differences = np.frombuffer(raw, "<u2").reshape(tags[257], tags[256], tags[277])
    return np.cumsum(differences, axis=1, dtype=np.uint16)


@pytest.mark.parametrize("filtered", [False, True])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bit_png_is_read_exactly(channels: int, filtered: bool) -> None:
    samples = WORDS[:, :, CHANNELS[channels]]
    picture = read_picture(png(samples, filtered=filtered))
    assert picture.depth == 16
    np.testing.assert_array_equal(stored(picture), samples)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("deflated", [False, True])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_16_bit_tiff_is_read_exactly(channels: int, order: str, deflated: bool) -> None:
    samples = WORDS[:, :, CHANNELS[channels]]
    picture = read_picture(tiff(samples, order, deflated))
    assert picture.depth == 16
    np.testing.assert_array_equal(stored(picture), samples)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_16_bit_colour_that_stands_for_transparency_becomes_alpha(channels: int) -> None:
    samples = WORDS[:, :, CHANNELS[channels]]
    key = samples[2, 3]
    near = samples.copy()
    near[0, 0] = key ^ 1  # differs in the low byte, which must not be overlooked
    picture = read_picture(png(near, extra=colour_key(*key)))
    expected = np.full((5, 7), 65535)
    expected[2, 3] = 0
    np.testing.assert_array_equal(picture.alpha, expected)
    np.testing.assert_array_equal(picture.samples, near)


@pytest.mark.parametrize("format", ["png", "tiff"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(1, 1), (1, 17), (5, 7), (300, 700)])
def test_written_pictures_are_read_as_they_were(
    format: str, channels: int, dtype: type, shape: tuple[int, int]
) -> None:
    # Smooth and noisy halves, so that every filter is somewhere the best.
    ramp = np.add.outer(np.arange(shape[0]) * 37, np.arange(shape[1]) * 11)
    noise = RNG.integers(0, 2**16, (*shape, channels))
    smooth = np.arange(1, channels + 1) * ramp[:, :, None]
    samples = np.where((ramp % 2 == 0)[:, :, None], smooth, noise).astype(dtype)
    picture = read_picture(samples)
    data = picture_bytes(picture, format)
    if channels == 2 and dtype == np.uint16 and format == "tiff":  # which Pillow does not read
        np.testing.assert_array_equal(deflated_tiff(data), samples)
        return
    again = read_picture(data)
    assert again.depth == picture.depth
    np.testing.assert_array_equal(stored(again), samples)


@pytest.mark.parametrize("channels", [2, 4])
def test_webp_keeps_alpha_and_hidden_colours(channels: int) -> None:
    samples = BYTES[:, :, CHANNELS[channels]].copy()
    samples[:3, :, -1] = 0
    again = stored(read_picture(picture_bytes(read_picture(samples), "webp")))
    expected = samples if channels == 4 else samples[:, :, [0, 0, 0, 1]]  # WebP has no grey
    np.testing.assert_array_equal(again, expected)


KINDS: dict[str, tuple[Callable[[], bytes], np.ndarray]] = {
    "rgba": (lambda: saved(Image.fromarray(BYTES)), BYTES),
    "grey and alpha": (lambda: saved(Image.fromarray(BYTES[:, :, [0, 3]])), BYTES[:, :, [0, 3]]),
    "bilevel with a key": (
        lambda: saved(Image.fromarray(BYTES[:, :, 0] > 127), transparency=0),
        np.stack([(BYTES[:, :, 0] > 127) * 255] * 2, axis=2),
    ),
    "rgb with a key": (
        lambda: saved(
            Image.fromarray(BYTES[:, :, :3]), transparency=tuple(BYTES[1, 2, :3].tolist())
        ),
        np.dstack([BYTES[:, :, :3], np.where(np.arange(35).reshape(5, 7) == 9, 0, 255)]),
    ),
    "webp": (lambda: saved(Image.fromarray(BYTES), "WEBP", lossless=True, exact=True), BYTES),
    "tiff": (lambda: saved(Image.fromarray(BYTES), "TIFF"), BYTES),
}


@pytest.mark.parametrize("kind", KINDS)
def test_transparency_of_every_kind_is_kept(kind: str) -> None:
    make, expected = KINDS[kind]
    np.testing.assert_array_equal(stored(read_picture(make())), expected)


def test_a_palette_with_transparent_entries_becomes_rgba() -> None:
    image = Image.fromarray((np.arange(12, dtype=np.uint8) % 4).reshape(3, 4), "P")
    image.putpalette(BYTES[0, :4, :3].tobytes())
    picture = read_picture(saved(image, transparency=bytes([0, 99, 255, 7])))
    expected = np.concatenate([BYTES[0, :4, :3], [[0], [99], [255], [7]]], axis=1)
    np.testing.assert_array_equal(stored(picture).reshape(3, 4, 4)[0], expected)


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_several_frames_the_first_is_taken_and_a_warning_says_so(format: str) -> None:
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "blue", "lime")]
    data = saved(frames[0], format, save_all=True, append_images=frames[1:])
    with pytest.warns(PictureWarning, match="^image: the first of 3 frames is taken"):
        picture = read_picture(data)
    assert picture.samples.shape == (6, 8, 3)
    assert np.abs(picture.samples[:, :, :3].astype(int) - [255, 0, 0]).max() <= 3


def test_cmyk_becomes_rgb_by_a_formula() -> None:
    image = Image.new("CMYK", (3, 2), (0, 255, 255, 0))
    with pytest.warns(PictureWarning, match="CMYK is made sRGB by a plain formula, for it has no"):
        picture = read_picture(saved(image, "TIFF"))
    np.testing.assert_array_equal(picture.samples, np.full((2, 3, 3), [255, 0, 0]))


def test_cmyk_with_a_damaged_profile_is_converted_by_the_formula_and_the_profile_dropped() -> None:
    image = Image.new("CMYK", (3, 2), (0, 0, 0, 255))
    with pytest.warns(PictureWarning, match="its colour profile is damaged"):
        picture = read_picture(saved(image, "TIFF", icc_profile=b"no profile"))
    assert not picture.samples.any()
    assert picture.metadata.icc is None


def test_cmyk_is_converted_by_its_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def convert(image: Image.Image, source: object, _target: object, outputMode: str) -> object:  # noqa: N803
        seen.append(source.profile.profile_description)
        return Image.new(outputMode, image.size, (1, 2, 3))

    monkeypatch.setattr(ImageCms, "profileToProfile", convert)
    with pytest.warns(PictureWarning, match="CMYK is made sRGB by its colour profile"):
        picture = read_picture(saved(Image.new("CMYK", (3, 2)), "JPEG", icc_profile=SRGB))
    assert (picture.samples == [1, 2, 3]).all()
    assert len(seen) == 1
    assert picture.metadata.icc is None


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (saved(Image.new("LAB", (4, 4)), "TIFF"), "LAB colour"),
        (saved(Image.new("F", (4, 4)), "TIFF"), "floating-point"),
        (saved(Image.new("I", (4, 4)), "TIFF"), "integer samples of more than 8 bits"),
        (b"P6 1 1 65535\n" + bytes(6), r"16 bits per sample \(carried from PNG and TIFF only"),
        (b"P3 1 1 1023\n0 0 0\n", "10 bits"),
        (tiff(WORDS[:, :, :1], "<", False, t262=0), "inverted 16-bit"),
        (tiff(WORDS[:, :, :1], "<", False, t339=2), "16-bit samples that are stored as I;16S"),
        (tiff(WORDS, "<", False, t338=1), "stored as RGBa;16L"),
        (tiff(WORDS, "<", False, t262=5, t338=0), "stored as|not a picture|damaged"),
        (tiff(WORDS[:, :, :3], "<", True, t284=2), "plane by plane|damaged|not a picture"),
    ],
)
def test_what_is_not_carried_is_refused_by_name(data: bytes, words: str) -> None:
    with pytest.raises(ImageError, match=words):
        read_picture(data)


@pytest.mark.parametrize("mode", ["LAB", "HSV", "F", "I"])
def test_pillow_images_of_other_modes_are_refused(mode: str) -> None:
    with pytest.raises(ImageError, match="are carried: convert it first"):
        read_picture(Image.new(mode, (4, 4)))


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 2), (5, 7, 3), (5, 7, 4)])
@pytest.mark.parametrize("source", [BYTES, WORDS], ids=["8", "16"])
def test_arrays_are_taken_as_they_are(source: np.ndarray, shape: tuple[int, ...]) -> None:
    array = source[:, :, : shape[2]] if len(shape) == 3 else source[:, :, 0]
    np.testing.assert_array_equal(stored(read_picture(array)).reshape(shape), array)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0, 3), (3, 3, 5), (3, 3, 0), (3,), (2, 2, 2, 2)])
def test_arrays_of_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ImageError, match="must be"):
        read_picture(np.zeros(shape, np.uint8))


def test_arrays_of_other_types_are_refused() -> None:
    for dtype in (np.float32, np.int16, np.uint32):
        with pytest.raises(ImageError, match=r"must be uint8, 0..255, or uint16"):
            read_picture(np.zeros((3, 3), dtype))


def test_16_bit_grey_in_memory_is_taken_at_its_depth() -> None:
    picture = read_picture(Image.fromarray(WORDS[:, :, 0]))
    np.testing.assert_array_equal(picture.samples[:, :, 0], WORDS[:, :, 0])


def test_pillow_images_of_every_kind(recwarn: pytest.WarningsRecorder) -> None:
    for channels, mode in {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}.items():
        samples = BYTES[:, :, CHANNELS[channels]]
        image = to_pil(read_picture(samples))
        assert image.mode == mode
        np.testing.assert_array_equal(np.asarray(image).reshape(samples.shape), samples)
    grey = to_pil(read_picture(WORDS[:, :, 0]))
    assert grey.mode == "I;16"
    np.testing.assert_array_equal(np.asarray(grey), WORDS[:, :, 0])
    assert not recwarn.list
    with pytest.warns(PictureWarning, match="16 bits per sample are rounded to 8"):
        colour = to_pil(read_picture(WORDS))
    nearest = np.rint(WORDS / 257).astype(np.uint8)
    np.testing.assert_array_equal(np.asarray(colour), nearest)


# Metadata


def test_metadata_in_a_pillow_image_is_saved_by_pillow_and_read_again() -> None:
    metadata = read_picture(with_metadata("JPEG")).metadata
    image = to_pil(Picture(BYTES[:, :, :3], None, metadata))
    assert read_picture(image).metadata == metadata
    for format in ("JPEG", "PNG", "WEBP"):
        again = saved(image, format, exif=image.info["exif"], icc_profile=image.info["icc_profile"])
        assert read_picture(again).metadata.exif == metadata.exif
        assert read_picture(again).metadata.icc == SRGB


def exif_of(order: str, orientation: int) -> bytes:
    """Make "Paon" and an orientation, as TIFF 6.0 has it."""
    entries = struct.pack(f"{order}HHI4s", 0x010F, 2, 4, b"Pao\0")
    entries += struct.pack(f"{order}HHIHH", 0x0112, 3, 1, orientation, 0)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    return head + struct.pack(f"{order}H", 2) + entries + bytes(4)


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r tiff:Orientation="%d"/></x:xmpmeta>'
WITH_METADATA = {"PNG": "png", "TIFF": "tif", "WEBP": "webp", "JPEG": "jpg"}


def with_metadata(format: str, order: str = "<", orientation: int = 1) -> bytes:
    exif, xmp = exif_of(order, orientation), XMP % orientation
    options = {"icc_profile": SRGB, "exif": b"Exif\0\0" + exif}
    if format == "PNG":
        from PIL.PngImagePlugin import PngInfo

        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", xmp.decode())
    elif format == "TIFF":
        del options["exif"]
        options["tiffinfo"] = {271: "Pao", 274: orientation, 700: xmp}
    else:
        options["xmp"] = xmp
    return saved(Image.fromarray(BYTES[:, :, :3]), format, **options)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("format", WITH_METADATA)
def test_metadata_is_read_and_says_that_the_picture_is_upright(format: str, order: str) -> None:
    picture = read_picture(with_metadata(format, order, orientation=6))
    assert picture.samples.shape == (7, 5, 3)
    metadata = picture.metadata
    assert metadata.icc == SRGB
    assert metadata.exif is not None
    if format != "TIFF":  # of which Pillow takes the orientation out
        assert metadata.xmp == XMP % 1
        assert metadata.exif == exif_of(order, 1)
    assert b'Orientation="6' not in metadata.xmp
    exif = Image.Exif()
    exif.load(metadata.exif)
    assert (exif[0x010F], exif.get(0x0112, 1)) == ("Pao", 1)


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize(("source", "target"), [*itertools.product(WITH_METADATA, repeat=2)])
def test_metadata_is_written_back(source: str, target: str, depth: int) -> None:
    read = read_picture(with_metadata(source))
    samples = read.samples if depth == 8 else read.samples.astype(np.uint16) * 200
    if depth == 16 and target in ("JPEG", "WEBP"):
        with pytest.raises(UsageError, match="8 bits per sample"):
            picture_bytes(Picture(samples, None, read.metadata), WITH_METADATA[target])
        return
    data = picture_bytes(Picture(samples, None, read.metadata), WITH_METADATA[target])
    again = read_picture(data)
    assert (again.metadata.icc, again.metadata.xmp) == (SRGB, XMP % 1)
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == target
        assert image.getexif()[0x010F] == "Pao"
    if "TIFF" not in (source, target):
        assert again.metadata == read.metadata


def test_exif_of_a_tiff_keeps_its_directories_and_nothing_of_its_layout() -> None:
    exif = Image.Exif()
    exif[0x8769] = {0x829A: 0.5, 0x9003: "2020:01:02 03:04:05"}
    exif[0x8825] = {1: "N"}
    exif[0x013B] = "Keleş"
    data = saved(Image.fromarray(BYTES), "TIFF", exif=exif.tobytes())
    metadata = read_picture(data).metadata
    kept = Image.Exif()
    kept.load(metadata.exif)
    assert kept.get_ifd(0x8769) == {0x829A: 0.5, 0x9003: "2020:01:02 03:04:05"}
    assert kept.get_ifd(0x8825) == {1: "N"}
    assert set(kept) <= {0x8769, 0x8825, 0x013B}
    again = read_picture(picture_bytes(Picture(WORDS[:, :, :3], None, metadata), "tiff"))
    third = Image.Exif()
    third.load(again.metadata.exif)
    assert third.get_ifd(0x8769)[0x9003] == "2020:01:02 03:04:05"


@pytest.mark.parametrize(
    "exif",
    [b"Exif\0\0MM\0*\xff\xff\xff\xff", b"Exif\0\0nothing", exif_of("<", 1)[:20], b"II*\0\0\0\0\0"],
)
def test_damaged_exif_is_left_out_with_a_warning(exif: bytes) -> None:
    data = saved(Image.fromarray(BYTES[:, :, :3]), exif=exif)
    with pytest.warns(PictureWarning, match="image: its EXIF is damaged and left out"):
        picture = read_picture(data)
    assert picture.metadata == Metadata()
    np.testing.assert_array_equal(picture.samples, BYTES[:, :, :3])


@pytest.mark.parametrize(
    ("format", "kinds"), [("bmp", "ICC, EXIF, XMP"), ("ppm", "ICC, EXIF, XMP")]
)
def test_what_a_format_does_not_hold_is_named(format: str, kinds: str) -> None:
    picture = read_picture(with_metadata("PNG"))
    name = format.upper()
    with pytest.warns(PictureWarning, match=f"{name} does not hold the picture's {kinds}"):
        data = picture_bytes(picture, format)
    np.testing.assert_array_equal(read_picture(data).samples, picture.samples)


def test_a_profile_of_grey_does_not_go_with_samples_of_colours() -> None:
    profile = SRGB[:16] + b"GRAY" + SRGB[20:]
    picture = Picture(BYTES[:, :, :1], None, Metadata(profile, exif_of("<", 1)))
    with pytest.warns(PictureWarning, match="WEBP does not hold the picture's ICC"):
        data = picture_bytes(picture, "webp")
    assert read_picture(data).metadata == Metadata(exif=picture.metadata.exif)
    assert read_picture(picture_bytes(picture, "png")).metadata == picture.metadata


def test_metadata_too_long_for_a_jpeg_is_named_and_the_rest_written() -> None:
    samples = BYTES[:, :, :3]
    long = exif_of("<", 1) + bytes(65536)
    picture = Picture(samples, None, Metadata(SRGB, long, b"x" * 65536))
    with pytest.warns(PictureWarning, match="JPEG does not hold the picture's EXIF, XMP"):
        data = picture_bytes(picture, "jpg")
    assert read_picture(data).metadata == Metadata(icc=SRGB)
