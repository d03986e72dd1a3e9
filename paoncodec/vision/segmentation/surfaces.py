"""How far the surfaces of organs are from where they should be: HD95 and surface Dice, by MONAI."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from paoncodec.errors import ImageError, UsageError
from paoncodec.vision.segmentation.metrics import Array, Labels

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["TOLERANCE", "require_monai", "surface_distances", "voxel_sides"]

#: How far apart surfaces may be and count as one, mm.
TOLERANCE = 2.0


def surface_distances(
    found: Labels,
    truth: Labels,
    classes: int,
    sides: npt.NDArray[np.float64],
    tolerance: float = TOLERANCE,
) -> tuple[Array, Array]:
    """HD95 in mm and surface Dice of each class but 0: each (classes - 1,).

    The surface of a class is its outermost voxels, those at the end of the volume among them. HD95
    is the larger of the two 95th percentiles of distances from one surface to the other. Surface
    Dice (Nikolov et al., "Clinically Applicable Segmentation of Head and Neck Anatomy", 2021) is
    the share of both surfaces that is no further than ``tolerance`` from the other.

    A class that truth does not have is NaN in both, as its Dice is. One that was not found at all
    has the surface Dice 0, and as HD95 the diagonal of the volume, so that nothing is gained by
    finding nothing.

    Args:
        found, truth: of equal shape (X, Y, Z), values below ``classes``.
        classes: with the background.
        sides: of a voxel, mm (:func:`voxel_sides`).
        tolerance: mm.

    Raises:
        ImageError: shapes differ.
        UsageError: the tolerance is out of range, or MONAI is not installed.
    """
    if found.shape != truth.shape:
        raise ImageError(f"labels of {found.shape} and {truth.shape}: must be of one size")
    if not 0 <= tolerance < np.inf:
        raise UsageError(f"tolerance {tolerance}: must be 0 mm or more")
    diagonal = float(np.linalg.norm(np.asarray(truth.shape) * sides))
    made = np.full((2, classes - 1), np.nan)
    for label in range(1, classes):
        wanted, got = truth == label, found == label
        if not wanted.any():
            continue
        made[:, label - 1] = diagonal, 0.0
        if got.any():
            made[:, label - 1] = _measured(*_cropped(got, wanted), sides, tolerance)
    return made[0], made[1]


def voxel_sides(affine: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(3,) sides of a voxel along the volume's axes, mm, of a (4, 4) affine."""
    return np.asarray(np.linalg.norm(affine[:3, :3], axis=0))


def require_monai() -> ModuleType:
    """``monai.metrics``.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import monai.metrics
    except ImportError as error:
        raise UsageError(
            "HD95 and surface Dice take MONAI: pip install 'paoncodec[surfaces]'"
        ) from error
    return monai.metrics


def _cropped(
    found: npt.NDArray[np.bool_], truth: npt.NDArray[np.bool_]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Both within the box that holds them, in a border of one voxel: (1, 1, x, y, z)."""
    either = found | truth
    box = tuple(
        slice(places[0], places[-1] + 1)
        for places in (
            np.flatnonzero(either.any(tuple(other for other in range(3) if other != axis)))
            for axis in range(3)
        )
    )
    first, second = (torch.from_numpy(np.pad(part[box], 1))[None, None] for part in (found, truth))
    return first, second


def _measured(
    found: torch.Tensor,
    truth: torch.Tensor,
    sides: npt.NDArray[np.float64],
    tolerance: float,
) -> tuple[float, float]:
    metrics, spacing = require_monai(), sides.tolist()
    with warnings.catch_warnings():
        # MONAI calls functions of its own that it has deprecated.
        warnings.simplefilter("ignore", FutureWarning)
        hausdorff = metrics.compute_hausdorff_distance(
            found, truth, include_background=True, percentile=95, spacing=spacing
        )
        dice = metrics.compute_surface_dice(
            found, truth, [tolerance], include_background=True, spacing=spacing
        )
    return float(hausdorff), float(dice)
