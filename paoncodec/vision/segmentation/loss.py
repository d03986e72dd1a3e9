"""The loss of segmentation: Dice and cross-entropy in equal parts."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

__all__ = ["dice_cross_entropy", "soft_dice"]

#: Added above and below, so that a class which nobody has, or sees, counts as found.
_SMOOTH = 1e-5


def dice_cross_entropy(scores: Tensor, labels: Tensor) -> Tensor:
    """``1 - soft_dice + cross-entropy``, a scalar.

    Args:
        scores: (B, C, H, W) before the softmax; computed in float32.
        labels: (B, H, W) int64 in [0, C).
    """
    scores = scores.float()
    return 1 - soft_dice(scores.softmax(1), labels) + F.cross_entropy(scores, labels)


def soft_dice(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Mean over the foreground classes of ``2 Σ p·t / (Σ p + Σ t)``, a scalar in [0, 1].

    Sums go over the whole batch, so that a slice without an organ does not count as one without
    success. Milletari et al., "V-Net" (2016), with sums in place of sums of squares.

    Args:
        probabilities: (B, C, H, W), float.
        labels: (B, H, W) int64 in [0, C); class 0, the background, is left out.
    """
    classes = probabilities.shape[1]
    truth = F.one_hot(labels, classes).movedim(-1, 1).to(probabilities.dtype)
    over = (0, 2, 3)
    common = (probabilities * truth).sum(over)
    total = probabilities.sum(over) + truth.sum(over)
    return ((2 * common + _SMOOTH) / (total + _SMOOTH))[1:].mean()
