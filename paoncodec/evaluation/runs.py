"""Measuring coders on pictures: real files, decoded from disk."""

from __future__ import annotations

import math
import multiprocessing
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from paoncodec.errors import PaonError, UsageError, WeightsError
from paoncodec.evaluation.coders import Coder
from paoncodec.evaluation.metrics import (
    bits_per_pixel,
    check_lpips,
    decibels,
    lpips_distance,
    ms_ssim,
)
from paoncodec.evaluation.results import SCHEMA, mean_points
from paoncodec.evaluation.timing import peak_memory, timed
from paoncodec.images import psnr, read_image, write_image

__all__ = ["Options", "Setting", "evaluate", "settings_of"]

Row: TypeAlias = "dict[str, Any]"

# A picture of this side is coded before any timing: loads weights and wakes libraries.
_WARM_UP_SIDE = 256
_PACKAGES = ("paoncodec", "torch", "compressai", "constriction", "numpy", "Pillow")
# Their figures may be anything: a run stops at once rather than failing at every picture.
_FATAL = (UsageError, WeightsError)


@dataclass(frozen=True)
class Setting:
    """One point of a curve: a coder at one of its qualities."""

    coder: Coder
    quality: float


@dataclass(frozen=True)
class Options:
    """How to measure.

    Args:
        jobs: processes, each at one picture.
        threads: of torch in each process; 0: all cores, shared out among the processes.
        repeats: how often a picture is coded and decoded for the median of the times.
        ms_ssim: compute it.
        lpips_weights: path of weights that turn LPIPS on; see `metrics.check_lpips`.
        keep: folder for the files and the decoded pictures; None: they are not kept.

    Raises:
        UsageError: jobs or repeats below 1, or threads below 0.
    """

    jobs: int = 1
    threads: int = 0
    repeats: int = 1
    ms_ssim: bool = True
    lpips_weights: str | None = None
    keep: Path | None = None

    def __post_init__(self) -> None:
        if self.jobs < 1 or self.repeats < 1 or self.threads < 0:
            raise UsageError(
                f"jobs {self.jobs}, repeats {self.repeats}, threads {self.threads}: "
                "1 or more are legal, for threads also 0"
            )

    @property
    def threads_each(self) -> int:
        """Threads of torch in each process."""
        return self.threads or max(1, (os.cpu_count() or 1) // self.jobs)


@dataclass(frozen=True)
class _Task:
    image: Path
    name: str
    setting: Setting
    options: Options
    folder: Path


def settings_of(coders: Sequence[Coder], qualities: Sequence[float] = ()) -> list[Setting]:
    """The points to measure: each coder's usual qualities, or those given.

    With several coders, such as one weights file for each λ, each keeps its own.

    Raises:
        UsageError: qualities for several coders, the same quality twice, or nothing at all.
    """
    if not coders:
        raise UsageError("nothing to measure: give a model or a codec")
    if qualities and len(coders) > 1:
        raise UsageError(f"qualities for {len(coders)} models: each has its own; leave them out")
    chosen = [Setting(c, q) for c in coders for q in (qualities or c.qualities())]
    values = [setting.quality for setting in chosen]
    if len(set(values)) < len(values):
        raise UsageError(f"qualities {', '.join(f'{q:g}' for q in values)}: one stands there twice")
    return sorted(chosen, key=lambda setting: setting.quality)


def evaluate(
    images: Mapping[str, Path],
    settings: Sequence[Setting],
    options: Options | None = None,
    *,
    name: str | None = None,
    dataset: str = "",
    command: Sequence[str] = (),
    progress: Callable[[str, float, str | None], None] = lambda image, quality, error: None,
) -> dict[str, Any]:
    """Code every picture at every setting and say what came out; docs/evaluation.md, "Schema".

    Args:
        images: name → file.
        settings: the points of the curve, by `settings_of`.
        options: how to measure.
        name: of the curve; default that of the first coder.
        dataset: what to call the pictures.
        command: that asked for it, for the record.
        progress: hears of each picture and quality that is done, with its error if it failed.

    Returns:
        The content of a result file. Its `failures` are pictures that could not be measured.

    Raises:
        UsageError, WeightsError: what holds for all pictures, such as missing weights.
    """
    options = options or Options()
    descriptions = [coder.describe() for coder in dict.fromkeys(s.coder for s in settings)]
    lpips = check_lpips(options.lpips_weights) if options.lpips_weights else None
    name = name or settings[0].coder.name
    rows: list[Row] = []
    failures: list[Row] = []
    with _folder(options.keep, name) as folder:
        tasks = [
            _Task(path, image, setting, options, folder)
            for setting in settings  # the outer loop: each weights file is loaded once
            for image, path in images.items()
        ]
        for row in _measured(tasks, options):
            (failures if "error" in row else rows).append(row)
            progress(row["image"], row["quality"], row.get("error"))
    order = list(images)
    for found in (rows, failures):
        found.sort(key=lambda row: (order.index(row["image"]), row["quality"]))
    return {
        "schema": SCHEMA,
        "name": name,
        "description": _description(descriptions),
        "dataset": {"name": dataset, "images": len(images), "sha256": _digest(images)},
        "codecs": descriptions,
        "conditions": _conditions(options, lpips),
        "command": list(command),
        "results": mean_points(rows, [setting.quality for setting in settings]),
        "images": rows,
        "failures": failures,
    }


def _measured(tasks: Sequence[_Task], options: Options) -> Iterator[Row]:
    if options.jobs == 1:
        with _threads(options.threads_each):
            yield from map(_measure, tasks)
        return
    # Not forked: torch's and OpenMP's threads do not survive that.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(options.jobs, context, _begin, (options.threads_each,))
    try:
        for done in as_completed([pool.submit(_measure, task) for task in tasks]):
            yield done.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _measure(task: _Task) -> Row:
    """A row, or what went wrong in place of its figures."""
    start = {"image": task.name, "quality": task.setting.quality}
    try:
        return {**start, **_figures(task)}
    except _FATAL:
        raise
    # One picture, whatever is the matter with it, must not end a run of hours.
    except Exception as error:  # noqa: BLE001
        said = str(error) if isinstance(error, PaonError) else f"{type(error).__name__}: {error}"
        return {**start, "error": " ".join(said.split())}


def _figures(task: _Task) -> Row:
    coder, quality, options = task.setting.coder, task.setting.quality, task.options
    picture = read_image(task.image)
    _warm_up(coder)
    place = task.folder / f"{quality:g}" / f"{task.name}{coder.suffix}"
    place.parent.mkdir(parents=True, exist_ok=True)
    with peak_memory() as peak:
        data, encoding = timed(lambda: coder.encode(picture, quality), options.repeats)
        place.write_bytes(data)
        decoded, decoding = timed(lambda: coder.decode(place), options.repeats)
    if decoded.shape[:2] != picture.shape[:2]:
        raise ValueError(f"{picture.shape[:2]} became {decoded.shape[:2]}")
    size = place.stat().st_size
    payload = coder.payload(data)
    bits = coder.estimate(picture, quality, data)
    height, width, _ = picture.shape
    row: Row = {
        "width": width,
        "height": height,
        "bytes": size,
        "bpp": bits_per_pixel(size, picture),
        "payload-bpp": None if payload is None else bits_per_pixel(payload, picture),
        "estimated-bpp": None if bits is None else bits / (height * width),
        **_distortion(picture, decoded, options),
        "encoding_time": encoding,
        "decoding_time": decoding,
        "peak-memory": peak.bytes,
    }
    if options.keep is not None:
        shown = place.with_name(f"{place.name}.png")
        write_image(decoded, shown)
        row["file"] = place.relative_to(options.keep).as_posix()
        row["decoded"] = shown.relative_to(options.keep).as_posix()
        row["original"] = _kept_original(picture, task.name, options.keep)
    return row


def _distortion(
    picture: npt.NDArray[np.uint8], decoded: npt.NDArray[np.uint8], options: Options
) -> Row:
    similarity = ms_ssim(picture, decoded) if options.ms_ssim else None
    weights = options.lpips_weights
    return {
        "psnr-rgb": _finite(psnr(picture, decoded)),
        "ms-ssim-rgb": similarity,
        "ms-ssim-rgb-db": None if similarity is None else _finite(decibels(similarity)),
        "lpips": lpips_distance(picture, decoded, weights) if weights else None,
    }


def _finite(value: float) -> float | None:
    """JSON has no infinity: PSNR and MS-SSIM of equal pictures become null."""
    return value if math.isfinite(value) else None


def _kept_original(picture: npt.NDArray[np.uint8], name: str, keep: Path) -> str:
    """The picture without loss, where pages that show it find it; its path in `keep`."""
    place = keep / "original" / f"{name}.png"
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        part = place.with_name(f"{place.name}.{os.getpid()}.part")
        write_image(picture, part, "png")
        part.replace(place)
    return place.relative_to(keep).as_posix()


@cache  # once for each process; the coders of a run are few
def _warm_up(coder: Coder) -> None:
    """What only the first picture pays for is paid now."""
    side = np.arange(_WARM_UP_SIDE, dtype=np.uint8)
    picture = np.repeat((side[:, None] ^ side)[:, :, None], 3, axis=2)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / f"warm-up{coder.suffix}"
        place.write_bytes(coder.encode(picture, coder.qualities()[0]))
        coder.decode(place)


@contextmanager
def _folder(keep: Path | None, name: str) -> Iterator[Path]:
    """Where files go: below `keep`, or for the time of the run."""
    if keep is not None:
        yield keep / "".join(c if c.isalnum() or c in "._-" else "-" for c in name)
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def _digest(images: Mapping[str, Path]) -> str:
    """Of the picture files, in the order of their names."""
    whole = sha256()
    for name in sorted(images):
        whole.update(sha256(images[name].read_bytes()).digest())
    return whole.hexdigest()


def _description(codecs: Sequence[Mapping[str, Any]]) -> str:
    first = codecs[0]
    if first["kind"] == "pillow":
        return f"{first['library']} by Pillow {first['pillow']}: {first['effort']}"
    maker = {"paoncodec": "paoncodec", "compressai": "CompressAI checkpoint"}[first["kind"]]
    return f"{maker}, {', '.join(codec['weights'] for codec in codecs)}"


def _conditions(options: Options, lpips: Mapping[str, str] | None) -> dict[str, Any]:
    import torch

    return {
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "jobs": options.jobs,
        "threads": options.threads_each,
        "repeats": options.repeats,
        "timing": (
            "wall seconds of one picture, the model being loaded: array to bytes, file to array; "
            "median of the repeats, devices synchronised"
        ),
        "warm_up": f"one {_WARM_UP_SIDE}x{_WARM_UP_SIDE} picture a codec in each process",
        "peak_memory": "of the process while it encodes and decodes, resident, bytes",
        "lpips": lpips,
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "versions": {"python": platform.python_version(), **_versions()},
    }


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # run from its sources
            found[package] = getattr(sys.modules.get(package), "__version__", "unknown")
    return found
