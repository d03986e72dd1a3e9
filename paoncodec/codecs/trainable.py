"""A codec as a model of CompressAI's: what training takes, and the tables that end it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from compressai.entropy_models import EntropyBottleneck
from compressai.models import CompressionModel
from compressai.models.base import get_scale_table
from torch import Tensor

from paoncodec.coding.exact_codec import ExactCodec, require_finite, require_whole
from paoncodec.entropy import Tails
from paoncodec.errors import WeightsError
from paoncodec.layers.convolutions import full_precision
from paoncodec.layers.rounding import rounded_through

#: How often a latent is taken to be coded by an escape, in training.
_ESCAPES = 2.0**-14
#: What a table of 16-bit frequencies can span.
_WIDEST_PRIOR = 2**16
#: How far from its median CompressAI looks for a prior's quantiles, to either side and half-way.
_SEARCHED = (-1e5, -5e4, 0.0, 5e4, 1e5)


class TrainableCodec(ExactCodec, CompressionModel):
    """A codec that is trained, and then given its tables.

    Goes first among the bases of a codec, before the parts of an architecture and the CompressAI
    model, which has entropy_bottleneck and gaussian_conditional.

    Attributes:
        as_coded: whether ``forward`` says in evaluation what files will hold, where there are
            probability tables: latents of exact arithmetic, and their likelihoods by the tables.
            That is slower and has no gradient. Otherwise it says what training sees.
    """

    as_coded = False

    if TYPE_CHECKING:

        @property
        def gaussian_conditional(self) -> Any: ...

    def forward(self, x: Tensor, quality: float | Tensor | None = None) -> dict[str, Any]:
        y = self.analysis(x, quality)
        if self.as_coded and len(self.y_tables) and not self.training:
            return self._as_coded(x, y, quality)
        y_hat, scales, means, z_likelihoods = self._predicted(y)
        prior = self.gaussian_conditional
        with full_precision(x.device.type):
            coded = prior.quantize(y, "noise") if self.training else y_hat
            y_likelihoods = prior._likelihood(coded, scales, means)
            if self.training:
                y_likelihoods = _with_escapes(y_likelihoods, coded - means)
            y_likelihoods = prior.likelihood_lower_bound(y_likelihoods)
        return {
            "x_hat": self.synthesis(y_hat, quality),
            "likelihoods": {"y": y_likelihoods, "z": z_likelihoods},
        }

    @torch.no_grad()
    def _as_coded(self, x: Tensor, y: Tensor, quality: float | Tensor | None) -> dict[str, Any]:
        """What :meth:`forward` returns, of the exact entropy model."""
        z = self.h_a(y)
        require_whole(x, y, z)
        coded = [self.exact().rounded(*latents) for latents in zip(y, z, strict=True)]
        y_hat = torch.stack([latents for latents, _ in coded]).to(y)
        likelihoods = {
            part: torch.from_numpy(np.exp2([-bits[part] for _, bits in coded])).float().to(y.device)
            for part in ("y", "z")
        }
        return {"x_hat": self.synthesis(y_hat, quality), "likelihoods": likelihoods}

    def distributions(
        self, x: Tensor, quality: float | Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """ŷ, the deviations and means that are predicted for it, and the likelihoods of ẑ.

        The first three (B, M, H/16, W/16), the last as z; all float32, also under autocast.
        """
        return self._predicted(self.analysis(x, quality))

    def _predicted(self, y: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """:meth:`distributions` of y.

        In training too the networks see rounded latents, as they will in use, and rounding's
        gradient is taken to be 1; noise stands for it in the likelihoods alone, which have a
        gradient then (Minnen and Singh, "Channel-wise Autoregressive Entropy Models for Learned
        Image Compression", 2020). A synthesis that only knows noise damps all of y for the sake of
        channels in which rounding leaves nothing.
        """
        with full_precision(y.device.type):
            z = self.h_a(y)
            z_hat, z_likelihoods = self.entropy_bottleneck(z)
            if self.training:
                medians = self.entropy_bottleneck._get_medians().detach()
                z_hat = rounded_through(z - medians) + medians
            y_hat, scales, means = self.predict(y, self.h_s(z_hat))
        return y_hat, scales, means, z_likelihoods

    def update(
        self,
        scale_table: Tensor | None = None,
        force: bool = False,
        tails: Tails | None = None,
        **options: Any,
    ) -> bool:
        """Makes the probability tables, which then travel with the state dict.

        From then on kernels lie as coding is fastest (:meth:`lay_for_coding`).

        Args:
            scale_table: standard deviations the tables of y are made for; default CompressAI's 64.
            force: make them even where there are some.
            tails: shape of y's distributions; default Gaussians, as trained.
            **options: for the factorised prior, as in CompressAI.

        Returns:
            Whether tables were made.

        Raises:
            WeightsError: NaN or infinity in the model, or a prior of z that comes to that.
        """
        self._require_finite()
        self.lay_for_coding()
        self._exact = None  # new tables may lie where older ones lay
        made = self.entropy_bottleneck.update(force=force, **options)
        if made or not len(self.z_tables):
            self.z_tables.set(*_bottleneck_rows(self.entropy_bottleneck))
        if len(self.y_tables) and not force:
            return made
        self.y_tables.build(get_scale_table() if scale_table is None else scale_table, tails)
        return True

    def _require_finite(self) -> None:
        """Not only what would be useless: CompressAI looks for quantiles until it finds them."""
        require_finite(self.state_dict())
        prior = self.entropy_bottleneck
        spread = (prior.quantiles[:, 0, 2] - prior.quantiles[:, 0, 0]).abs().max()
        if not spread < _WIDEST_PRIOR:
            raise WeightsError(
                f"quantiles of z that are {float(spread):g} apart, legal is below {_WIDEST_PRIOR}"
            )
        reach = prior.quantiles.detach()[:, :, 1:2] + prior.quantiles.new_tensor(_SEARCHED)
        with torch.no_grad():
            logits = prior._logits_cumulative(reach, stop_gradient=True)
        if not logits.isfinite().all():
            raise WeightsError("the prior of z is beyond floating point: take other weights")


def _with_escapes(likelihoods: Tensor, errors: Tensor) -> Tensor:
    """Likelihoods of latents that may stray however far from their means.

    A Gaussian's vanish a few deviations out, and with them every gradient: a mean that is far off,
    which costs much, would never be mended. What the coder makes of such a latent is an escape, and
    bits for the logarithm of its error, twice: a Cauchy distribution.
    """
    return torch.lerp(likelihoods, 1 / (math.pi * (1 + errors.square())), _ESCAPES)


def _bottleneck_rows(prior: EntropyBottleneck) -> tuple[list[Tensor], list[int]]:
    """CompressAI's tables of the factorised prior: already 16-bit, the tail's mass last."""
    rows = zip(prior.quantized_cdf, prior.cdf_length.tolist(), strict=True)
    return [cdf[:length] for cdf, length in rows], prior.offset.tolist()
