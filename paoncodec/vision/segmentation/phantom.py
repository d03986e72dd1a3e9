"""An example data set: phantoms of an abdomen, drawn by numbers. No anatomy, and no patient.

Organs are ellipsoids and bent tubes that overlap, in a body of soft tissue under a layer of fat,
with the intensities that CT shows of such organs. Voxels at a border have a share of each side
(partial volume), and all have noise.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from paoncodec.errors import UsageError
from paoncodec.vision.segmentation.volumes import Volume, write_labels, write_volume

__all__ = ["CLASSES", "make_phantom", "write_phantoms"]

#: Label → name. 0 is everything else.
CLASSES: Mapping[int, str] = MappingProxyType(
    {
        0: "background",
        1: "liver",
        2: "spleen",
        3: "right kidney",
        4: "left kidney",
        5: "stomach",
        6: "aorta",
        7: "vena cava",
    }
)
#: Intensities in Hounsfield units.
AIR, FAT, TISSUE = -1000.0, -100.0, 40.0
#: Sub-voxels along each axis from which a voxel's share of each side is taken.
_FINE = 2
_LEAST_SIDE = 16

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Ellipsoid:
    """In a body that reaches from -1 to 1 along each axis: right to left, back to front, up."""

    label: int
    intensity: float
    centre: tuple[float, float, float]
    radii: tuple[float, float, float]

    def drawn(self, at: tuple[Array, Array, Array], rng: np.random.Generator) -> npt.NDArray[Any]:
        """Where it is, with place, size and turn about the long axis of the body by chance."""
        centre = np.asarray(self.centre) + rng.uniform(-0.06, 0.06, 3)
        radii = np.asarray(self.radii) * rng.uniform(0.85, 1.15, 3)
        angle = rng.uniform(-0.35, 0.35)
        x, y, z = (axis - c for axis, c in zip(at, centre, strict=True))
        along = np.cos(angle) * x + np.sin(angle) * y
        across = np.cos(angle) * y - np.sin(angle) * x
        return (along / radii[0]) ** 2 + (across / radii[1]) ** 2 + (z / radii[2]) ** 2 < 1


@dataclass(frozen=True)
class _Tube:
    """Along the body, bent in both directions across it; the same units."""

    label: int
    intensity: float
    centre: tuple[float, float]
    radius: float

    def drawn(self, at: tuple[Array, Array, Array], rng: np.random.Generator) -> npt.NDArray[Any]:
        """Where it is, with place, width and bends by chance."""
        x, y, z = at
        offsets = np.asarray(self.centre) + rng.uniform(-0.04, 0.04, 2)
        radius = self.radius * rng.uniform(0.85, 1.15)
        bends, phases = rng.uniform(0, 0.06, 2), rng.uniform(0, 2 * np.pi, 2)
        middle = [o + b * np.sin(2 * z + p) for o, b, p in zip(offsets, bends, phases, strict=True)]
        return (x - middle[0]) ** 2 + (y - middle[1]) ** 2 < radius**2


#: Later ones lie over earlier ones.
_ORGANS: tuple[_Ellipsoid | _Tube, ...] = (
    _Ellipsoid(1, 105.0, (-0.36, 0.10, 0.25), (0.42, 0.46, 0.48)),
    _Ellipsoid(5, 65.0, (0.30, 0.28, 0.30), (0.30, 0.24, 0.36)),
    _Ellipsoid(2, 120.0, (0.58, -0.18, 0.35), (0.20, 0.26, 0.32)),
    _Ellipsoid(3, 180.0, (-0.42, -0.36, -0.28), (0.16, 0.18, 0.34)),
    _Ellipsoid(4, 180.0, (0.42, -0.36, -0.20), (0.16, 0.18, 0.34)),
    _Tube(6, 230.0, (0.08, -0.34), 0.10),
    _Tube(7, 150.0, (-0.12, -0.28), 0.11),
)


def make_phantom(
    seed: int,
    shape: tuple[int, int, int] = (64, 64, 64),
    spacing: float = 5.0,
    noise: float = 15.0,
) -> tuple[Volume, Volume]:
    """A volume and its labels; equal arguments make equal ones.

    Args:
        seed: of everything that is by chance.
        shape: (X, Y, Z), sides of 16 voxels or more.
        spacing: side of a voxel, mm.
        noise: standard deviation, HU.

    Returns:
        The CT values, float32 in HU, and the labels, uint8 of :data:`CLASSES`. A voxel's label is
        that of most of it.

    Raises:
        UsageError: a side is too short, or spacing or noise is out of range.
    """
    if min(shape) < _LEAST_SIDE:
        raise UsageError(f"shape {shape}: sides must be >= {_LEAST_SIDE} voxels")
    if not (0 < spacing < np.inf and 0 <= noise < np.inf):
        raise UsageError(f"spacing {spacing}, noise {noise}: must be above 0, and 0 or more")
    rng = np.random.default_rng(seed)
    ticks = [(np.arange(_FINE * n) + 0.5) / (_FINE * n) * 2 - 1 for n in shape]
    at = (ticks[0][:, None, None], ticks[1][None, :, None], ticks[2][None, None, :])
    fine = np.full([_FINE * n for n in shape], AIR, np.float32)
    labels = np.zeros(fine.shape, np.uint8)
    girth = rng.uniform(0.86, 0.94), rng.uniform(0.68, 0.78)
    for shrink, intensity in ((1.0, FAT), (0.92, TISSUE)):
        inside = (at[0] / (shrink * girth[0])) ** 2 + (at[1] / (shrink * girth[1])) ** 2 < 1
        fine[np.broadcast_to(inside, fine.shape)] = intensity
    for organ in _ORGANS:
        inside = np.broadcast_to(organ.drawn(at, rng), fine.shape)
        fine[inside] = organ.intensity + rng.normal(0, 5)
        labels[inside] = organ.label
    values = _blocks(fine).mean(-1) + rng.normal(0, noise, shape)
    # NIfTI's first axis goes to the right, and the body here is drawn from right to left.
    affine = np.diag([-spacing, spacing, spacing, 1.0])
    affine[:3, 3] = -affine.diagonal()[:3] * (np.asarray(shape) - 1) / 2
    return Volume(values.astype(np.float32), affine), Volume(_most(labels), affine)


def write_phantoms(
    folder: str | os.PathLike[str],
    training: int,
    validation: int,
    shape: tuple[int, int, int] = (64, 64, 64),
    seed: int = 0,
) -> None:
    """Writes a data set as AMOS has it: ``imagesTr``, ``labelsTr``, ``imagesVa``, ``labelsVa`` with
    .nii.gz files, and ``dataset.json``, which names them and the classes.

    Args:
        folder: made where it is not there; must be empty.
        training, validation: numbers of cases.
        shape: as for :func:`make_phantom`.
        seed: of the set; no two cases are of one seed.

    Raises:
        UsageError: the folder is not empty, or cannot be written.
    """
    place = Path(folder)
    try:
        place.mkdir(parents=True, exist_ok=True)
        if any(place.iterdir()):
            raise UsageError(f"{place}: is not empty; name a new folder")
        entries: dict[str, list[dict[str, str]]] = {"training": [], "validation": []}
        for number in range(training + validation):
            part, tail = ("training", "Tr") if number < training else ("validation", "Va")
            image, labels = make_phantom(_case_seed(seed, number), shape)
            names = {
                kind: f"{kind}s{tail}/phantom_{number:04d}.nii.gz" for kind in ("image", "label")
            }
            for name in names.values():
                (place / name).parent.mkdir(exist_ok=True)
            write_volume(place / names["image"], image)
            write_labels(place / names["label"], labels)
            entries[part].append({kind: f"./{name}" for kind, name in names.items()})
        about = {
            "name": "phantoms",
            "description": "Ellipsoids and tubes with CT-like intensities; no patients",
            "modality": {"0": "CT"},
            "labels": {str(label): name for label, name in CLASSES.items()},
            **entries,
        }
        (place / "dataset.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{place} cannot be written: {error.strerror or error}") from error


def _case_seed(seed: int, number: int) -> int:
    return int(np.random.SeedSequence((seed, number)).generate_state(1, np.uint64)[0])


def _blocks(fine: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(2X, 2Y, 2Z) → (X, Y, Z, 8), the sub-voxels of each voxel."""
    x, y, z = (side // _FINE for side in fine.shape)
    parted = fine.reshape(x, _FINE, y, _FINE, z, _FINE).transpose(0, 2, 4, 1, 3, 5)
    return parted.reshape(x, y, z, _FINE**3)


def _most(labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The label that most sub-voxels have; the lowest of several."""
    blocks = _blocks(labels)
    counts = np.stack([(blocks == label).sum(-1, dtype=np.uint8) for label in CLASSES])
    return counts.argmax(0).astype(np.uint8)
