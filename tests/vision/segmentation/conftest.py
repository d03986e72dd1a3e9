"""What tests of segmentation share."""

from __future__ import annotations

from pathlib import Path

import pytest

from paoncodec.vision.segmentation.phantom import write_phantoms


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of four training cases and two others, 20×18×16 voxels."""
    folder = tmp_path_factory.mktemp("data") / "phantoms"
    write_phantoms(folder, 4, 2, (20, 18, 16))
    return folder
