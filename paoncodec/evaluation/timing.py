"""Seconds and memory of an action."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TypeVar

__all__ = ["Peak", "peak_memory", "timed"]

T = TypeVar("T")

_CLEAR = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")
# What writing it there does: the peak of the resident memory starts from now (proc(5)).
_RESET_PEAK = "5"


def timed(action: Callable[[], T], repeats: int = 1) -> tuple[T, float]:
    """What an action returns, and the median of the wall seconds it took.

    Work that it has left with a CUDA device is waited for.

    Args:
        action: gives the same each time.
        repeats: how often it is run, ≥ 1.
    """
    seconds = []
    for _ in range(repeats):
        _synchronise()
        start = perf_counter()
        result = action()
        _synchronise()
        seconds.append(perf_counter() - start)
    return result, statistics.median(seconds)


def _synchronise() -> None:
    torch = sys.modules.get("torch")  # whoever uses a device has loaded it
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.synchronize()


@dataclass
class Peak:
    """`bytes`: the most memory that was resident; None where the system does not tell."""

    bytes: int | None = None


@contextmanager
def peak_memory() -> Iterator[Peak]:
    """The peak of this process's resident memory from here to the end of the block (Linux)."""
    peak = Peak()
    try:
        _CLEAR.write_text(_RESET_PEAK)
    except OSError:
        yield peak
        return
    yield peak
    for line in _STATUS.read_text().splitlines():
        if line.startswith("VmHWM:"):
            peak.bytes = 1024 * int(line.split()[1])
