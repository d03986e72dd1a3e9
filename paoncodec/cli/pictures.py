"""Pictures to be measured, as a user names them."""

from __future__ import annotations

from pathlib import Path

from paoncodec.errors import UsageError

__all__ = ["dataset_name", "named_images"]


def named_images(folders: tuple[str, ...]) -> dict[str, Path]:
    """Name → file. A name is the path below its folder, so that it says nothing of the machine."""
    from paoncodec.images.crops import find_images

    images: dict[str, Path] = {}
    for folder in folders:
        for path in find_images(folder):
            below = path.relative_to(folder) if path != Path(folder) else Path(path.name)
            if below.as_posix() in images:
                raise UsageError(f"{below} stands in several folders: rename one, or measure apart")
            images[below.as_posix()] = path
    return images


def dataset_name(folders: tuple[str, ...]) -> str:
    """What a set of pictures is called where the user does not say."""
    return "+".join(Path(folder).resolve().name.lower() for folder in folders)
