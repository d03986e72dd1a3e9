"""The optimiser against Algorithm 1 of Xie et al., "Adan" (2022)."""

from __future__ import annotations

import math

import torch
from pytorch_optimizer import Adan


def test_the_update_is_that_of_its_paper() -> None:
    """With β of the paper's code: 1 - β here is β in Algorithm 1; bias-corrected as its code is."""
    torch.manual_seed(0)
    start = torch.randn(5, dtype=torch.float64)
    gradients = [torch.randn(5, dtype=torch.float64) for _ in range(6)]
    ours = torch.nn.Parameter(start.clone())
    optimizer = Adan([{"params": [ours], "lr": 0.01, "initial_lr": 0.01}], foreach=True)

    wanted = start.clone()
    b1, b2, b3 = 0.98, 0.92, 0.99
    m = v = n = torch.zeros_like(start)
    before = gradients[0]
    for step, g in enumerate(gradients, 1):
        ours.grad = g.clone()
        optimizer.step()
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * (g - before)
        n = b3 * n + (1 - b3) * (g + b2 * (g - before)) ** 2
        size = 0.01 / ((n / (1 - b3**step)).sqrt() + 1e-8)
        wanted = wanted - size * (m / (1 - b1**step) + b2 * v / (1 - b2**step))
        before = g
        torch.testing.assert_close(ours.detach(), wanted)
    assert math.isfinite(float(wanted.sum()))
