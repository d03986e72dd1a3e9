"""Weights small enough to code with in a moment."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from paoncodec import codecs
from paoncodec.images import write_image


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory) -> Path:
    """A weights file of a model that has learned nothing: λ 0.013, step 30."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    model = codecs.build("mbt-paon", {"N": 6, "M": 6, "shift": "none"})
    codecs.save_weights(model, path, "mbt-paon", {"lmbda": "0.013", "step": "30"})
    return path


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> Path:
    """A folder of two pictures, 80×48 and 64×64, smooth with a little noise."""
    folder = tmp_path_factory.mktemp("data") / "Pictures"
    folder.mkdir()
    random = np.random.default_rng(0)
    for name, (height, width) in {"a": (48, 80), "b": (64, 64)}.items():
        ramp = np.linspace(40, 200, width)[None, :, None] + random.normal(0, 8, (height, width, 3))
        write_image(ramp.clip(0, 255).astype(np.uint8), folder / f"{name}.png")
    return folder
