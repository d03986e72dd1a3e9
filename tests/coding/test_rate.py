"""Gain units, and the model that codes at every rate with them."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from paoncodec.codecs import MBTPaon
from paoncodec.coding.rate import GainUnit, draw_qualities, lmbdas_of, shares_of
from paoncodec.quality import lmbda_of
from paoncodec.training import Samples

OPTIONS: dict[str, Any] = {
    "hyper_width": 6,
    "hyper_synthesis": (8, 10),
    "hyper_out": 12,
    "context_width": 10,
    "parameter_widths": (20, 18),
    "shift": "none",
}


@pytest.fixture
def unit() -> GainUnit:
    """Gains that differ by channel and quality, and counterparts that are not their inverse."""
    torch.manual_seed(0)
    unit = GainUnit(5)
    with torch.no_grad():
        for parameter in unit.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return unit


@pytest.fixture
def net() -> MBTPaon:
    torch.manual_seed(0)
    net = MBTPaon(8, 16, variable_rate=True, **OPTIONS).eval()
    with torch.no_grad():
        net.g_a[-1].numerator.mul_(20)
        net.entropy_parameters[-1].bias[:16] = 1.0
    net.update()
    return net


def picture(batch: int = 1) -> Tensor:
    return torch.rand(batch, 3, 64, 128, generator=torch.Generator().manual_seed(1))


def gain(unit: GainUnit, quality: float) -> Tensor:
    """(C,): what a latent of 1 is multiplied by."""
    return unit.scale(torch.ones(1, 5, 1, 1), torch.tensor([quality])).flatten()


def test_gains_start_at_the_quantisation_step_of_each_lambda() -> None:
    unit = GainUnit(3)
    y = torch.randn(6, 3, 2, 2)
    quality = torch.arange(1.0, 7.0)
    scaled = unit.scale(y, quality)
    for row, q in enumerate(quality.tolist()):
        expected = math.sqrt(lmbda_of(q) / lmbda_of(4))
        torch.testing.assert_close(scaled[row], y[row] * expected)
    torch.testing.assert_close(unit.unscale(scaled, quality), y)


@pytest.mark.parametrize("quality", [1, 2, 3, 4, 5, 6])
def test_a_whole_quality_has_its_own_gains(unit: GainUnit, quality: int) -> None:
    torch.testing.assert_close(gain(unit, quality), unit.log_gain[quality - 1].exp())


@pytest.mark.parametrize("below", [1, 3, 5])
def test_between_them_gains_are_geometric_means(unit: GainUnit, below: int) -> None:
    low, high = unit.log_gain[below - 1].exp(), unit.log_gain[below].exp()
    torch.testing.assert_close(gain(unit, below + 0.5), (low * high).sqrt())
    torch.testing.assert_close(gain(unit, below + 0.25), low**0.75 * high**0.25)


def test_each_image_has_its_quality(unit: GainUnit) -> None:
    y = torch.randn(3, 5, 2, 2)
    together = unit.scale(y, torch.tensor([1.0, 3.5, 6.0]))
    for row, quality in enumerate((1.0, 3.5, 6.0)):
        alone = unit.scale(y[row : row + 1], torch.tensor([quality]))
        torch.testing.assert_close(together[row], alone[0])


@pytest.mark.parametrize(
    ("quality", "message"),
    [
        (0.5, "legal is 1 to 6"),
        (6.01, "legal is 1 to 6"),
        (math.nan, "legal is 1 to 6"),
        (torch.tensor([2.0, 3.0]), "give one, or 3"),
        (torch.ones(3, 1), "give one, or 3"),
    ],
)
def test_impossible_qualities(unit: GainUnit, quality: float | Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        unit.qualities(quality, 3)


@torch.no_grad()
def test_a_higher_quality_costs_more_and_comes_closer_to_the_unrounded(net: MBTPaon) -> None:
    x = picture()
    y = net.analysis(x, 4.0)
    sizes, errors = [], []
    for quality in (1.0, 2.25, 4.0, 5.5, 6.0):
        coded = net.compress(x, quality)
        sizes.append(len(coded["strings"][0][0]))
        scaled = net.analysis(x, quality)
        asked = torch.tensor([quality])
        errors.append(float((net.gain.unscale(scaled.round(), asked) - y).square().mean()))
    assert sizes == sorted(sizes)
    assert sizes[0] < 0.6 * sizes[-1]
    assert errors == sorted(errors, reverse=True)


@torch.no_grad()
def test_a_batch_of_qualities_is_its_images(net: MBTPaon) -> None:
    x = picture(3)
    quality = torch.tensor([1.0, 3.3, 6.0])
    together = net(x, quality)
    for row in range(3):
        alone = net(x[row : row + 1], quality[row])
        torch.testing.assert_close(together["x_hat"][row], alone["x_hat"][0], rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_no_quality_is_quality_4(net: MBTPaon) -> None:
    x = picture()
    assert net.compress(x) == net.compress(x, 4.0)
    assert net.compress(x)["digests"] != net.compress(x, 5.0)["digests"]
    torch.testing.assert_close(net(x)["x_hat"], net(x, 4.0)["x_hat"], rtol=0, atol=0)


@torch.no_grad()
def test_what_is_decoded_at_its_quality_is_what_was_coded(net: MBTPaon) -> None:
    x = picture(2)
    for quality in (1.0, 3.5, 6.0):
        coded = net.compress(x, quality)
        decoded = net.decompress(coded["strings"], coded["shape"], quality)
        assert decoded["digests"] == coded["digests"]
        assert torch.equal(decoded["x_hat"], net.reconstruct(x, quality))
        expected = net.synthesis(net.analysis(x, quality).round(), quality).clamp(0, 1)
        torch.testing.assert_close(decoded["x_hat"], expected, rtol=0, atol=1e-5)


def test_every_gain_learns(net: MBTPaon) -> None:
    out = net.train()(picture(3), torch.tensor([1.0, 3.5, 6.0]))
    loss = out["x_hat"].square().mean() - sum(p.log().mean() for p in out["likelihoods"].values())
    loss.backward()
    assert net.gain is not None
    for parameter in net.gain.parameters():
        assert parameter.grad is not None
        touched = parameter.grad.abs().amax(dim=1) > 0
        assert touched.tolist() == [True, False, True, True, False, True]


def test_a_model_of_one_rate_takes_no_quality() -> None:
    net = MBTPaon(8, 16, **OPTIONS).eval()
    with pytest.raises(ValueError, match="this model has one rate"):
        net(picture(), 4.0)


def test_the_qualities_of_a_batch_are_spread_over_the_scale() -> None:
    steps = [Samples(range(8 * n, 8 * n + 8), batch_size=8, seed=0) for n in range(200)]
    draws = torch.stack([draw_qualities(samples.spread()) for samples in steps])
    assert ((draws >= 1) & (draws <= 6)).all()
    assert (draws.diff(dim=1) >= 0).all()
    assert (draws[:, 0] < 1.5).all()
    assert (draws[:, -1] > 5.5).all()
    for end in (1, 6):  # the outermost ones come up themselves, not only what is near them
        assert 0.2 < (draws == end).any(dim=1).float().mean() < 0.4
    assert draws.flatten().mean() == pytest.approx(3.5, abs=0.05)


def test_a_tilt_draws_high_qualities_more_often() -> None:
    places = (torch.arange(10_000) + 0.5) / 10_000
    even, tilted = draw_qualities(places), draw_qualities(places, tilt=1.0)
    assert tilted.min() == 1
    assert tilted.max() == 6
    # Of heights from 0.8 to 6.2, 1.2 of 5.4 lie below quality 2, 4.2 below 5; tilted, the square.
    for least, share in ((2, 1.2 / 5.4), (5, 4.2 / 5.4)):
        assert (even < least).float().mean() == pytest.approx(share, abs=1e-3)
        assert (tilted < least).float().mean() == pytest.approx(share**2, abs=1e-3)


def test_losses_weigh_the_same_per_cent_of_bits() -> None:
    lmbdas = lmbdas_of(torch.tensor([1.0, 4.0, 6.0]))
    torch.testing.assert_close(lmbdas, torch.tensor([0.0018, 0.013, 0.0483]))
    shares = shares_of(lmbdas)
    assert shares[1] == 1
    # CompressAI's mbt2018 takes these bpp on Kodak.
    relative = shares * torch.tensor([0.111, 0.432, 0.885])
    assert relative.max() < 1.3 * relative.min()
