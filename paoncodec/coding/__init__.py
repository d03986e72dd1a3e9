"""Coding pictures: the networks, their exact entropy model, and weights files to load them from.

No CompressAI, whose import takes seconds: :mod:`paoncodec.codecs` makes models of it from the same
parts, to be trained and compared.
"""

from paoncodec.coding.exact_codec import ExactCodec
from paoncodec.coding.weights_file import CODERS, is_checkpoint, load_coder

__all__ = ["CODERS", "ExactCodec", "is_checkpoint", "load_coder"]
