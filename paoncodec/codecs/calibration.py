"""After training: the shape of the distributions that a model's latents really have."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product

import torch
from compressai.models import CompressionModel
from torch import Tensor

from paoncodec.entropy import Tails

_NARROW = (0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)
_WIDE = (1.25, 1.5, 1.75, 2.0, 2.5, 3.0)
_SHARES = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4)
# Latents the fit looks at: enough for two digits.
_MOST = 300_000
#: Deviations that count: below, a latent is what its mean rounds to; the model trains with no less.
LEAST_DEVIATION = 0.11
#: What is rarer than a table can say costs an escape, of about 22 bits.
RAREST = 2.0**-22


@torch.no_grad()
def fit_tails(
    model: CompressionModel,
    images: Iterable[Tensor],
    qualities: Sequence[float | None] = (None,),
) -> tuple[Tails, float]:
    """The mixture that codes the latents of ``images`` with fewest bits.

    Args:
        model: in evaluation mode; has ``distributions`` (see :class:`.MBTPaon`).
        images: each (3, H, W) in [0, 1], sides multiples of 64; none that results are measured on.
        qualities: at which they are coded, all of them together; None where there is one only.

    Returns:
        The shape, and the fraction of y's bits that it saves against Gaussians.
    """
    residuals, deviations = [], []
    for image, quality in product(images, qualities):
        y_hat, scales, means, _ = model.distributions(image[None], quality)
        residuals.append((y_hat - means).flatten())
        deviations.append(scales.flatten().clamp(min=LEAST_DEVIATION))
    residual, deviation = torch.cat(residuals).double(), torch.cat(deviations).double()
    chosen = torch.randperm(len(residual), generator=torch.Generator().manual_seed(0))[:_MOST]
    residual, deviation = residual[chosen], deviation[chosen]

    def bits(tails: Tails) -> float:
        upper = tails.below((residual + 0.5) / deviation)
        lower = tails.below((residual - 0.5) / deviation)
        return float(-(upper - lower).clamp(min=RAREST).log2().sum())

    plain = bits(Tails())
    best = min((Tails(*shape) for shape in product(_NARROW, _WIDE, _SHARES)), key=bits)
    return best, 1 - bits(best) / plain
