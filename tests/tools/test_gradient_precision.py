"""Gradients of a precision are compared with those of float32, batch by batch and in the mean."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(scope="module")
def gradient_precision(tool):
    return tool("gradient_precision")


def test_errors_of_one_and_of_the_mean(gradient_precision):
    exact = gradient_precision.Batches(torch.tensor([[3.0, 0.0], [-1.0, 0.0]]), 1.0)
    other = gradient_precision.Batches(torch.tensor([[3.0, 2.0], [-1.0, -1.0]]), 1.0)
    of_one, of_mean = other.errors(exact)
    assert of_one == pytest.approx(0.5**0.5)  # sqrt(4 + 1) over sqrt(9 + 1)
    assert of_mean == pytest.approx(0.5)  # (0, 0.5) beside (1, 0)
    assert exact.errors(exact) == (0.0, 0.0)


def test_a_trained_codec(gradient_precision, pictures, variable_weights, monkeypatch, capsys):
    whole = gradient_precision.CodecRecipe.from_preset

    def shrunk(preset, arch, lmbda, data):
        recipe = whole(preset, arch, lmbda, data, batch_size=1, crop=64)
        sizes = {"N": 12, "M": 48, "widths": [12, 24, 48], "hyper_width": 8}
        sizes |= {"hyper_synthesis": [8, 8], "hyper_out": 16, "context_width": 16}
        arch = {**recipe.arch, **sizes, "parameter_widths": [16, 16]}
        object.__setattr__(recipe, "arch", arch)
        return recipe

    monkeypatch.setattr(gradient_precision.CodecRecipe, "from_preset", shrunk)
    words = ["--data", str(pictures), "--model", str(variable_weights), "--batches", "2"]
    gradient_precision.main([*words, "--threads", str(torch.get_num_threads())])
    _, _, *lines = capsys.readouterr().out.splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert [row[0] for row in rows] == ["float32", "bfloat16-gradients", "bfloat16"]
    exact, near, far = rows
    assert exact[2:] == ["", ""]
    assert near[1] == exact[1] != far[1]
    assert 0 < float(near[2]) < float(far[2])
