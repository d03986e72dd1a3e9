"""Pictures of what was segmented, and of how well: overlays in three planes, box plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from paoncodec.errors import UsageError
from paoncodec.evaluation.plots import figure_file, styles
from paoncodec.vision.segmentation.inference import WINDOW, normalised
from paoncodec.vision.segmentation.pictures import overlay, palette
from paoncodec.vision.segmentation.surfaces import voxel_sides
from paoncodec.vision.segmentation.volumes import Volume, canonical

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["AXIS_NAMES", "box_plot", "overlays"]

#: Measure → what its axis says, and what values are multiplied by there.
AXIS_NAMES: Mapping[str, tuple[str, float]] = {
    "dice": ("Dice, %", 100.0),
    "hd95": ("HD95, mm", 1.0),
    "surface_dice": ("Surface Dice, %", 100.0),
}
#: Across which axis of a canonical volume slices of each plane are.
_PLANES = {"axial": 2, "coronal": 1, "sagittal": 0}


def overlays(
    image: Volume,
    truth: Volume,
    found: npt.NDArray[np.uint8],
    classes: Sequence[str],
    window: tuple[float, float] = WINDOW,
    picture_format: str = "png",
) -> bytes:
    """A case as a picture file: the true labels over what was found, in three planes.

    Each plane is cut where truth has most organ. As radiologists look at it: the patient's right is
    on the left of axial and coronal slices, and the front on the left of sagittal ones.

    Args:
        image: CT, in Hounsfield units.
        truth: its labels.
        found: labels of the same shape, in the order of ``truth``'s voxels.
        classes: their names by label; the first is the background.
        window: that becomes black and white.
        picture_format: ``"png"``, ``"svg"`` or ``"pdf"``.

    Raises:
        UsageError: another format.
    """
    volume, labels = canonical(image), canonical(truth)
    rows = {"true": labels.values, "found": canonical(Volume(found, truth.affine)).values}
    values = normalised(volume.values.astype(np.float32), window)
    sides = voxel_sides(volume.affine)
    with figure_file(picture_format, (7.0, 5.2)) as (figure, buffer):
        axes = figure.subplots(len(rows), len(_PLANES), squeeze=False)
        for column, (plane, axis) in enumerate(_PLANES.items()):
            others = tuple(other for other in range(3) if other != axis)
            place = int((labels.values > 0).sum(others).argmax())
            for row, (name, shown) in enumerate(rows.items()):
                ax = axes[row][column]
                ax.imshow(
                    _coloured(values, shown, axis, place),
                    aspect=sides[others[1]] / sides[others[0]],
                    interpolation="nearest",
                )
                ax.set(xticks=[], yticks=[])
                ax.set_title(plane if row == 0 else "")
                ax.set_ylabel(name if column == 0 else "")
        _legend(figure, classes, sorted(set(np.unique(truth.values)) | set(np.unique(found))))
    return buffer.getvalue()


def box_plot(
    results: Sequence[Mapping[str, Any]],
    measure: str = "dice",
    picture_format: str = "png",
    title: str | None = None,
) -> bytes:
    """A measure's values over the cases, a box for each class and result, as a picture file.

    Boxes go from the lower to the upper quartile, with the median; whiskers to the last case within
    1.5 times as far again; cases beyond are dots. A case without the class has no value.

    Args:
        results: of :func:`.evaluate`, at least one, of the same classes.
        measure: one of :data:`AXIS_NAMES`.
        picture_format: ``"png"``, ``"svg"`` or ``"pdf"``.
        title: above it.

    Raises:
        UsageError: no results, other classes, a result without the measure, or another format.
    """
    if not results:
        raise UsageError("nothing to draw: give a result file")
    classes = results[0]["classes"]
    for result in results:
        if result["classes"] != classes:
            raise UsageError(f"{result['name']}: has other classes than {results[0]['name']}")
        if measure not in result["results"]:
            raise UsageError(f"{result['name']}: says no {measure}; measure it with --surfaces")
    with figure_file(picture_format, (1.6 + 0.8 * len(classes), 3.6)) as (figure, buffer):
        ax: Axes = figure.subplots()
        colours = [style.colour for style in styles([result["name"] for result in results])]
        for number, (result, colour) in enumerate(zip(results, colours, strict=True)):
            _boxes(ax, result, measure, (number, len(results)), colour)
        ax.set_xticks(range(len(classes)), classes, rotation=30, ha="right")
        ax.set_xlim(-0.6, len(classes) - 0.4)
        ax.set_ylabel(AXIS_NAMES[measure][0])
        ax.grid(axis="y", alpha=0.3)
        ax.set_title(title or "")
        ax.legend(fontsize=8)
    return buffer.getvalue()


def _boxes(
    ax: Axes, result: Mapping[str, Any], measure: str, place: tuple[int, int], colour: str
) -> None:
    """A result's boxes; it is the ``place[0]``-th of ``place[1]`` beside each other."""
    width = 0.8 / place[1]
    values = [
        [AXIS_NAMES[measure][1] * row[measure][c] for row in result["cases"] if _has(row, c)]
        for c in result["classes"]
    ]
    drawn = ax.boxplot(
        values,
        positions=np.arange(len(values)) + (place[0] - (place[1] - 1) / 2) * width,
        widths=0.85 * width,
        patch_artist=True,
        medianprops={"color": "black"},
        flierprops={"marker": ".", "markersize": 4, "markeredgecolor": colour},
        manage_ticks=False,
    )
    for box in drawn["boxes"]:
        box.set(facecolor=colour, alpha=0.6)
    drawn["boxes"][0].set_label(result["name"])


def _has(row: Mapping[str, Any], name: str) -> bool:
    """Whether a case has a class: all measures have a value then, or none."""
    return row["dice"][name] is not None


def _coloured(
    values: npt.NDArray[np.float32], labels: npt.NDArray[np.uint8], axis: int, place: int
) -> npt.NDArray[np.float32]:
    """(H, W, 3) of a slice as it is looked at: upwards or to the front, and mirrored."""
    flat = (torch.from_numpy(np.take(part, place, axis)) for part in (values, labels))
    picture = overlay(*flat).numpy()
    return np.asarray(picture.transpose(2, 1, 0)[::-1, ::-1])


def _legend(figure: Any, classes: Sequence[str], there: Sequence[int]) -> None:
    from matplotlib.patches import Patch

    colours = palette(len(classes)).numpy()
    shown = [Patch(color=colours[k], label=classes[k]) for k in there if k > 0]
    if shown:
        figure.legend(handles=shown, loc="outside lower center", ncols=4, fontsize=8)
