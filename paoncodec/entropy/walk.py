"""What the walks over latents share: their form, and what they are given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from paoncodec.entropy.coder import VALUE_LIMIT, Integers, Stop
from paoncodec.entropy.products import Array
from paoncodec.errors import MalformedStream

#: (deviations, means) → (table, centre), see :class:`.TableSelector`.
Select = Callable[[Array, Array], tuple[Integers, Integers]]


class Walk(Protocol):
    """Visits the latents of one image, in an order in which each one's context comes before it."""

    def __call__(self, hyper: Array, stop: Stop, latents: Integers | None = None) -> Integers:
        """Carries ``stop`` through all latents.

        Args:
            hyper: (C, H, W), exact output of the hyper decoder.
            stop: counts, writes or reads symbols, a group of positions at a time.
            latents: (M, H, W) integers within ±VALUE_LIMIT; None if ``stop`` reads them.

        Returns:
            The latents, (M, H, W).

        Raises:
            MalformedStream: a read latent is out of range.
        """
        ...

    def positions(self, height: int, width: int) -> Integers:
        """(M·height·width,): of each symbol, in the order of the walk, its h · width + w."""
        ...


def legal(values: Integers) -> Integers:
    """``values`` of y as they were read.

    Raises:
        MalformedStream: one is beyond ±VALUE_LIMIT.
    """
    if np.abs(values).max() > VALUE_LIMIT:
        raise MalformedStream("y", 0, f"a latent beyond ±{VALUE_LIMIT}")
    return values
