"""tools/pure_activations.py: what it measures, and what it prints."""

from __future__ import annotations

import pytest
import torch

from paoncodec.vision.classification.pure import pure_resnet, resnet


@pytest.mark.parametrize("make", [pure_resnet, resnet])
def test_each_block_is_measured(tool, make) -> None:
    torch.manual_seed(0)
    model = make(14)
    rows = tool("pure_activations").statistics(model)
    assert len(rows) == 6
    assert all(branch == pytest.approx(1, abs=0.05) for _, branch, _ in rows)
    assert rows[0][2] == model.layer1[0].conv1.weight.grad.norm().item()
    assert all(gradient > 0 for _, _, gradient in rows)


def test_the_ends_are_printed(tool, monkeypatch, capsys) -> None:
    words = ["pure_activations.py", "--depth", "74", "--no-norm"]
    monkeypatch.setattr("sys.argv", words)
    tool("pure_activations").main()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + 10 + 1
    assert [line.split()[0] for line in (lines[1], lines[10])] == ["1", "36"]
    assert lines[-1] == "exponents held: 0"
