"""Labelled pictures: from class folders, archives of them, CIFAR-10's Python batches, and the HDF5
file of Galaxy10."""

from __future__ import annotations

import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from paoncodec.errors import ImageError, UsageError
from paoncodec.images import read_image
from paoncodec.images.crops import SUFFIXES
from paoncodec.vision.classification.batches import is_batch, read_batches
from paoncodec.vision.classification.hdf5 import is_hdf5, read_galaxies

__all__ = ["Block", "LabelledImages", "WrongSize", "class_files", "read_images", "relabelled"]

#: What a data set is parted into.
PARTS = ("train", "test")
#: The folders of each part, the first that is there. What stands in none of them belongs to either.
_FOLDERS = {"train": ("train",), "test": ("test", "val")}

#: A file's name within its place, and how to read it.
Files: TypeAlias = "dict[PurePosixPath, Callable[[], bytes]]"


class WrongSize(ImageError):
    """The picture is of another size than those beside it."""


class Block(NamedTuple):
    """Some of a data set's pictures, as they are measured.

    Attributes:
        pixels: uint8 (n, S, S, 3).
        places: (n,), where they are in the data set.
        faults: those that cannot be read, by name, and why.
    """

    pixels: npt.NDArray[np.uint8]
    places: npt.NDArray[np.int64]
    faults: tuple[tuple[str, ImageError], ...] = ()


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Pictures of one size, each of a class.

    Attributes:
        pixels: uint8 (N, S, S, 3).
        labels: int64 (N,), indexes of ``classes``.
        classes: names, in alphabetical order or in that of CIFAR-10's batches.
        names: of the pictures, which say nothing of the machine.
        faults: the pictures that cannot be used, by name, and why.
    """

    pixels: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    names: tuple[str, ...]
    faults: tuple[tuple[str, ImageError], ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def size(self) -> int:
        """Side of the pictures, pixels."""
        return int(self.pixels.shape[1])

    def picture(self, place: int) -> npt.NDArray[np.uint8]:
        """(S, S, 3)."""
        return self.pixels[place]

    def block(self, first: int, last: int) -> Block:
        """The pictures from ``first`` to before ``last``."""
        pixels = self.pixels[first:last]
        return Block(pixels, np.arange(first, first + len(pixels)))

    def chosen(self, places: npt.NDArray[np.intp]) -> LabelledImages:
        """The pictures at some places, without faults."""
        names = tuple(self.names[k] for k in places)
        return LabelledImages(self.pixels[places], self.labels[places], self.classes, names)

    def of_classes(self, classes: Sequence[str]) -> LabelledImages:
        """The same, labelled by their place in ``classes``.

        Raises:
            UsageError: a class is not among them.
        """
        labels = relabelled(self.labels, self.classes, classes)
        return LabelledImages(self.pixels, labels, tuple(classes), self.names, self.faults)


def relabelled(
    labels: npt.NDArray[np.int64], own: Sequence[str], classes: Sequence[str]
) -> npt.NDArray[np.int64]:
    """Indexes of ``own`` as indexes of ``classes``.

    Raises:
        UsageError: a class is not among them.
    """
    unknown = [name for name in own if name not in classes]
    if unknown:
        raise UsageError(
            f"class {', '.join(unknown)}: the network knows {', '.join(classes)}; give "
            "pictures of these"
        )
    return np.array([classes.index(name) for name in own], np.int64)[labels]


def read_images(place: Path, part: str, size: int | None = None) -> LabelledImages:
    """All pictures of one part of a data set, decoded.

    Args:
        place: a folder or a tar archive (of any compression) with folders of pictures, each the
            name of a class, or with CIFAR-10's Python batches as torchvision keeps them. Where
            class folders stand in folders ``train`` and ``test`` or ``val``, those of ``part`` are
            read. Or Galaxy10's HDF5 file (:func:`.read_galaxies`).
        part: ``"train"`` or ``"test"``.
        size: side of the pictures; None: that of the first.

    Raises:
        UsageError: nothing there, or nothing of this part or form.
        ImageError: a damaged archive or batch, or no picture that can be used.
    """
    if is_hdf5(place):
        return _of_size(LabelledImages(*read_galaxies(place, part)), size, place)
    with _opened(place) as files:
        batches = {str(name): read for name, read in files.items() if is_batch(name.name)}
        if batches:
            return _of_size(LabelledImages(*read_batches(batches, part, str(place))), size, place)
        return _decoded(_of_part(files, part, place), place, size)


def class_files(place: Path, part: str) -> tuple[list[PurePosixPath], tuple[str, ...]]:
    """The picture files of one part of a folder, by their names within it, and the classes.

    Raises:
        UsageError: no folder, or nothing of this part or form.
    """
    if not place.is_dir():
        raise UsageError(f"{place}: not a folder of picture files; give one")
    with _opened(place) as files:
        paths = list(_of_part(files, part, place))
    return paths, _classes(paths, place)


def _of_size(found: LabelledImages, size: int | None, place: Path) -> LabelledImages:
    if size not in (None, found.size):
        raise WrongSize(f"{place}: pictures of {found.size} pixels a side, not {size}")
    return found


def _classes(paths: Iterable[PurePosixPath], place: Path) -> tuple[str, ...]:
    classes = tuple(sorted({path.parent.name for path in paths}))
    if len(classes) < 2:
        raise UsageError(
            f"{place}: pictures of the class {classes[0]!r} alone; give a folder with a folder "
            "for each of two or more classes"
        )
    return classes


def _decoded(chosen: Files, place: Path, size: int | None) -> LabelledImages:
    classes = _classes(chosen, place)
    pixels: list[npt.NDArray[np.uint8]] = []
    labels: list[int] = []
    names: list[str] = []
    faults: list[tuple[str, ImageError]] = []
    for path, read in chosen.items():
        try:
            picture = _read_square(str(path), read(), size)
        except ImageError as error:
            faults.append((str(path), error))
            continue
        size = len(picture)
        pixels.append(picture)
        labels.append(classes.index(path.parent.name))
        names.append(str(path))
    if not pixels:
        raise ImageError(f"{place}: no picture can be used: {faults[0][1]}")
    return LabelledImages(
        np.stack(pixels), np.array(labels, np.int64), classes, tuple(names), tuple(faults)
    )


def _read_square(name: str, content: bytes, size: int | None) -> npt.NDArray[np.uint8]:
    """(S, S, 3).

    Raises:
        ImageError: it cannot be read; :class:`WrongSize`: it is not square, or of another size.
    """
    try:
        pixels = read_image(content)
    except ImageError as error:
        raise ImageError(f"{name}: {str(error).removeprefix('image: ')}") from error
    height, width, _ = pixels.shape
    if height != width or size not in (None, height):
        wanted = "square" if size is None else f"{size}x{size}, as the others or the network's"
        raise WrongSize(f"{name}: {width}x{height} pixels, must be {wanted}: resize it")
    return np.ascontiguousarray(np.broadcast_to(pixels, (height, width, 3)))


def _of_part(files: Files, part: str, place: Path) -> Files:
    """The pictures of a part, in the order of their names.

    Raises:
        UsageError: there are none.
    """
    pictures = {
        path: read
        for path, read in sorted(files.items())
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    }
    above = {path.parent.parent.name for path in pictures}
    parted = above & {name for names in _FOLDERS.values() for name in names}
    if parted:
        folder = next((name for name in _FOLDERS[part] if name in parted), None)
        pictures = {p: read for p, read in pictures.items() if p.parent.parent.name == folder}
    places = {path.parent.parent for path in pictures}
    if not pictures or PurePosixPath() in {path.parent for path in pictures}:
        raise UsageError(
            f"{place}: no folders of pictures, one for each class"
            + (f", in a folder {part!r}" if parted else "")
            + f"; give CLASS/PICTURE or {part}/CLASS/PICTURE, or CIFAR-10's batches"
        )
    if len(places) > 1:
        raise UsageError(
            f"{place}: class folders in several places ({', '.join(sorted(map(str, places)))}); "
            "give the one folder that holds them"
        )
    return pictures


@contextmanager
def _opened(place: Path) -> Iterator[Files]:
    """The files of a folder or an archive. Those of an archive are best read in their order."""
    if place.is_dir():
        yield {
            PurePosixPath(path.relative_to(place)): _file(path)
            for path in sorted(place.rglob("*"))
            if path.is_file()
        }
        return
    if not place.is_file():
        raise UsageError(f"{place}: no such file or folder")
    try:
        with tarfile.open(place) as archive:
            yield {
                PurePosixPath(member.name): _member(archive, member)
                for member in archive.getmembers()
                if member.isfile()
            }
            # tarfile stops before the end of what is compressed, where its checksum is.
            while archive.fileobj is not None and archive.fileobj.read(2**20):
                continue
    except tarfile.ReadError as error:
        raise UsageError(
            f"{place}: neither a folder nor a sound tar archive ({error}); give either"
        ) from error
    except (tarfile.TarError, EOFError, OSError, lzma.LZMAError, zlib.error) as error:
        raise ImageError(f"{place}: damaged archive ({error}); fetch it again") from error


def _file(path: Path) -> Callable[[], bytes]:
    def read() -> bytes:
        try:
            return path.read_bytes()
        except OSError as error:
            raise ImageError(f"{path.name}: cannot be read ({error.strerror})") from error

    return read


def _member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Callable[[], bytes]:
    def read() -> bytes:
        file = archive.extractfile(member)
        return b"" if file is None else file.read()

    return read
