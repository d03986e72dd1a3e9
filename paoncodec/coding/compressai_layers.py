"""CompressAI's GDN, which only networks that have it pay for: the import takes seconds."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def without_its_warnings() -> Iterator[None]:
    """Where CompressAI is imported: it imports torch_geometric, which scripts functions."""
    with warnings.catch_warnings():
        for kind in (DeprecationWarning, FutureWarning):
            warnings.filterwarnings("ignore", r".torch\.jit\.\w+. is (deprecated|not)", kind)
        yield


def gdn(channels: int, inverse: bool) -> nn.Module:
    """Generalised divisive normalisation, (B, C, H, W) → (B, C, H, W), or its inverse."""
    with without_its_warnings():
        from compressai.layers import GDN

    return GDN(channels, inverse=inverse)
