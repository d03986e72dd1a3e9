"""What tests of super-resolution share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from paoncodec.vision.superres.networks import SuperResNet, build


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of six small pictures, smooth under a little noise."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:72, :80] / 12
    for number in range(6):
        phases = rng.uniform(0, 6, 3)
        planes = np.stack([np.sin(x + p) + np.cos(y - 2 * p) for p in phases], -1)
        pixels = 128 + 50 * planes + rng.normal(0, 2, planes.shape)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{number}.png")
    return folder


@pytest.fixture
def tiny() -> SuperResNet:
    """An untrained network whose layers see no further than their kernels, ×2."""
    torch.manual_seed(0)
    return build("resnet", {"channels": 4, "blocks": 1, "scale": 2}).eval()
