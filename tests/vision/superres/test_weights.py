"""Weights files: what was saved comes back, and nothing else is taken for it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from paoncodec.errors import WeightsError
from paoncodec.vision.superres import NETWORKS, build, load_weights, save_weights

SMALL = {"channels": 4, "blocks": 1, "scale": 2}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_comes_back(name: str, tmp_path: Path) -> None:
    model = build(name, SMALL).eval()
    save_weights(model, tmp_path / "a.safetensors", name, {"step": "7"})
    again, about = load_weights(tmp_path / "a.safetensors")
    assert (about["network"], about["step"], about["task"]) == (name, "7", "superres")
    assert not again.training
    x = torch.rand(1, 3, 6, 6)
    assert torch.equal(again(x), model(x))


def test_equal_weights_are_equal_files(tiny, tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a", "b")]
    for path in paths:
        save_weights(tiny, path, "resnet", {"step": "7", "more": "x"})
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_other_files_are_refused(tiny, tmp_path: Path, tiny_weights: Path) -> None:
    text = tmp_path / "text"
    text.write_text("no weights")
    foreign, partial = tmp_path / "foreign", tmp_path / "partial"
    save_file({"x": torch.zeros(1)}, foreign)
    about = {"task": "superres", "config": "{}"}
    save_file({"x": torch.zeros(1)}, partial, metadata=about)
    for path in (text, foreign, partial, tiny_weights, tmp_path / "nowhere"):
        with pytest.raises(WeightsError, match="not weights of a super-resolution network"):
            load_weights(path)


def test_weights_that_are_not_finite_are_neither_written_nor_read(tiny, tmp_path: Path) -> None:
    torch.nn.init.constant_(tiny.last.bias, torch.inf)
    with pytest.raises(ValueError, match=r"last\.bias"):
        save_weights(tiny, tmp_path / "a", "resnet", {})
    assert not (tmp_path / "a").exists()
