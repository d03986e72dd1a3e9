"""What the walks over latents share: their form, and what they are given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from paoncodec.entropy.coder import VALUE_LIMIT, Integers, Stop
from paoncodec.entropy.products import Array
from paoncodec.errors import MalformedStream

#: (deviations, means) → (table, centre), see :class:`.TableSelector`.
Select = Callable[[Array, Array], tuple[Integers, Array]]


class Walk(Protocol):
    """Visits the latents of one image, in an order in which each one's context comes before it."""

    def __call__(self, hyper: Array, stop: Stop, latents: Array | None = None) -> Array:
        """Carries ``stop`` through all latents.

        Args:
            hyper: (C, H, W), exact output of the hyper decoder.
            stop: counts, writes or reads symbols, a group of positions at a time.
            latents: (M, H, W), what is to be coded: integers within ±VALUE_LIMIT, or, where
                centres are none, any numbers within ±(VALUE_LIMIT - 1). None if ``stop`` reads
                them.

        Returns:
            The latents that are coded, (M, H, W): each a whole number of steps of 1 from its
            centre.

        Raises:
            MalformedStream: a read latent is out of range.
        """
        ...

    def order(self, height: int, width: int) -> Integers:
        """(M·height·width,): of each symbol, in the order of the walk, its place in (M, H, W).

        Counted ``(c · height + h) · width + w``.
        """
        ...


def symbols(latents: Array, centre: Array) -> Integers:
    """How many steps each latent is from its centre, rounded: (N,)."""
    return np.rint(latents - centre).astype(np.int64).ravel()


def legal(values: Array) -> Array:
    """Latents as they were read.

    Raises:
        MalformedStream: one is beyond ±VALUE_LIMIT.
    """
    if np.abs(values).max() > VALUE_LIMIT:
        raise MalformedStream("y", 0, f"a latent beyond ±{VALUE_LIMIT}")
    return values
