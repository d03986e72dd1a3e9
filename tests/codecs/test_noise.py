"""The noise of training belongs to the image, whoever computes it."""

from __future__ import annotations

import pytest
import torch
from compressai.models import JointAutoregressiveHierarchicalPriors
from torch import Tensor

from paoncodec.codecs import MBTPaon
from paoncodec.codecs.noise import noise_of
from paoncodec.training import Samples

IMAGES = torch.rand(4, 3, 64, 128, generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=["ours", "CompressAI's"])
def net(request: pytest.FixtureRequest) -> torch.nn.Module:
    torch.manual_seed(0)
    if request.param == "ours":
        return MBTPaon(8, 12, shift="none").train()
    return JointAutoregressiveHierarchicalPriors(8, 12).train()


def likelihoods(net: torch.nn.Module, numbers: range, first: int) -> dict[str, Tensor]:
    with noise_of(Samples(numbers, 4, 0), net), torch.no_grad():
        out = net(IMAGES[numbers.start - first : numbers.stop - first])
    return {**out["likelihoods"], "x_hat": out["x_hat"]}


def test_a_batch_in_parts_has_the_noise_of_the_whole(net: torch.nn.Module) -> None:
    random = torch.get_rng_state()
    whole = likelihoods(net, range(8, 12), 8)
    parts = [likelihoods(net, range(8, 9), 8), likelihoods(net, range(9, 12), 8)]
    for name, values in whole.items():
        torch.testing.assert_close(torch.cat([part[name] for part in parts]), values)
    assert torch.equal(torch.get_rng_state(), random)
    again = likelihoods(net, range(12, 16), 12)
    assert not torch.allclose(again["y"], whole["y"])
    assert not torch.allclose(again["z"], whole["z"])


def test_it_is_the_noise_that_rounding_is_replaced_by(net: torch.nn.Module) -> None:
    y, z = torch.randn(4, 12, 16, 16), torch.randn(4, net.entropy_bottleneck.channels, 8, 8)
    with noise_of(Samples(range(4), 4, 0), net):
        noises = [
            net.gaussian_conditional.quantize(y, "noise") - y,
            net.entropy_bottleneck(z)[0] - z,
        ]
    for noise in noises:
        assert noise.abs().max() <= 0.5 + 1e-6
        assert noise.mean().item() == pytest.approx(0, abs=5 * (12 * noise.numel()) ** -0.5)
        assert noise.var().item() == pytest.approx(1 / 12, abs=5e-3)
    assert len(torch.unique(noises[0])) > 0.9 * noises[0].numel()


def test_rounding_stays_rounding_and_the_models_are_left_as_they_were(
    net: torch.nn.Module,
) -> None:
    net.eval()
    with torch.no_grad():
        plain = net(IMAGES)["likelihoods"]["y"]
        with noise_of(Samples(range(4), 4, 0), net):
            assert torch.equal(net(IMAGES)["likelihoods"]["y"], plain)
    for prior in (net.gaussian_conditional, net.entropy_bottleneck):
        assert "quantize" not in vars(prior)
