"""One network for many rates: latents scaled by a gain for each channel and quality.

Cui et al., "Asymmetric Gained Deep Image Compression With Continuous Rate Adaptation" (2021).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from paoncodec.quality import DEFAULT, HIGHEST, LMBDA_GRID, LOWEST, lmbda_of


class GainUnit(nn.Module):
    """Gains before rounding and their counterparts after it (gain and inverse gain units, 3.1).

    Each whole quality has a gain per channel; between two of them the logarithms are interpolated
    linearly, the paper's exponential interpolation (3.2), so that every quality from 1 to 6 has
    gains that rise smoothly. The counterpart is learned too and need not be the exact inverse.

    Parameters: ``log_gain`` and ``log_inverse``, each (6, channels). They start where the
    quantisation step that λ asks for puts them, proportional to sqrt(λ), with gain 1 at quality 4.

    Args:
        channels: of the latents.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        start = [0.5 * math.log(lmbda / lmbda_of(DEFAULT)) for lmbda in LMBDA_GRID]
        column = torch.tensor(start)[:, None].expand(-1, channels)
        self.log_gain = nn.Parameter(column.clone())
        self.log_inverse = nn.Parameter(-column)

    def scale(self, y: Tensor, quality: Tensor) -> Tensor:
        """Latents (B, C, H, W) as they are rounded at ``quality`` (B,), each 1 to 6."""
        return y * _gains(self.log_gain, quality)

    def unscale(self, y_hat: Tensor, quality: Tensor) -> Tensor:
        """Rounded latents (B, C, H, W) as the synthesis expects them."""
        return y_hat * _gains(self.log_inverse, quality)

    def qualities(self, quality: float | Tensor | None, batch: int) -> Tensor:
        """(batch,) qualities, of one for all, one for each, or none (:data:`.DEFAULT`).

        Raises:
            ValueError: one is outside 1 to 6, or they are neither one nor one for each.
        """
        like = self.log_gain
        value = DEFAULT if quality is None else quality
        each = torch.as_tensor(value, dtype=like.dtype, device=like.device)
        if each.ndim > 1 or each.numel() not in (1, batch):
            raise ValueError(f"quality of shape {tuple(each.shape)}: give one, or {batch}")
        if not bool(((each >= LOWEST) & (each <= HIGHEST)).all()):
            raise ValueError(f"quality {value}: legal is {LOWEST:g} to {HIGHEST:g}")
        return each.expand(batch)

    def extra_repr(self) -> str:
        return f"{self.log_gain.shape[1]}"


def _gains(logarithms: Tensor, quality: Tensor) -> Tensor:
    """(B, C, 1, 1): gains at ``quality`` (B,) from their logarithms at the whole ones (6, C)."""
    place = quality - LOWEST
    below = place.floor().clamp(max=len(logarithms) - 2).long()
    mixed = torch.lerp(logarithms[below], logarithms[below + 1], (place - below)[:, None])
    return mixed.exp()[:, :, None, None]
