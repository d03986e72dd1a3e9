"""Metrics and pictures for TensorBoard."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class Board:
    """Writes event files; where TensorBoard is not installed, nothing.

    Args:
        folder: of the run's event files.
        step: steps done. What an earlier start wrote of later ones is void from now on.

    Attributes:
        installed: whether anything is written.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self._writer = _open(folder, step)
        self.installed = self._writer is not None

    def figures(self, group: str, step: int, figures: Mapping[str, float]) -> None:
        """Scalars ``group/name``; those that are not finite are left out."""
        if self._writer is None:
            return
        for name, value in figures.items():
            if math.isfinite(value):
                self._writer.add_scalar(f"{group}/{name}", value, step)

    def pictures(self, group: str, step: int, pictures: Mapping[str, Tensor]) -> None:
        """Pictures ``group/name``, each (3, H, W) in [0, 1]."""
        if self._writer is None:
            return
        for name, picture in pictures.items():
            self._writer.add_image(f"{group}/{name}", picture.detach().float().cpu(), step)

    def flush(self) -> None:
        """Brings all that was given so far to the disk.

        Raises:
            OSError: it cannot be written.
        """
        if self._writer is not None:
            self._writer.flush()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


def _open(folder: Path, step: int) -> SummaryWriter | None:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=step + 1)
