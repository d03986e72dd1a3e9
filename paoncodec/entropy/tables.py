"""Probability tables: integers, made once when weights are written and never again.

A table is a cumulative frequency ``0 = c_0 < c_1 < … < c_n = 2**16``. Its symbols are the n - 1
values ``offset … offset + n - 2`` and, last, an escape for every other value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from paoncodec.entropy.exact import ACTIVATION_BITS
from paoncodec.errors import WeightsError

#: Frequencies of a table add up to 2**PRECISION.
PRECISION = 16

#: Tables of y cover all but this much of a distribution: half a unit of frequency.
_OUTSIDE = 2.0 ** -(PRECISION + 1)
#: The fractional part of a mean is kept to within this fraction of the standard deviation …
_MEAN_STEP = 0.25
#: … in at most this many steps of a symbol.
_MOST_STEPS = 64
#: No table reaches beyond ± this, so the excess of an escaped latent stays below 2**16.
_FARTHEST = 2**15


@dataclass(frozen=True)
class Tails:
    """A shape for the distribution of latents: a mixture of two Gaussians of the same mean.

    Trained with Gaussian likelihoods, latents still stray further than their Gaussians say.
    :func:`paoncodec.codecs.calibration.fit_tails` finds the shape that a model's latents have.

    Args:
        narrow, wide: standard deviations of the two, in units of the model's; 0 < narrow ≤ wide.
        share: of the wide one, in [0, 1].

    The default is the plain Gaussian.

    Raises:
        ValueError: values out of range.
    """

    narrow: float = 1.0
    wide: float = 1.0
    share: float = 0.0

    def __post_init__(self) -> None:
        if not (0 < self.narrow <= self.wide < math.inf and 0 <= self.share <= 1):
            raise ValueError(f"{self}: needs 0 < narrow <= wide and a share of 0 to 1")

    def below(self, x: Tensor) -> Tensor:
        """Probability of less than ``x`` (any shape, float64, in units of the deviation)."""
        narrow, wide = (torch.special.ndtr(x / width) for width in (self.narrow, self.wide))
        return torch.lerp(narrow, wide, self.share)

    def reach(self) -> float:
        """How many deviations to either side a table has to cover, to a quarter of one."""
        distance = torch.arange(4.0, 40.0 * self.wide, 0.25, dtype=torch.float64)
        outside = 2 * self.below(-distance)
        return float(distance[outside <= _OUTSIDE][0])


class FrozenTables(nn.Module):
    """Tables one after the other, as buffers of a state dict (int32).

    ``cumulative``: all tables' c_0 … c_n; ``starts`` (T + 1,): where each begins in it;
    ``offsets`` (T,): the value of each table's first symbol.
    """

    cumulative: Tensor
    starts: Tensor
    offsets: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("cumulative", "starts", "offsets"):
            self.register_buffer(name, torch.zeros(0, dtype=torch.int32))

    def __len__(self) -> int:
        return len(self.offsets)

    def set(self, tables: list[Tensor], offsets: list[int]) -> None:
        """Replaces all tables.

        Args:
            tables: cumulative frequencies, each (n + 1,).
            offsets: the value of each table's first symbol.
        """
        lengths = torch.tensor([0] + [len(t) for t in tables])
        self.cumulative = torch.cat(tables).to(torch.int32)
        self.starts = lengths.cumsum(0).to(torch.int32)
        self.offsets = torch.tensor(offsets, dtype=torch.int32)

    def rows(self) -> tuple[list[Tensor], list[int]]:
        """Frequencies of every table (int64, on the CPU), escape last, and the offsets.

        Raises:
            WeightsError: these are not tables (damaged weights).
        """
        cumulative, starts, offsets = (
            t.detach().cpu() for t in (self.cumulative, self.starts, self.offsets)
        )
        if not _are_tables(cumulative, starts, offsets):
            raise WeightsError("the probability tables are missing or damaged: run update()")
        each = cumulative.long().split(starts.long().diff().tolist())
        return [table.diff() for table in each], offsets.tolist()

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for name, buffer in self._buffers.items():
            if buffer is not None and prefix + name in state_dict:  # tables come in any size
                self._buffers[name] = buffer.new_empty(state_dict[prefix + name].shape)
        super()._load_from_state_dict(state_dict, prefix, *args)


def _are_tables(cumulative: Tensor, starts: Tensor, offsets: Tensor) -> bool:
    """Whether the three buffers are what the class says, within reach of an escape."""
    if any(t.ndim != 1 or t.dtype != torch.int32 for t in (cumulative, starts, offsets)):
        return False
    if not len(offsets) or len(starts) != len(offsets) + 1:
        return False
    lengths = starts.long().diff()
    # A table has a value and the escape: c_0, c_1, c_2.
    if starts[0] != 0 or starts[-1] != len(cumulative) or lengths.min() < 3:
        return False
    first, last = starts[:-1].long(), starts[1:].long() - 1
    rises = cumulative.long().diff() > 0
    rises[last[:-1]] = True  # from one table to the next
    return bool(
        rises.all()
        and (cumulative[first] == 0).all()
        and (cumulative[last] == 2**PRECISION).all()
        and offsets.min() >= -_FARTHEST
        and (offsets.long() + lengths - 3).max() <= _FARTHEST
    )


def quantise(probabilities: Tensor) -> Tensor:
    """Cumulative frequencies (n + 1,) int64 of probabilities (n,): each ≥ 1, together 2**16."""
    n = len(probabilities)
    share = probabilities.double().clamp(min=0)
    share = share / share.sum() * (2**PRECISION - n)
    frequencies = share.floor().long() + 1
    # What rounding down left over goes to the largest remainders.
    left = 2**PRECISION - int(frequencies.sum())
    frequencies[torch.argsort(share - share.floor(), descending=True)[:left]] += 1
    return torch.cat([torch.zeros(1, dtype=torch.long), frequencies.cumsum(0)])


class GaussianTables(FrozenTables):
    """Tables of integers by standard deviation and fractional part of the mean.

    Their distributions are Gaussians, or have the :class:`Tails` they were built with.
    ``thresholds`` (S,) int32, in units of the activations' grid: level i serves deviations in
    (thresholds[i-1], thresholds[i]], the last one all above; ``steps`` (S,) int32: steps the
    fraction of the mean is kept in; level i's tables follow each other from ``first[i]`` on.
    """

    thresholds: Tensor
    steps: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("thresholds", torch.zeros(0, dtype=torch.int32))
        self.register_buffer("steps", torch.zeros(0, dtype=torch.int32))

    def build(self, deviations: Tensor, tails: Tails | None = None) -> None:
        """Makes the tables, a level for each of ``deviations`` (S,), its largest.

        Args:
            deviations: (S,), positive and increasing.
            tails: shape of the distributions; default plain Gaussians.

        Raises:
            ValueError: deviations that are not positive and increasing on the activations' grid.
        """
        largest = deviations.detach().cpu().double()
        thresholds = torch.floor(largest * 2**ACTIVATION_BITS)
        if not (len(largest) and thresholds[0] > 0 and bool((thresholds.diff() > 0).all())):
            raise ValueError(
                f"deviations {largest.tolist()}: must increase from at least 2^-{ACTIVATION_BITS}"
            )
        # A level's tables are right for its middle: made for its largest deviation, they would
        # cost some 0.25 % more bits. All that is below the first threshold counts as the first.
        middles = torch.cat([largest[:1], (largest[1:] * largest[:-1]).sqrt()])
        tables, offsets, steps = _rows_of(tuple(middles.tolist()), tails or Tails())
        self.set(tables, offsets)
        self.thresholds = thresholds.to(torch.int32)
        self.steps = torch.tensor(steps, dtype=torch.int32)

    def first(self) -> Tensor:
        """(S,): each level's first table."""
        return self.steps.long().cumsum(0) - self.steps

    def rows(self) -> tuple[list[Tensor], list[int]]:
        thresholds, steps = self.thresholds.detach().cpu(), self.steps.detach().cpu()
        sound = all(t.ndim == 1 and t.dtype == torch.int32 for t in (thresholds, steps))
        sound = sound and len(thresholds) == len(steps) > 0
        sound = sound and bool(thresholds[0] > 0 and (thresholds.diff() > 0).all())
        if not (sound and steps.min() >= 1 and steps.sum() == self.offsets.numel()):
            raise WeightsError("the Gaussian tables are missing or damaged: run update()")
        return super().rows()


@lru_cache(maxsize=2)
def _rows_of(
    deviations: tuple[float, ...], tails: Tails
) -> tuple[list[Tensor], list[int], list[int]]:
    """Tables and offsets of all levels, and how many each has.

    They are kept: every checkpoint of a training asks for the same.
    """
    spread = tails.reach()
    tables, offsets, steps = [], [], []
    for deviation in deviations:
        count = math.ceil(1 / (_MEAN_STEP * deviation))
        count = min(_MOST_STEPS, 2 ** max(0, math.ceil(math.log2(count))))
        reach = math.ceil(spread * deviation + 0.5)
        steps.append(count)
        for step in range(count):
            mean = (step + 0.5) / count - 0.5
            tables.append(quantise(_probabilities(tails, mean, deviation, reach)))
            offsets.append(-reach)
    return tables, offsets, steps


def _probabilities(tails: Tails, mean: float, deviation: float, reach: int) -> Tensor:
    """Probabilities of -reach … reach and, last, of everything else."""
    edges = torch.arange(-reach, reach + 2, dtype=torch.float64) - 0.5
    below = tails.below((edges - mean) / deviation)
    return torch.cat([below.diff(), below[:1] + 1 - below[-1:]])


class TableSelector:
    """The one gate from a network's exact output to a table: which table, and around what.

    Args:
        tables: the Gaussian tables.
        around_means: latents are whole steps from their means; otherwise they are integers.
    """

    def __init__(self, tables: GaussianTables, around_means: bool = False) -> None:
        self._around_means = around_means
        grid = tables.thresholds[:-1].cpu().double() * 2.0**-ACTIVATION_BITS
        self._edges = grid.numpy()
        self._steps = tables.steps.cpu().double().numpy()
        self._first = tables.first().cpu().numpy()

    def __call__(
        self, deviations: npt.NDArray[np.float64], means: npt.NDArray[np.float64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Activations → (table, centre); the symbol is then y - centre."""
        level = np.searchsorted(self._edges, deviations)
        centre = means if self._around_means else np.floor(means + 0.5)
        step = np.floor((means - centre + 0.5) * self._steps[level])
        return self._first[level] + step.astype(np.int64), centre
