"""A part of a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Region"]


class Region(NamedTuple):
    """In pixels; x and y of its upper left corner are counted from the picture's."""

    x: int
    y: int
    width: int
    height: int

    def of(self, maps: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """A copy of that part of ``maps`` (H, W, ...)."""
        return maps[self.y : self.y + self.height, self.x : self.x + self.width].copy()
