"""Latents by position: what a mask shows of them, the border included."""

from __future__ import annotations

import numpy as np
import pytest

from paoncodec.entropy.field import Field
from paoncodec.layers import CAUSAL_TAPS, CHECKERBOARD_TAPS


@pytest.mark.parametrize("taps", [CAUSAL_TAPS, CHECKERBOARD_TAPS], ids=["causal", "checkerboard"])
@pytest.mark.parametrize("size", [(1, 1), (1, 5), (4, 1), (5, 6)], ids=str)
def test_each_position_sees_its_taps_and_zeros_outside(
    size: tuple[int, int], taps: tuple[tuple[int, int], ...]
) -> None:
    height, width = size
    latents = np.random.default_rng(0).integers(-9, 10, (3, height, width))
    field = Field(height, width, 3, taps)
    positions = np.random.default_rng(1).permutation(height * width)
    field.write(positions, latents.reshape(3, -1).T[positions])
    assert np.array_equal(field.latents(), latents)
    assert np.array_equal(field.read(positions), latents.reshape(3, -1).T[positions])
    padded = np.pad(latents, ((0, 0), (2, 2), (2, 2)))
    for position, seen in zip(positions, field.seen_from(positions), strict=True):
        h, w = divmod(int(position), width)
        wanted = [padded[:, h + 2 + dh, w + 2 + dw] for dh, dw in taps]
        assert np.array_equal(seen, np.concatenate(wanted))


def test_what_is_not_written_is_zero() -> None:
    field = Field(3, 4, 2, CHECKERBOARD_TAPS)
    field.write(np.array([5]), np.array([[7, -7]]))
    assert np.abs(field.latents()).sum() == 14
    assert not field.seen_from(np.array([5])).any()
