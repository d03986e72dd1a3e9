"""Pictures to train on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from paoncodec.images import write_image


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two pictures of 64×64, smooth with a little noise."""
    folder = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    for name in "ab":
        ramp = np.linspace(40, 200, 64)[None, :, None] + random.normal(0, 8, (64, 64, 3))
        write_image(ramp.clip(0, 255).astype(np.uint8), folder / f"{name}.png")
    return folder
