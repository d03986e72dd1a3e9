"""What layers and models cost."""

from __future__ import annotations

import torch

from paoncodec.evaluation.complexity import peak_allocation


def test_the_peak_is_what_is_held_at_once() -> None:
    kept = torch.zeros(1000)

    def run() -> None:
        a = torch.zeros(2**18)
        b = a + 1
        del a
        torch.zeros(2**16)
        assert len(b) > len(kept)

    assert 2 * 2**20 <= peak_allocation(run) < 2 * 2**20 + 4096  # a scalar or two beside them
