"""ELIC-Paon: the codec of uneven channel groups, its decoder and contexts of Padé neurons.

"Padé Neurons for Efficient Neural Models", IV-B, on CompressAI's form of He et al., "ELIC:
Efficient Learned Image Compression with Unevenly Grouped Space-Channel Contextual Adaptive Coding"
(2022).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from compressai.entropy_models import EntropyBottleneck
from compressai.latent_codecs import (
    ChannelGroupsLatentCodec,
    CheckerboardLatentCodec,
    GaussianConditionalLatentCodec,
    HyperLatentCodec,
    HyperpriorLatentCodec,
)
from compressai.models import Elic2022Official
from compressai.registry import register_model
from torch import nn

from paoncodec.codecs.trainable import TrainableCodec
from paoncodec.coding.elic import ELIC2022Coder, ELICCoder, Entropy


@register_model("elic-paon")
class ELICPaon(TrainableCodec, ELICCoder, Elic2022Official):
    """ELIC-Paon; ``forward``, ``compress``, ``decompress`` and ``update`` as CompressAI has them.

    Networks, arguments and shapes are those of :class:`.ELICCoder`. Those of the entropy model lie
    in CompressAI's latent codecs.
    """

    def __init__(
        self, N: int = 192, M: int = 320, groups: Sequence[int] | None = None, **options: Any
    ) -> None:
        # The parent's own networks are built small: all of them are replaced.
        Elic2022Official.__init__(self, N=2, M=2, groups=[2])
        self.assemble(N, M, groups, **options)

    def nest(self, entropy: Entropy) -> nn.Module:
        latents = {
            f"y{k}": CheckerboardLatentCodec(
                latent_codec={"y": GaussianConditionalLatentCodec(quantizer="ste")},
                context_prediction=spatial,
                entropy_parameters=layers,
            )
            for k, (spatial, layers) in enumerate(entropy.groups)
        }
        channel = {f"y{k}": layers for k, layers in enumerate(entropy.channel, 1)}
        return HyperpriorLatentCodec(
            latent_codec={
                "y": ChannelGroupsLatentCodec(
                    groups=self.groups, channel_context=channel, latent_codec=latents
                ),
                "hyper": HyperLatentCodec(
                    entropy_bottleneck=EntropyBottleneck(self.config.hyper_width),
                    h_a=entropy.h_a,
                    h_s=entropy.h_s,
                    quantizer="ste",
                ),
            }
        )

    @property
    def gaussian_conditional(self) -> nn.Module:
        """Likelihoods of y; it has no weights, and the groups' are alike."""
        return self.group(0).get_submodule("y.gaussian_conditional")


@register_model("elic-2022")
class ELIC2022(ELIC2022Coder, ELICPaon):
    """The same codec of CompressAI's own layers: convolutions and ReLUs, three blocks a stage.

    He et al. (2022) in any widths, to compare Padé neurons with: equal sizes, equal coding, equal
    files. Unlike in CompressAI's model, y is rounded to integers unless ``rounding`` says "means".

    Raises:
        ValueError: options that convolutions do not have (a shift, another padding, Padé layers in
            the attention), or no ReLUs.
    """
