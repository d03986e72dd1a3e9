from __future__ import annotations

import pytest
import torch

from paoncodec.errors import UsageError
from paoncodec.training.samples import Samples, Share


@pytest.mark.parametrize(("accumulate", "processes"), [(1, 1), (2, 1), (1, 3), (2, 3)])
def test_shares_part_each_batch_in_order(accumulate: int, processes: int) -> None:
    shares = [Share(12, accumulate, process, processes) for process in range(processes)]
    for step in (0, 5):
        parts = [part for share in shares for part in share.micro_batches(step)]
        assert len(parts) == accumulate * processes
        assert len({len(part) for part in parts}) == 1
        assert [n for part in parts for n in part] == list(range(12 * step, 12 * step + 12))


def test_a_batch_that_does_not_come_out_even_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^batch_size 8: must be a multiple of 6, the 3 process"):
        Share(8, 2, 0, 3)


def draw(numbers: range, seed: int = 7) -> torch.Tensor:
    samples = Samples(numbers, 12, seed)
    first, second = samples.uniform(2, 3), samples.uniform(5)
    return torch.cat([first.flatten(1), second, samples.spread()[:, None]], dim=1)


def test_numbers_are_the_samples_own_whatever_is_beside_them() -> None:
    whole = draw(range(24, 36))
    assert torch.equal(torch.cat([draw(range(24, 28)), draw(range(28, 36))]), whole)
    assert len(torch.unique(whole)) == whole.numel()
    assert not torch.isin(draw(range(24, 36), seed=8), whole).any()
    assert not torch.isin(draw(range(12, 24)), whole).any()


def test_numbers_are_uniform() -> None:
    drawn = Samples(range(100), 100, 0).uniform(10, 100).double()
    assert 0 <= drawn.min() < 1e-4
    assert 1 - 1e-4 < drawn.max() < 1
    assert drawn.mean() == pytest.approx(1 / 2, abs=2e-3)
    assert drawn.var() == pytest.approx(1 / 12, abs=1e-3)
    correlation = torch.corrcoef(drawn.flatten(1)) - torch.eye(100, dtype=torch.double)
    assert correlation.abs().max() < 0.2  # neighbours are strangers


def test_a_spread_has_one_number_in_each_part() -> None:
    numbers = torch.cat([Samples(part, 8, 3).spread() for part in (range(16, 20), range(20, 24))])
    assert (numbers * 8).floor().tolist() == list(range(8))


def test_a_shape_without_sides_is_a_number_each() -> None:
    assert Samples(range(3), 3, 0).uniform().shape == (3,)


def test_torch_is_seeded_by_the_samples() -> None:
    drawn = []
    for numbers, seed in ((range(4), 0), (range(4), 0), (range(4, 8), 0), (range(4), 1)):
        Samples(numbers, 4, seed).seed_torch()
        drawn.append(torch.rand(1).item())
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) == 3
