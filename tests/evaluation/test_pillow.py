"""The classical codecs: each takes any size, improves with quality, and says how it was used."""

from __future__ import annotations

import numpy as np
import pytest

from paoncodec.errors import UsageError
from paoncodec.evaluation.pillow import PILLOW_CODECS, PillowCoder
from paoncodec.images import psnr, read_image


@pytest.mark.parametrize("name", PILLOW_CODECS)
def test_more_bytes_are_better_pictures(name, pictures, tmp_path):
    coder, picture = PillowCoder(name), read_image(pictures["a.png"])
    sizes, levels = [], []
    for quality in (coder.qualities()[2], coder.qualities()[-2]):
        path = tmp_path / f"x{coder.suffix}"
        path.write_bytes(coder.encode(picture, quality))
        sizes.append(path.stat().st_size)
        levels.append(psnr(picture, coder.decode(path)))
    assert sizes[0] < sizes[1]
    assert levels[0] < levels[1]


@pytest.mark.parametrize("name", PILLOW_CODECS)
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 3), (3, 70, 3), (40, 30, 1)])
def test_any_size(name, shape, tmp_path):
    coder = PillowCoder(name)
    path = tmp_path / f"x{coder.suffix}"
    path.write_bytes(coder.encode(np.full(shape, 100, dtype=np.uint8), coder.qualities()[-1]))
    assert coder.decode(path).shape[:2] == shape[:2]


@pytest.mark.parametrize("name", PILLOW_CODECS)
def test_effort_and_versions_are_told(name):
    facts = PillowCoder(name).describe()
    assert facts["kind"] == "pillow"
    assert facts["effort"]
    assert facts["library"].split()[1][0].isdigit()


def test_what_pillow_was_built_without_is_refused(monkeypatch):
    from PIL import features

    monkeypatch.setattr(features, "check", lambda feature: False)
    with pytest.raises(UsageError, match="built without avif"):
        PillowCoder("avif").describe()


def test_half_a_quality_is_refused_where_there_is_none():
    with pytest.raises(UsageError, match="whole numbers"):
        PillowCoder("jpeg").encode(np.zeros((8, 8, 3), np.uint8), 50.5)


@pytest.mark.parametrize(
    ("name", "quality"), [("jpeg", 0), ("jpeg", 96), ("webp", -1), ("avif", 101), ("jpeg2000", 0)]
)
def test_what_is_not_on_the_scale_is_refused(name, quality):
    with pytest.raises(UsageError, match=f"{name} takes"):
        PillowCoder(name).encode(np.zeros((8, 8, 3), np.uint8), quality)
