"""What training has of all codecs that their own tests do not try on each."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from paoncodec.codecs import build
from paoncodec.codecs.trainable import _with_escapes

ELIC = {"groups": [4, 8], "channel_widths": [8], "channel_kernels": [3, 1]}
FORMS: list[tuple[str, dict[str, Any]]] = [("mbt-paon", {}), ("elic-paon", ELIC)]


@pytest.mark.parametrize(("arch", "options"), FORMS)
def test_training_calls_back_a_mean_that_is_far_off(arch: str, options: dict[str, Any]) -> None:
    """A Gaussian's gradient is 0 out there, in float32."""
    torch.manual_seed(0)
    model = build(arch, {"N": 8, "M": 12, "shift": "none", **options}).train()
    last = model.predictors()[0]
    means = last.bias.detach()[len(last.bias) // 2 :]
    means += 40.0
    model(torch.rand(1, 3, 64, 64))["likelihoods"]["y"].log().sum().neg().backward()
    pulls = last.bias.grad[len(last.bias) // 2 :]
    assert (pulls > 0).all()


def test_likelihoods_within_reach_are_gaussian_ones_in_training_too() -> None:
    errors = torch.linspace(-3, 3, 61)
    likely = torch.special.ndtr(errors + 0.5) - torch.special.ndtr(errors - 0.5)
    torch.testing.assert_close(_with_escapes(likely, errors), likely, rtol=1e-3, atol=0)


def test_an_escape_costs_what_it_does_in_files() -> None:
    near, far = (-_with_escapes(torch.zeros(()), torch.tensor(e)).log2() for e in (10.0, 20.0))
    assert float(near) == pytest.approx(14 + math.log2(math.pi * 101))
    assert float(far - near) == pytest.approx(2, abs=0.02)  # twice as far: two bits more


@pytest.mark.parametrize(("arch", "options"), FORMS)
def test_training_decodes_what_rounding_leaves(arch: str, options: dict[str, Any]) -> None:
    """Pictures are those of use, bit for bit, and the encoder learns from them all the same."""
    torch.manual_seed(0)
    model = build(arch, {"N": 8, "M": 12, "shift": "none", **options}).eval()
    x = torch.rand(2, 3, 64, 64)
    wanted = model(x)
    out = model.train()(x)
    assert torch.equal(out["x_hat"], wanted["x_hat"])
    assert not torch.allclose(out["likelihoods"]["y"], wanted["likelihoods"]["y"])
    out["x_hat"].square().sum().backward()
    assert all(
        layer.numerator.grad.abs().sum() > 0 for layer in model.g_a if hasattr(layer, "numerator")
    )


@pytest.mark.parametrize(("arch", "options"), FORMS)
def test_latents_are_predicted_from_what_a_decoder_has(arch: str, options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = build(arch, {"N": 8, "M": 12, "shift": "none", **options}).eval()
    x = torch.rand(2, 3, 128, 64)
    wanted = model.distributions(x)[:3]
    found = model.train().distributions(x)[:3]
    assert all(torch.equal(*pair) for pair in zip(found, wanted, strict=True))
    (scales, means) = found[1:]
    (scales.sum() + means.sum()).backward()
    assert model.h_a[0].weight.grad.abs().sum() > 0
