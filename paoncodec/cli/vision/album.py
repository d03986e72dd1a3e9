"""The folder of pictures that `paoncodec vision eval --task segmentation` draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from paoncodec.cli.files import STREAM, check_output, write_output
from paoncodec.errors import UsageError
from paoncodec.evaluation.segmentation import MEASURES
from paoncodec.evaluation.segmentation_plots import box_plot, overlays
from paoncodec.vision.segmentation.data import Case
from paoncodec.vision.segmentation.volumes import Volume

__all__ = ["Album"]


@dataclass(frozen=True)
class Album:
    """Pictures of cases, and box plots, in one folder.

    Args:
        folder: made where it is not there.
        classes: names by label.
        window: in Hounsfield units, that becomes black and white.
        force: whether files are replaced.
    """

    folder: Path
    classes: Sequence[str]
    window: tuple[float, float]
    force: bool

    def check(self, cases: Sequence[str]) -> None:
        """Makes the folder, and sees that its pictures can be written: before hours of measuring.

        Raises:
            UsageError: they cannot.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"{self.folder} cannot be made: {error.strerror}") from error
        for name in (*cases, *map(_boxes_of, MEASURES)):
            check_output(self._file(name), STREAM, self.force)

    def add(self, case: Case, image: Volume, truth: Volume, found: npt.NDArray[np.uint8]) -> None:
        """Draws a case."""
        content = overlays(image, truth, found, self.classes, self.window)
        write_output(self._file(case.name), content, self.force)

    def add_boxes(self, results: Sequence[Mapping[str, Any]]) -> None:
        """Draws the box plot of each measure that all results have, where there are cases."""
        if not results[-1]["cases"]:
            return
        for measure in MEASURES:
            if all(measure in result["results"] for result in results):
                content = box_plot(results, measure)
                write_output(self._file(_boxes_of(measure)), content, self.force)

    def _file(self, name: str) -> str:
        return str(self.folder / f"{name}.png")


def _boxes_of(measure: str) -> str:
    return f"boxes-{measure.replace('_', '-')}"
