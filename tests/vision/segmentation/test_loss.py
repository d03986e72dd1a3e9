"""Dice and cross-entropy, against their formulas."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from paoncodec.vision.segmentation.loss import dice_cross_entropy, soft_dice


def test_soft_dice_is_the_formula() -> None:
    generator = torch.Generator().manual_seed(0)
    p = torch.randn(3, 4, 5, 6, generator=generator, dtype=torch.float64).softmax(1)
    labels = torch.randint(4, (3, 5, 6), generator=generator)
    found = []
    for k in (1, 2, 3):
        truth = (labels == k).double()
        found.append(2 * (p[:, k] * truth).sum() / (p[:, k].sum() + truth.sum()))
    assert soft_dice(p, labels).item() == pytest.approx(sum(found).item() / 3, abs=1e-5)


def test_of_hard_labels_it_is_dice() -> None:
    labels = torch.tensor([[[0, 1, 1], [2, 2, 0]]])
    found = F.one_hot(torch.tensor([[[0, 1, 0], [2, 2, 2]]])).movedim(-1, 1).float()
    expected = (2 * 1 / 3 + 2 * 2 / 5) / 2
    assert soft_dice(found, labels).item() == pytest.approx(expected, abs=1e-4)


def test_a_class_that_nobody_has_is_no_loss() -> None:
    labels = torch.zeros(1, 4, 4, dtype=torch.int64)
    sure = torch.full((1, 3, 4, 4), -1e4)
    sure[:, 0] = 0
    assert dice_cross_entropy(sure, labels) == 0


def test_the_parts_are_equal() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(2, 3, 4, 4, generator=generator, requires_grad=True)
    labels = torch.randint(3, (2, 4, 4), generator=generator)
    loss = dice_cross_entropy(scores, labels)
    expected = 1 - soft_dice(scores.softmax(1), labels) + F.cross_entropy(scores, labels)
    assert loss == expected
    assert dice_cross_entropy(scores.bfloat16(), labels).dtype == torch.float32


@pytest.mark.slow
def test_it_is_monais() -> None:
    losses = pytest.importorskip("monai.losses")
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(2, 3, 6, 5, generator=generator)
    labels = torch.randint(3, (2, 6, 5), generator=generator)
    theirs = losses.DiceLoss(False, True, softmax=True, batch=True)(scores, labels[:, None])
    both = theirs + F.cross_entropy(scores, labels)
    assert dice_cross_entropy(scores, labels).item() == pytest.approx(both.item(), abs=1e-6)
