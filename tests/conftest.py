"""What holds for all tests, and what several of them share."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

from paoncodec.bitstream import Header, SectionKind, write

# A slow machine is no failure, so no deadline for an example; the same examples on every run, so
# that a red test is red for whoever runs it next.
settings.register_profile("paoncodec", deadline=None, derandomize=True)
settings.load_profile("paoncodec")


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights file of a real codec, untrained and as small as it goes, λ = 0.013."""
    import torch

    from paoncodec import codecs

    torch.manual_seed(0)
    options = {
        "M": 12,
        "widths": (8, 8, 8),
        "hyper_width": 8,
        "hyper_synthesis": (8, 8),
        "hyper_out": 16,
        "context_width": 16,
        "parameter_widths": (16, 16),
        "shift": "none",
    }
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    codecs.save_weights(
        codecs.build("mbt-paon", {"N": 8, **options}), path, "mbt-paon", {"lmbda": "0.013"}
    )
    return path


@pytest.fixture
def sound_file() -> bytes:
    """A sound `.bin` file whose weights nobody has, and whose payload is no real code."""
    header = Header(
        model="mbt-paon-small",
        weights_id=bytes(range(8)),
        width=48,
        height=32,
        channels=3,
        quality=4.0,
        latents_crc=0x12345678,
    )
    return write(header, {SectionKind.Z: bytes(range(20)), SectionKind.Y: bytes(range(200))})
