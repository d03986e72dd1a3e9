"""MBT-Paon: the joint autoregressive and hierarchical codec with transforms of Padé neurons.

"Padé Neurons for Efficient Neural Models", IV-B, on CompressAI's form of Minnen, Ballé and
Toderici, "Joint Autoregressive and Hierarchical Priors for Learned Image Compression" (2018).
"""

from __future__ import annotations

from typing import Any

from compressai.entropy_models import EntropyBottleneck
from compressai.models import JointAutoregressiveHierarchicalPriors
from compressai.registry import register_model

from paoncodec.codecs.trainable import TrainableCodec
from paoncodec.coding.mbt import MBT2018Coder, MBTCoder


@register_model("mbt-paon")
class MBTPaon(TrainableCodec, MBTCoder, JointAutoregressiveHierarchicalPriors):
    """MBT-Paon; ``forward``, ``compress``, ``decompress`` and ``update`` as CompressAI has them.

    Networks, arguments and shapes are those of :class:`.MBTCoder`.
    """

    def __init__(self, N: int = 192, M: int = 192, **options: Any) -> None:
        # The parent's own networks are built small: all of them are replaced.
        JointAutoregressiveHierarchicalPriors.__init__(self, N=1, M=3)
        self.assemble(N, M, **options)
        self.entropy_bottleneck = EntropyBottleneck(self.config.hyper_width)


@register_model("mbt-2018")
class MBT2018(MBT2018Coder, MBTPaon):
    """The same codec with CompressAI's own transforms: convolutions with GDN between them.

    Minnen, Ballé and Toderici (2018) in any widths, to compare Padé neurons with: equal sizes,
    equal entropy model, equal files.

    Raises:
        ValueError: options that convolutions do not have (a shift, another padding), or no GDN.
    """
