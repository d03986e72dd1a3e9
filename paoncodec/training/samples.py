"""Samples by number: which of them a process computes, and the random numbers that are theirs.

Sample k of a run is the k-th that it takes, from 0: those of step s are s·batch_size to
(s + 1)·batch_size − 1. What happens to a sample depends on the run's seed and on its number, not on
how many processes and micro-batches share a step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from paoncodec.errors import UsageError


@dataclass(frozen=True)
class Share:
    """The samples of each step that one process computes: equal parts, in the order of processes.

    Args:
        batch_size: samples of a step, in all processes together.
        accumulate: micro-batches that each process makes of its part.
        process, processes: which one, of how many.

    Raises:
        UsageError: the batch does not come out even.
    """

    batch_size: int
    accumulate: int = 1
    process: int = 0
    processes: int = 1

    def __post_init__(self) -> None:
        parts = self.processes * self.accumulate
        if self.batch_size % parts:
            raise UsageError(
                f"batch_size {self.batch_size}: must be a multiple of {parts}, the "
                f"{self.processes} process(es) times {self.accumulate} micro-batch(es) of each"
            )

    def micro_batches(self, step: int) -> Iterator[range]:
        """Numbers of the samples of each micro-batch of ``step``, in turn."""
        size = self.batch_size // (self.processes * self.accumulate)
        begin = step * self.batch_size + self.process * self.accumulate * size
        for part in range(self.accumulate):
            yield range(begin + part * size, begin + (part + 1) * size)


class Samples:
    """The samples that a loss is of, and random numbers for each of them.

    A sample's numbers depend on the seed, its own number and the order of the draws: they are the
    same whatever the samples beside it, on every machine and device.

    Args:
        numbers: of the samples, in the order of the batch.
        batch_size: samples of a whole step.
        seed: of the run.
        device: where the numbers are wanted.
    """

    def __init__(
        self, numbers: range, batch_size: int, seed: int, device: torch.device | str = "cpu"
    ) -> None:
        self.numbers, self.batch_size, self.seed = numbers, batch_size, seed
        self.device = torch.device(device)
        # As spawn key: a seed and a number in one list could be another seed and number.
        self._generators = [
            np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number,)))
            for number in numbers
        ]

    def __len__(self) -> int:
        return len(self.numbers)

    def uniform(self, *shape: int) -> Tensor:
        """(samples, ``*shape``) float32 in [0, 1): the next numbers of each sample."""
        drawn = np.empty((len(self), *shape), np.float32)
        for row, generator in zip(drawn.reshape(len(self), -1), self._generators, strict=True):
            generator.random(dtype=np.float32, out=row)
        return torch.from_numpy(drawn).to(self.device)

    def spread(self) -> Tensor:
        """(samples,) numbers in [0, 1), one from each of ``batch_size`` equal parts of it: every
        step sees all of the range, whoever computes it."""
        places = torch.tensor([number % self.batch_size for number in self.numbers])
        return (places.to(self.device) + self.uniform()) / self.batch_size

    def seed_torch(self) -> None:
        """Seeds torch's default generators: for draws that may differ between processes, such as
        dropout's, and yet come out the same in a resumed run."""
        sequence = np.random.SeedSequence(self.seed, spawn_key=(self.numbers.start, 0))
        torch.manual_seed(int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1)))
