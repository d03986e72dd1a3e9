"""One network for many rates: latents scaled by a gain for each channel and quality.

Cui et al., "Asymmetric Gained Deep Image Compression With Continuous Rate Adaptation" (2021).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from paoncodec.quality import DEFAULT, HIGHEST, LMBDA_GRID, LOWEST, lmbda_of

#: The bits of photographs grow about with this power of λ (CompressAI's mbt2018 on Kodak: from 0.11
#: to 0.89 bpp over the grid).
_RATE_GROWTH = 2 / 3
#: How far beyond the scale qualities are drawn before they are limited to it: the outermost ones
#: are trained from one side only, and come up too seldom otherwise.
_OVERSHOOT = 0.2


class GainUnit(nn.Module):
    """Gains before rounding and their counterparts after it (gain and inverse gain units).

    Each whole quality has a gain per channel; between two of them the logarithms are interpolated
    linearly, their exponential interpolation, so that every quality from 1 to 6 has
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

    @torch.no_grad()
    def rescale(self, factor: float) -> None:
        """Multiplies all gains, and divides their counterparts."""
        self.log_gain.add_(math.log(factor))
        self.log_inverse.sub_(math.log(factor))

    def extra_repr(self) -> str:
        return f"{self.log_gain.shape[1]}"


def draw_qualities(places: Tensor, tilt: float = 0.0) -> Tensor:
    """Qualities for the images of a batch, spread over the scale 1 to 6.

    Args:
        places: (B,) random numbers in [0, 1).
        tilt: how often a quality comes up grows with this power of its height on the scale: 0 for
            all equally often, 1 for twice as often at twice the height.
    """
    low, high = LOWEST - _OVERSHOOT, HIGHEST + _OVERSHOOT
    heights = places ** (1 / (1 + tilt))
    return (low + (high - low) * heights).clamp(LOWEST, HIGHEST)


def lmbdas_of(qualities: Tensor) -> Tensor:
    """λ of each quality, as :func:`paoncodec.quality.lmbda_of`."""
    return torch.tensor([lmbda_of(q) for q in qualities.tolist()], device=qualities.device)


def shares_of(lmbdas: Tensor) -> Tensor:
    """What each image's loss is multiplied by, so that a per cent of bits weighs the same at every
    λ: what BD-rate asks for. 1 at quality 4."""
    return (lmbdas / lmbda_of(DEFAULT)) ** -_RATE_GROWTH


def _gains(logarithms: Tensor, quality: Tensor) -> Tensor:
    """(B, C, 1, 1): gains at ``quality`` (B,) from their logarithms at the whole ones (6, C)."""
    place = quality - LOWEST
    below = place.floor().clamp(max=len(logarithms) - 2).long()
    mixed = torch.lerp(logarithms[below], logarithms[below + 1], (place - below)[:, None])
    return mixed.exp()[:, :, None, None]
