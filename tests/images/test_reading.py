"""Every kind of picture is read exactly, or refused by a message that names what it has."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from paoncodec.errors import ImageError
from paoncodec.images import read_image, read_picture

RGB = np.random.default_rng(1).integers(0, 256, (5, 7, 3), dtype=np.uint8)
GREY = RGB[:, :, :1]


def saved(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def png(depth: int, colour_type: int, extra: bytes = b"") -> bytes:
    """A black 4x3 PNG of any depth and colour type: Pillow cannot write the deep ones."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour_type]
    row = bytes(1 + (4 * channels * depth + 7) // 8)
    header = struct.pack(">IIBBBBB", 4, 3, depth, colour_type, 0, 0, 0)
    body = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(row * 3))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def animation(format: str) -> bytes:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    return saved(frames[0], format, save_all=True, append_images=frames[1:])


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "PPM"])
@pytest.mark.parametrize("pixels", [RGB, GREY], ids=["rgb", "grey"])
def test_lossless_files_are_read_exactly(format: str, pixels: np.ndarray) -> None:
    data = saved(Image.fromarray(np.squeeze(pixels)), format)
    read = read_image(data)
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, pixels)


def test_every_kind_of_source_gives_the_same_pixels(tmp_path: Path) -> None:
    data = saved(Image.fromarray(RGB))
    path = tmp_path / "picture.png"
    path.write_bytes(data)
    with path.open("rb") as file:
        sources = [
            path,
            str(path),
            data,
            memoryview(data),
            io.BytesIO(data),
            file,
            Image.open(path),
        ]
        for source in [*sources, Image.fromarray(RGB), RGB]:
            np.testing.assert_array_equal(read_image(source), RGB)


def test_a_pipe_is_read_from_where_it_stands() -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def seek(self, *_: int) -> int:
            raise io.UnsupportedOperation("seek")

    np.testing.assert_array_equal(read_image(Pipe(saved(Image.fromarray(RGB)))), RGB)


def test_a_callers_file_and_image_stay_open() -> None:
    file, image = io.BytesIO(saved(Image.fromarray(RGB))), Image.fromarray(RGB)
    read_image(file)
    read_image(image)
    assert not file.closed
    assert image.getpixel((0, 0)) == tuple(RGB[0, 0])


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 1), (4, 6, 3), (1, 1)])
def test_arrays_of_each_legal_shape(shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    read = read_image(array[::-1])
    assert read.shape == (*shape, 1)[:3]
    assert read.flags.c_contiguous
    np.testing.assert_array_equal(read.reshape(shape), array[::-1])


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((4, 4, 3), np.float32), "uint8"),
        (np.zeros((4, 4), np.uint16), "uint8"),
        (np.zeros((4, 4), bool), "uint8"),
        (np.zeros((4, 4, 4), np.uint8), "transparency"),
        (np.zeros((4, 4, 2), np.uint8), "transparency"),
        (np.zeros((2, 3, 4, 4), np.uint8), "shape"),
        (np.zeros(4, np.uint8), "shape"),
        (np.zeros((0, 4, 3), np.uint8), "empty"),
    ],
)
def test_other_arrays_are_refused(array: np.ndarray, words: str) -> None:
    with pytest.raises(ImageError, match=words):
        read_image(array)


def test_a_palette_becomes_the_rgb_it_stands_for() -> None:
    image = Image.fromarray(RGB).quantize(16)
    np.testing.assert_array_equal(read_image(saved(image)), np.array(image.convert("RGB")))


def test_bilevel_becomes_grey_0_and_255() -> None:
    bits = GREY[:, :, 0] > 127
    np.testing.assert_array_equal(read_image(saved(Image.fromarray(bits)))[:, :, 0], bits * 255)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_shallow_png_is_read_as_grey(bits: int) -> None:
    assert read_image(png(bits, 0)).shape == (3, 4, 1)


@pytest.mark.parametrize(
    ("format", "options"),
    [("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True}), ("JPEG", {"quality": 100})],
)
def test_each_exif_orientation_is_turned_upright(format: str, options: dict[str, object]) -> None:
    upright = 10 * np.arange(24, dtype=np.uint8).reshape(4, 6)
    # As TIFF 6.0 tells where the stored row 0 and column 0 lie on the upright picture.
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright),
        7: upright[::-1, ::-1].T,
        8: np.rot90(upright, -1),
        9: upright,
    }
    for orientation, pixels in stored.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        image = Image.fromarray(np.ascontiguousarray(pixels))
        read = read_image(saved(image, format, exif=exif, **options))[:, :, 0]
        # JPEG is off by one here and there; the samples of a wrong turn are off by far more.
        np.testing.assert_allclose(read, upright, atol=8, err_msg=f"orientation {orientation}")


def test_damaged_exif_leaves_the_picture_as_stored() -> None:
    data = saved(Image.fromarray(RGB), exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    np.testing.assert_array_equal(read_image(data), RGB)


def test_metadata_changes_no_pixel() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    notes = PngInfo()
    notes.add_text("Comment", "none")
    data = saved(Image.fromarray(RGB), icc_profile=profile, pnginfo=notes)
    np.testing.assert_array_equal(read_image(data), RGB)


def test_a_multi_picture_jpeg_is_its_first_picture() -> None:
    first, second = Image.new("RGB", (16, 16), "red"), Image.new("RGB", (8, 8), "blue")
    data = saved(first, "MPO", save_all=True, append_images=[second])
    read = read_image(data)
    assert read.shape == (16, 16, 3)
    assert read[0, 0, 0] > 200


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param(saved(Image.new("RGBA", (4, 4))), "transparency", id="rgba"),
        pytest.param(saved(Image.new("LA", (4, 4))), "transparency", id="grey-alpha"),
        pytest.param(
            saved(Image.new("P", (4, 4)), transparency=0), "transparency", id="palette-alpha"
        ),
        pytest.param(
            saved(Image.new("RGB", (4, 4)), transparency=(0, 0, 0)), "transparency", id="colour-key"
        ),
        pytest.param(saved(Image.new("RGBA", (4, 4)), "WEBP"), "transparency", id="webp-alpha"),
        pytest.param(png(16, 0), "16 bits", id="png-grey-16"),
        pytest.param(png(16, 2), "16 bits", id="png-rgb-16"),
        pytest.param(png(16, 4), "16 bits", id="png-grey-alpha-16"),
        pytest.param(saved(Image.new("I;16", (4, 4)), "TIFF"), "16 bits", id="tiff-16"),
        pytest.param(b"P6 1 1 65535\n" + bytes(6), "16 bits", id="ppm-16"),
        pytest.param(b"P3 1 1 1023\n0 0 0\n", "10 bits", id="ppm-10"),
        pytest.param(b"P5 1 1 65535\n" + bytes(2), "16 bits", id="pgm-16"),
        pytest.param(saved(Image.new("I", (4, 4)), "TIFF"), "more than 8 bits", id="tiff-32"),
        pytest.param(saved(Image.new("F", (4, 4)), "TIFF"), "floating-point", id="tiff-float"),
        pytest.param(saved(Image.new("CMYK", (4, 4)), "JPEG"), "CMYK", id="jpeg-cmyk"),
        pytest.param(saved(Image.new("YCbCr", (4, 4)), "TIFF"), "YCbCr", id="tiff-ycbcr"),
        pytest.param(saved(Image.new("LAB", (4, 4)), "TIFF"), "LAB", id="tiff-lab"),
        pytest.param(animation("GIF"), "2 frames", id="gif-animated"),
        pytest.param(animation("PNG"), "2 frames", id="png-animated"),
        pytest.param(animation("WEBP"), "2 frames", id="webp-animated"),
        pytest.param(animation("TIFF"), "2 frames", id="tiff-pages"),
    ],
)
def test_what_is_not_carried_is_refused_by_name(data: bytes, words: str) -> None:
    with pytest.raises(ImageError, match=words) as caught:
        read_image(data)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "mode", ["RGBA", "LA", "PA", "CMYK", "YCbCr", "LAB", "HSV", "I", "F", "I;16"]
)
def test_pillow_images_of_other_modes_are_refused(mode: str) -> None:
    with pytest.raises(ImageError, match="8-bit grey or RGB, one frame"):
        read_image(Image.new(mode, (4, 4)))


def test_an_image_without_pixels_is_refused() -> None:
    with pytest.raises(ImageError, match="no pixels"):
        read_image(Image.new("RGB", (0, 4)))


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF"])
def test_no_prefix_of_a_file_is_read_as_a_picture(format: str) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8))
    data = saved(image, format)
    for keep in np.linspace(0, len(data) * 3 // 4, 40, dtype=int):
        with pytest.raises(ImageError):
            read_image(data[:keep])


@pytest.mark.parametrize("data", [b"", b"PAON", b"hello, world", bytes(1000)])
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    # Once paoncodec.pillow is imported, Pillow knows how our own files begin.
    with pytest.raises(ImageError, match=r"not a picture|cut short"):
        read_image(data)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP"])
def test_damage_gives_a_picture_or_an_image_error_and_nothing_else(format: str) -> None:
    data = saved(Image.fromarray(RGB), format)
    rng = np.random.default_rng(7)
    outcomes = set()
    for _ in range(150):
        damaged = bytearray(data)
        for at in rng.integers(len(data), size=3):
            damaged[at] ^= 1 << rng.integers(8)
        try:
            outcomes.add(read_image(bytes(damaged)).ndim)
        except ImageError:
            outcomes.add("refused")
    assert "refused" in outcomes


def test_errors_name_the_file(tmp_path: Path) -> None:
    missing, text = tmp_path / "missing.png", tmp_path / "text.png"
    text.write_text("no picture")
    for path in (missing, text, tmp_path):
        with pytest.raises(ImageError) as caught:
            read_image(path)
        assert str(caught.value).startswith(f"{path}: ")


def test_something_else_is_refused_by_its_type() -> None:
    with pytest.raises(ImageError, match="int is not a picture"):
        read_image(3)  # type: ignore[arg-type]


def test_a_picture_beyond_pillows_limit_is_refused_before_it_is_decoded() -> None:
    header = b"P6 100000 100000 255\n"
    with pytest.raises(ImageError, match="too large"):
        read_image(header)


DEEP = np.random.default_rng(0).integers(0, 65536, (4, 6), dtype=np.uint16)


@pytest.mark.parametrize("order", ["<", ">"])
def test_bytes_of_samples_stand_in_any_order(order: str) -> None:
    array = DEEP.astype(f"{order}u2")
    np.testing.assert_array_equal(read_picture(array).samples[:, :, 0], DEEP)
