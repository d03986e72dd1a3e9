"""Pictures and result files small enough to measure in a moment."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from paoncodec.evaluation.results import Result, load_result


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Three pictures of smooth waves with a little noise, the last of them grey."""
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    found = {}
    for name, (height, width, channels) in {
        "a.png": (48, 80, 3),
        "b.png": (64, 64, 3),
        "grey.png": (40, 40, 1),
    }.items():
        y, x = np.mgrid[:height, :width][..., None] / 9
        pixels = 120 + 80 * np.sin(x + np.arange(channels)) * np.cos(y)
        pixels = (pixels + random.normal(0, 6, pixels.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels.squeeze()).save(folder / name)
        found[name] = folder / name
    return found


@pytest.fixture(scope="session")
def photos(pictures: dict[str, Path]) -> Path:
    """The folder of the pictures."""
    return next(iter(pictures.values())).parent


@pytest.fixture
def result_file(tmp_path: Path) -> Callable[..., Result]:
    """`result_file("name", [(bpp, psnr), ...], images={...}, **content)` as a file, loaded."""

    def write(
        name: str, points: list[tuple[float, float]], images: dict | None = None, **content: object
    ) -> Result:
        rows = [
            {"image": image, "quality": i, "bpp": bpp, "psnr-rgb": psnr}
            for image, curve in (images or {}).items()
            for i, (bpp, psnr) in enumerate(curve)
        ]
        results = {"bpp": [p[0] for p in points], "psnr-rgb": [p[1] for p in points]}
        whole = {"name": name, "results": results, "images": rows, **content}
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(whole))
        return load_result(path)

    return write
