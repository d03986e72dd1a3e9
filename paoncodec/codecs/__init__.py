"""The codecs: models, where their training starts, how they are trained."""

import warnings

with warnings.catch_warnings():
    # CompressAI imports torch_geometric, which scripts functions as it is loaded.
    for _kind in (DeprecationWarning, FutureWarning):
        warnings.filterwarnings("ignore", r".torch\.jit\.\w+. is (deprecated|not)", _kind)
    import compressai  # noqa: F401

from paoncodec.codecs.elic import ELIC2022, ELICConfig, ELICPaon
from paoncodec.codecs.mbt import MBT2018, MBTConfig, MBTPaon
from paoncodec.codecs.registry import ARCHITECTURES, build, load_weights, save_weights

__all__ = [
    "ARCHITECTURES",
    "ELIC2022",
    "MBT2018",
    "ELICConfig",
    "ELICPaon",
    "MBTConfig",
    "MBTPaon",
    "build",
    "load_weights",
    "save_weights",
]
