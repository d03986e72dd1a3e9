"""The published curves that travel with the package."""

from __future__ import annotations

import pytest

from paoncodec.errors import UsageError
from paoncodec.evaluation.anchors import anchor_file, anchor_names
from paoncodec.evaluation.results import load_result


@pytest.mark.parametrize("name", anchor_names())
def test_an_anchor_is_a_curve_with_a_source(name):
    result = load_result(anchor_file(name))
    assert result.name == name
    assert result.dataset == "kodak"
    assert not result.is_measured
    assert result.content["source"].startswith("InterDigitalInc/CompressAI@")
    result.curve("psnr").check()
    if name != "elic2022":
        result.curve("ms-ssim").check()


def test_the_anchors_that_the_field_compares_with_are_there():
    assert {"mbt2018", "cheng2020-anchor", "elic2022", "vtm", "jpeg"} <= set(anchor_names())


def test_another_name_is_a_file_or_refused(tmp_path):
    (tmp_path / "own.json").write_text("{}")
    assert anchor_file(str(tmp_path / "own.json")) == tmp_path / "own.json"
    with pytest.raises(UsageError, match=r"no anchor 'mbt2019'.*mbt2018"):
        anchor_file("mbt2019")
