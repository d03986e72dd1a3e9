"""Our files in Pillow: importing this module makes them pictures like any other.

    import paoncodec.pillow
    from PIL import Image

    Image.open("photo.bin").save("photo.paon", quality=4)

Files are known by their content; `.paon` and `.bin` are the extensions to save under. Opening one
reads its header, its metadata and all checksums; torch is imported, and the picture decoded, when
pixels are asked for.

Options of `Image.save`: those of `paoncodec.encode` (`quality`, `model`, `target_bpp`,
`target_psnr`, `target_size`, `lossless`, `strip`), and `icc_profile`, `exif` and `xmp` in place of
those that the image has. What goes wrong while opening and loading is an OSError, as Pillow's users
expect; saving raises what `paoncodec.encode` does.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import IO, Any

from PIL import Image, ImageFile

from paoncodec import api
from paoncodec.beside import read_metadata
from paoncodec.bitstream import MAGIC, Header, SectionKind, read
from paoncodec.errors import PaonError

__all__ = ["FORMAT", "PaonImageFile"]

FORMAT = "PAON"

_EXTENSIONS = (".paon", ".bin")
_ENCODER_OPTIONS = (
    "quality",
    "model",
    "target_bpp",
    "target_psnr",
    "target_size",
    "lossless",
    "strip",
)
_METADATA = ("icc_profile", "exif", "xmp")


class PaonImageFile(ImageFile.ImageFile):
    """A file of ours that `Image.open` has found."""

    format = FORMAT
    format_description = "paoncodec"
    #: What has not been decoded yet; None of a pickled image, whose pixels come with it.
    _content: bytes | None = None

    def _open(self) -> None:
        from paoncodec.images import pillow_info

        if self.fp is None:
            raise OSError("no file to read")
        self._content = self.fp.read()
        with _as_pillow_says():
            container = read(self._content)
            self.info.update(pillow_info(read_metadata(container)))
        header = container.header
        self._size = header.width, header.height
        self._mode = _mode(header, SectionKind.ALPHA in container.sections)

    def load(self) -> Any:
        """Decodes the picture, the first time."""
        if self._content is not None:
            with _as_pillow_says():
                image = api.decode(self._content)
            self._content = None
            if self.fp is not None and self._exclusive_fp:
                self.fp.close()
            self.fp = BytesIO(image.tobytes())
            self.tile = [ImageFile._Tile("raw", (0, 0, *self.size), 0, self.mode)]
        return super().load()


def _mode(header: Header, alpha: bool) -> str:
    """What `paoncodec.decode` will return."""
    if header.channels == 1 and not alpha and header.depth == 16:
        return "I;16"
    return ("L" if header.channels == 1 else "RGB") + "A" * alpha


@contextmanager
def _as_pillow_says() -> Iterator[None]:
    try:
        yield
    except PaonError as error:
        raise OSError(str(error)) from error


def _accept(prefix: bytes) -> bool:
    return prefix.startswith(MAGIC)


def _save(image: Image.Image, file: IO[bytes], filename: str | bytes) -> None:
    given = getattr(image, "encoderinfo", {})
    instead = {name: _bytes(given[name]) for name in _METADATA if name in given}
    if instead or isinstance(image, PaonImageFile):  # a copy is an image like any other
        image = image.copy()
        image.info.update(instead)
    options = {name: given[name] for name in _ENCODER_OPTIONS if name in given}
    file.write(api.encode(image, **options))


def _bytes(metadata: bytes | Image.Exif | None) -> bytes | None:
    if isinstance(metadata, Image.Exif):
        return metadata.tobytes() if len(metadata) else None
    return metadata


Image.register_open(FORMAT, PaonImageFile, _accept)
Image.register_save(FORMAT, _save)
Image.register_extensions(FORMAT, list(_EXTENSIONS))
Image.register_mime(FORMAT, "image/x-paon")
