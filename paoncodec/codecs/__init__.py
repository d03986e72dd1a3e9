"""The codecs: models, where their training starts, how they are trained."""

from paoncodec.coding.compressai_layers import without_its_warnings

with without_its_warnings():  # before any other module here does
    import compressai  # noqa: F401

from paoncodec.codecs.elic import ELIC2022, ELICPaon
from paoncodec.codecs.mbt import MBT2018, MBTPaon
from paoncodec.codecs.registry import ARCHITECTURES, build, load_weights, save_weights
from paoncodec.coding.elic_config import ELICConfig
from paoncodec.coding.mbt import MBTConfig

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
