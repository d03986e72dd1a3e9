"""Weights files: what was saved comes back, and nothing else is taken for it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from paoncodec.errors import WeightsError
from paoncodec.vision.classification import (
    NETWORKS,
    PURE_NETWORKS,
    PadeResNet,
    build,
    load_weights,
    save_weights,
)
from paoncodec.vision.classification.weights import FORMATS, in_format


@pytest.mark.parametrize("name", [*NETWORKS, *PURE_NETWORKS])
@pytest.mark.parametrize("form", FORMATS)
def test_a_network_comes_back(name: str, form: str, tmp_path: Path) -> None:
    form_of = {"depth": 8} if name in PURE_NETWORKS else {"channels": 4, "blocks": (1, 1)}
    options = {**form_of, "classes": ["a", "b"], "size": 8}
    model = in_format(build(name, options), form).eval()
    save_weights(model, tmp_path / "a.safetensors", name, {"step": "7"})
    again, about = load_weights(tmp_path / "a.safetensors")
    assert (about["network"], about["step"], about["task"]) == (name, "7", "classification")
    assert (again.classes, again.size, again.training) == (("a", "b"), 8, False)
    x = torch.rand(1, 3, 8, 8)
    assert again(x).dtype == FORMATS[form]
    assert torch.equal(again(x), model(x))


def test_batch_normalisation_stays_in_float32(tiny: PadeResNet) -> None:
    model = in_format(tiny, "bfloat16")
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    inside = {t.dtype for m in norms for t in (*m.parameters(), m.running_mean, m.running_var)}
    assert inside == {torch.float32}
    others = {id(p) for m in norms for p in m.parameters()}
    assert {p.dtype for p in model.parameters() if id(p) not in others} == {torch.bfloat16}


def test_16_bits_take_half_the_room(tiny: PadeResNet, tmp_path: Path) -> None:
    save_weights(tiny, tmp_path / "wide", "pade-resnet-2-2-2", {})
    save_weights(in_format(tiny, "float16"), tmp_path / "short", "pade-resnet-2-2-2", {})
    wide, short = ((tmp_path / name).stat().st_size for name in ("wide", "short"))
    assert wide - short > 0.4 * 4 * sum(p.numel() for p in tiny.parameters())


def test_other_files_are_refused(tiny: PadeResNet, tmp_path: Path, tiny_weights: Path) -> None:
    text = tmp_path / "text"
    text.write_text("no weights")
    foreign, partial = tmp_path / "foreign", tmp_path / "partial"
    save_file({"x": torch.zeros(1)}, foreign, metadata={"task": "superres", "config": "{}"})
    about = {"task": "classification", "config": '{"format": "float32"}'}
    save_file({"x": torch.zeros(1)}, partial, metadata=about)
    odd = tmp_path / "odd"
    save_file({"x": torch.zeros(1)}, odd, metadata={**about, "config": '{"format": "int8"}'})
    for path in (text, foreign, partial, odd, tiny_weights, tmp_path / "nowhere"):
        with pytest.raises(WeightsError, match="not weights of a classification network"):
            load_weights(path)


def test_weights_that_are_not_finite_are_not_written(tiny: PadeResNet, tmp_path: Path) -> None:
    torch.nn.init.constant_(tiny.head.bias, torch.inf)
    with pytest.raises(ValueError, match=r"head\.bias"):
        save_weights(tiny, tmp_path / "a", "pade-resnet-2-2-2", {})
    assert not (tmp_path / "a").exists()
