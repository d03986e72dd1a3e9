"""What a precision switches on, and where."""

from __future__ import annotations

import pytest
import torch

from paoncodec.layers.convolutions import _GRADIENTS_ALONE
from paoncodec.training import TrainConfig, precision
from paoncodec.training.precision import PRECISIONS, in_precision


@pytest.mark.parametrize("name", PRECISIONS)
@pytest.mark.parametrize("emulated", [False, True])
def test_values_and_gradients(name: str, emulated: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "emulates_bfloat16", lambda device: emulated)
    assert TrainConfig(precision=name).precision == name
    reduced = {"bfloat16": torch.bfloat16, "float16": torch.float16}
    with in_precision(name, "cpu"):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
        assert product.dtype == reduced.get(name, torch.float32)
        assert _GRADIENTS_ALONE.get() == (name == "bfloat16-gradients" and not emulated)
    assert not _GRADIENTS_ALONE.get()
