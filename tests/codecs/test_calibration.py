from __future__ import annotations

import pytest
import torch
from torch import Tensor

from paoncodec.codecs.calibration import fit_tails
from paoncodec.entropy import Tails


class Latents(torch.nn.Module):
    """A "model" whose latents are drawn from a known shape, rounded, with known parameters."""

    def __init__(self, tails: Tails) -> None:
        super().__init__()
        self.tails = tails
        self.asked: list[float | None] = []

    def distributions(self, x: Tensor, quality: float | None = None) -> tuple[Tensor, ...]:
        self.asked.append(quality)
        torch.manual_seed(int(x.sum()))
        shape = (1, 8, 32, 32)
        scales, means = 0.3 + 4 * torch.rand(shape), 3 * torch.randn(shape)
        wide = torch.rand(shape) < self.tails.share
        width = torch.where(wide, self.tails.wide, self.tails.narrow)
        return (means + scales * width * torch.randn(shape)).round(), scales, means, means


@pytest.mark.parametrize("truth", [Tails(0.8, 2.0, 0.2), Tails(0.9, 3.0, 0.05)])
def test_the_shape_that_latents_were_drawn_from_is_found(truth: Tails) -> None:
    images = [torch.full((3, 64, 64), float(i)) for i in range(12)]
    found, saved = fit_tails(Latents(truth), images)
    assert 0.005 < saved < 0.2
    x = torch.linspace(0, 5, 50, dtype=torch.float64)
    assert torch.allclose(found.below(x), truth.below(x), atol=0.012)


def test_gaussian_latents_leave_next_to_nothing_to_save() -> None:
    images = [torch.full((3, 64, 64), float(i)) for i in range(12)]
    _, saved = fit_tails(Latents(Tails()), images)
    assert abs(saved) < 0.003


def test_every_picture_is_seen_at_every_quality() -> None:
    model = Latents(Tails())
    fit_tails(model, (torch.full((3, 64, 64), float(i)) for i in range(2)), [1.0, 6.0])
    assert model.asked == [1.0, 6.0] * 2
