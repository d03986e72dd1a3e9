"""Published points of other codecs on Kodak; SOURCE.md says where they are from."""

from __future__ import annotations

from pathlib import Path

from paoncodec.errors import UsageError

__all__ = ["anchor_file", "anchor_names"]

_FOLDER = Path(__file__).parent


def anchor_names() -> tuple[str, ...]:
    """The anchors that travel with the package, by name."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.json")))


def anchor_file(name: str) -> Path:
    """The result file of an anchor.

    Args:
        name: of an anchor, or else the path of any result file.

    Raises:
        UsageError: there is neither.
    """
    if name in anchor_names():
        return _FOLDER / f"{name}.json"
    path = Path(name)
    if not path.is_file():
        raise UsageError(
            f"no anchor {name!r}: give the path of a result file or one of "
            f"{', '.join(anchor_names())}"
        )
    return path
