from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from compressai.layers import GDN
from compressai.models import (
    Cheng2020Anchor,
    Elic2022Official,
    JointAutoregressiveHierarchicalPriors,
)
from compressai.models.utils import conv, deconv
from torch import Tensor, nn

from paoncodec.codecs import ELICPaon, MBTPaon, build
from paoncodec.codecs.starts import (
    carry_over,
    check_linear_start,
    entropy_start,
    from_compressai,
    hyper_start,
    linear_start,
    quantisation_step,
    rescale_latents,
)
from paoncodec.codecs.task import rate_distortion
from paoncodec.errors import UsageError
from paoncodec.layers import PaLaConv2d, PaLaConvTranspose2d
from paoncodec.layers.base import PaLa

LMBDA = 0.013


class Transforms(nn.Module):
    """g_a and g_s of the given widths, exactly linear: no denominators."""

    def __init__(self, *widths: int) -> None:
        super().__init__()
        stages = (3, *widths)
        pairs = list(pairwise(stages))
        self.g_a = nn.Sequential(*[PaLaConv2d(i, o, 5, stride=2) for i, o in pairs])
        self.g_s = nn.Sequential(*[PaLaConvTranspose2d(o, i, 5, stride=2) for i, o in pairs[::-1]])
        for layer in (*self.g_a, *self.g_s):
            nn.init.zeros_(layer.denominator)


def smooth(count: int, side: int, seed: int = 0) -> Tensor:
    """Pictures of a few slow waves in each channel, (count, 3, side, side) in [0, 1]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    pictures = np.empty((count, 3, side, side))
    for picture in pictures:
        shared = np.zeros((side, side))
        for _ in range(4):
            a, b, phase = rng.normal(size=3) * (8, 8, 3)
            shared += np.sin(a * y + b * x + phase) / 12
        for channel in picture:
            a, b = rng.normal(size=2)
            channel[:] = 0.5 + shared + np.sin(a * y + b * x) / 20
    return torch.from_numpy(pictures.clip(0, 1)).float()


def psnr(a: Tensor, b: Tensor) -> float:
    return -10 * math.log10((a - b).square().mean().item())


def nested_klt(
    x: npt.NDArray[np.float64], widths: tuple[int, ...]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Coefficients of the last stage and the picture they stand for, stage by stage, in float64."""
    mean = x.mean(axis=(0, 2, 3))
    x, bases = x - mean[:, None, None], []
    for width in widths:
        b, c, h, w = x.shape
        blocks = x.reshape(b, c, h // 2, 2, w // 2, 2).transpose(0, 2, 4, 1, 3, 5)
        rows = blocks.reshape(-1, 4 * c)
        _, vectors = np.linalg.eigh(rows.T @ rows)
        basis = vectors[:, ::-1][:, :width]  # (4c, width), most energy first
        bases.append(basis)
        x = (rows @ basis).reshape(b, h // 2, w // 2, -1).transpose(0, 3, 1, 2)
    coefficients = x
    for basis in bases[::-1]:
        b, _, h, w = x.shape
        rows = x.transpose(0, 2, 3, 1) @ basis.T
        blocks = rows.reshape(b, h, w, -1, 2, 2).transpose(0, 3, 1, 4, 2, 5)
        x = blocks.reshape(b, -1, 2 * h, 2 * w)
    return coefficients, x + mean[:, None, None]


class Convolutions(nn.Module):
    """g_a and g_s of the given widths, ordinary convolutions."""

    def __init__(self, *widths: int) -> None:
        super().__init__()
        pairs = list(pairwise((3, *widths)))
        self.g_a = nn.Sequential(*[conv(i, o) for i, o in pairs])
        self.g_s = nn.Sequential(*[deconv(o, i) for i, o in pairs[::-1]])


@pytest.mark.parametrize("lmbda", [0.0018, 0.013, 0.18])
def test_the_quantisation_step_is_the_cheapest(lmbda: float) -> None:
    def cost(step: float) -> float:
        """Per pixel: error of rounding, and bits of three coefficients up to a constant."""
        return lmbda * 255**2 * step**2 / 12 - 3 * math.log2(step)

    best = quantisation_step(lmbda)
    assert cost(best) < cost(best * 1.001)
    assert cost(best) < cost(best / 1.001)


def test_the_step_falls_with_the_root_of_lambda() -> None:
    assert quantisation_step(0.04) == pytest.approx(quantisation_step(0.01) / 2)


@pytest.mark.parametrize("kind", [Transforms, Convolutions])
@pytest.mark.parametrize("widths", [(8, 12), (6, 14, 20), (12, 20, 24, 24)])
def test_it_is_the_nested_transform(widths: tuple[int, ...], kind: type[nn.Module]) -> None:
    torch.manual_seed(0)
    images = torch.rand(24, 3, 64, 64) * 0.2 + smooth(24, 64) * 0.8
    model = kind(*widths)
    deviations = linear_start(model, images, LMBDA)
    coefficients, pictures = nested_klt(images.double().numpy(), widths)
    with torch.no_grad():
        y = model.g_a(images)
        decoded = model.g_s(y)
    step = quantisation_step(LMBDA)
    # Each principal direction is known up to its sign.
    wanted = torch.from_numpy(coefficients).float() / step
    torch.testing.assert_close(y.abs(), wanted.abs(), rtol=0, atol=5e-3)
    torch.testing.assert_close(decoded, torch.from_numpy(pictures).float(), rtol=0, atol=2e-4)
    torch.testing.assert_close(deviations, y.std(dim=(0, 2, 3)), rtol=1e-3, atol=1e-3)


def test_with_all_channels_kept_nothing_is_lost() -> None:
    torch.manual_seed(0)
    images = torch.rand(4, 3, 32, 32)
    model = Transforms(12, 48)
    linear_start(model, images, LMBDA)
    fresh = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(model.g_s(model.g_a(fresh)), fresh, rtol=0, atol=1e-5)


def test_a_picture_of_the_mean_colour_has_latents_of_zero() -> None:
    images = smooth(16, 64)
    model = Transforms(12, 16)
    linear_start(model, images, LMBDA)
    plain = images.mean(dim=(0, 2, 3))[None, :, None, None].expand(1, 3, 64, 64)
    with torch.no_grad():
        assert model.g_a(plain).abs().max() < 1e-4
        torch.testing.assert_close(model.g_s(model.g_a(plain)), plain)


def test_channels_beyond_the_rank_are_seen_and_start_silent() -> None:
    model = Transforms(16, 20)  # 2×2 blocks of RGB have rank 12
    deviations = linear_start(model, smooth(8, 32), LMBDA)
    down, up = model.g_a[0], model.g_s[1]
    assert down.numerator[12:].abs().amax(dim=(1, 2, 3)).min() > 0
    assert up.numerator[12:].abs().max() == 0
    second = model.g_a[1]
    assert second.numerator[:, 12:].abs().amax(dim=(2, 3)).min() > 0
    assert len(deviations) == 20
    assert deviations.min() > 0


def test_latents_beyond_the_rank_have_no_deviation() -> None:
    deviations = linear_start(Transforms(2, 10), smooth(8, 32), LMBDA)
    assert (deviations[:8] > 0).all()
    assert (deviations[8:] == 0).all()


@pytest.mark.parametrize("gdn", [False, True])
def test_a_codec_starts_out_good_on_smooth_pictures(gdn: bool) -> None:
    """Denominators are small and random, GDN passes: both cost little."""
    torch.manual_seed(0)
    options = {"N": 8, "M": 12, "shift": "predicted", "gdn": gdn}
    model = build("mbt-paon", options).eval()
    before, fresh = smooth(8, 128), smooth(4, 128, seed=1)
    with torch.no_grad():
        assert psnr(model.synthesis(model.analysis(fresh)), fresh) < 12
        linear_start(model, before, LMBDA)
        assert 32 < psnr(model.synthesis(model.analysis(fresh)), fresh) < 50
        assert psnr(model.synthesis(model.analysis(fresh).round()), fresh) > 28


def test_every_latent_starts_with_its_own_scale() -> None:
    torch.manual_seed(0)
    layers = [nn.Conv2d(5, 2 * channels, 1) for channels in (3, 2)]
    before = [layer.weight.detach().clone() for layer in layers]
    entropy_start(layers, torch.tensor([4.0, 3.0, 0.0, 2.0, 0.3]))
    assert layers[0].bias.tolist() == pytest.approx([4, 3, 0.2, 0, 0, 0])
    assert layers[1].bias.tolist() == pytest.approx([2, 0.3, 0, 0])
    for layer, weight in zip(layers, before, strict=True):
        torch.testing.assert_close(layer.weight, 0.1 * weight)


@torch.no_grad()
def test_hyper_latents_start_at_unit_scale_under_a_prior_that_fits() -> None:
    torch.manual_seed(0)
    model = build("mbt-paon", {"N": 8, "M": 12, "shift": "none"}).eval()
    y = 5 * torch.randn(8, 12, 16, 16)
    before = model.entropy_bottleneck(model.h_a(y))[1].log2().neg().mean()
    hyper_start(model, y)
    z = model.h_a(y)
    assert torch.allclose(z.mean(dim=(0, 2, 3)), torch.zeros(8), atol=1e-4)
    assert torch.allclose(z.std(dim=(0, 2, 3), correction=0), torch.ones(8), atol=1e-3)
    # A rounded Gaussian of deviation 1 holds 2.1 bits.
    after = model.entropy_bottleneck(z)[1].log2().neg().mean()
    assert 2.0 < after < 2.8 < before


@torch.no_grad()
def test_hyper_start_survives_a_single_position() -> None:
    torch.manual_seed(0)
    model = build("mbt-paon", {"N": 8, "M": 12, "shift": "none"})
    hyper_start(model, torch.randn(1, 12, 4, 4))
    assert model.h_a(torch.randn(1, 12, 4, 4)).isfinite().all()


def test_hyper_start_refuses_a_model_without_a_prior() -> None:
    model = nn.ModuleDict({"h_a": nn.Sequential(nn.ReLU()), "entropy_bottleneck": nn.Identity()})
    with pytest.raises(TypeError, match="EntropyBottleneck"):
        hyper_start(model, torch.rand(1, 3, 8, 8))


@pytest.mark.parametrize("arch", ["mbt-paon", "mbt-2018"])
@torch.no_grad()
def test_rescaled_latents_leave_everything_else_as_it_was(arch: str) -> None:
    torch.manual_seed(0)
    model = build(arch, {"N": 6, "M": 8, "shift": "none"}).eval().double()
    for name, parameter in model.named_parameters():
        if name.endswith("denominator"):  # far from linear
            parameter.mul_(30)
    x = smooth(1, 64).double()
    y = 4 * torch.randn(1, 8, 4, 4).double()

    def seen(scale: float) -> tuple[Tensor, ...]:
        params = torch.cat((hyper, model.context_prediction(scale * y)), dim=1)
        deviations_and_means = model.entropy_parameters(params)
        return model.synthesis(scale * y), model.h_a(scale * y), deviations_and_means / scale

    hyper = torch.randn(1, model.config.hyper_out, 4, 4).double()
    latents, before = model.analysis(x), seen(1.0)
    rescale_latents(model, 2.5)
    torch.testing.assert_close(model.analysis(x), 2.5 * latents)
    for one, other in zip(seen(2.5), before, strict=True):
        torch.testing.assert_close(one, other)


def test_other_layers_cannot_be_rescaled() -> None:
    model = Transforms(4, 4)
    model.g_s = nn.Sequential(PaLaConvTranspose2d(4, 4, 5, stride=2, degrees=(2, 1)))
    with pytest.raises(TypeError, match=r"only smooth \[1/1\] layers"):
        rescale_latents(model, 2.0)


# From CompressAI's weights

CLOSE = {"rtol": 1e-5, "atol": 1e-5}


@torch.no_grad()
def spread(model: nn.Module, x: Tensor) -> None:
    """Scales random networks so that pictures, y, z and means are numbers of the order of 1."""
    for parameter in model.parameters():
        if parameter.ndim == 4:
            parameter.mul_(1.5)
    y = model.g_a(x)
    # The attention of ELIC after it is no scaling, but nearly one.
    last = [m for m in model.g_a.children() if isinstance(m, nn.Conv2d)][-1]
    last.weight.mul_(4 / y.std())
    first = next(m for m in model.g_s.children() if isinstance(m, nn.ConvTranspose2d))
    first.weight.mul_(0.5 / model.g_s(model.g_a(x).round()).std())


@pytest.fixture(scope="module")
def mbt2018() -> JointAutoregressiveHierarchicalPriors:
    torch.manual_seed(0)
    model = JointAutoregressiveHierarchicalPriors(8, 12).eval()
    with torch.no_grad():
        for module in model.modules():  # far from its start, which is nearly the identity
            if isinstance(module, GDN):
                module.gamma.add_(0.02 * torch.rand_like(module.gamma))
    spread(model, smooth(1, 128))
    return model


@pytest.fixture(scope="module")
def elic2022() -> Elic2022Official:
    torch.manual_seed(0)
    model = Elic2022Official(9, 20, [4, 6, 10]).eval()
    spread(model, smooth(1, 128))
    return model


def of_size_one(*tensors: Tensor) -> bool:
    return all(0.1 < tensor.std() < 20 for tensor in tensors)


@pytest.mark.parametrize("shift", ["none", "static", "predicted"])
@torch.no_grad()
def test_mbt_paon_starts_as_mbt2018(
    mbt2018: JointAutoregressiveHierarchicalPriors, shift: str
) -> None:
    ours, x = from_compressai(mbt2018, shift=shift).eval(), smooth(2, 128, seed=1)
    out, wanted = ours(x), mbt2018(x)
    assert of_size_one(wanted["x_hat"], mbt2018.g_a(x))
    torch.testing.assert_close(out["x_hat"], wanted["x_hat"], **CLOSE)
    torch.testing.assert_close(out["likelihoods"]["z"], wanted["likelihoods"]["z"], **CLOSE)
    y_hat, scales, means, _ = ours.distributions(x)
    assert torch.equal(y_hat, mbt2018.g_a(x).round())
    hyper = mbt2018.h_s(mbt2018.entropy_bottleneck(mbt2018.h_a(mbt2018.g_a(x)))[0])
    context = mbt2018.context_prediction(y_hat)
    theirs = mbt2018.entropy_parameters(torch.cat((hyper, context), dim=1))
    torch.testing.assert_close(torch.cat((scales, means), dim=1), theirs, **CLOSE)
    assert not any(m.denominator.any() for m in ours.modules() if isinstance(m, PaLa))


@torch.no_grad()
def distributions_of(model: Elic2022Official, y_hat: Tensor, hyper: Tensor) -> list[Tensor]:
    """What CompressAI's own networks say of given latents: deviations and means of each group."""
    codec, found, first = model.latent_codec["y"], [], 0
    for k, channels in enumerate(model.groups):
        group, y = codec[f"y{k}"], y_hat[:, first : first + channels]
        known = [hyper]
        if k:
            known.insert(0, codec.channel_context[f"y{k}"](y_hat[:, :first]))
        anchors = group._keep_only(y.clone(), "anchor")
        parameters = torch.empty(len(y), 2 * channels, *y.shape[2:])
        for step, context in (
            ("anchor", group._y_ctx_zero(y)),
            ("non_anchor", group.context_prediction(anchors)),
        ):
            made = group.entropy_parameters(torch.cat((context, *known), dim=1))
            group._copy(parameters, made, step)
        found.append(parameters)
        first += channels
    return found


@pytest.mark.parametrize("options", [{}, {"shift": "none", "attention": True}], ids=str)
@torch.no_grad()
def test_elic_paon_starts_as_elic2022(elic2022: Elic2022Official, options: dict) -> None:
    ours, x = from_compressai(elic2022, **options).eval(), smooth(2, 128, seed=1)
    y = elic2022.g_a(x.clone())
    torch.testing.assert_close(ours.analysis(x), y, **CLOSE)
    hyper = elic2022.latent_codec["hyper"](y)
    out, wanted = ours(x), elic2022(x.clone())
    assert of_size_one(wanted["x_hat"], y)
    torch.testing.assert_close(out["x_hat"], wanted["x_hat"], **CLOSE)
    for part, likelihoods in wanted["likelihoods"].items():
        torch.testing.assert_close(out["likelihoods"][part], likelihoods, **CLOSE)
    y_hat, *found = ours.predict(y, hyper["params"])
    torch.testing.assert_close(y_hat, elic2022.latent_codec(y)["y_hat"], **CLOSE)
    halves = zip(*(part.split(elic2022.groups, dim=1) for part in found), strict=True)
    theirs = distributions_of(elic2022, y_hat, hyper["params"])
    for ours_of_group, theirs_of_group in zip(halves, theirs, strict=True):
        torch.testing.assert_close(torch.cat(ours_of_group, dim=1), theirs_of_group, **CLOSE)


@torch.no_grad()
def test_rounded_to_integers_it_is_a_start_all_the_same(elic2022: Elic2022Official) -> None:
    ours, x = from_compressai(elic2022, rounding="integers").eval(), smooth(2, 128, seed=1)
    y = elic2022.g_a(x.clone())
    torch.testing.assert_close(ours(x)["x_hat"], elic2022.g_s(y.round()), **CLOSE)


@torch.no_grad()
def test_the_means_of_elic2022_are_those_of_its_networks(elic2022: Elic2022Official) -> None:
    """So that the test above compares with what CompressAI's codec does."""
    y = elic2022.g_a(smooth(1, 128))
    out = elic2022.latent_codec(y)
    hyper = elic2022.latent_codec["hyper"](y)["params"]
    parameters = distributions_of(elic2022, out["y_hat"], hyper)
    means = torch.cat([part.chunk(2, dim=1)[1] for part in parameters], dim=1)
    torch.testing.assert_close(out["y_hat"], (y - means).round() + means, **CLOSE)


@pytest.mark.parametrize("kind", ["mbt2018", "elic2022"])
def test_training_then_moves_every_part(kind: str, request: pytest.FixtureRequest) -> None:
    torch.manual_seed(0)
    ours, x = from_compressai(request.getfixturevalue(kind)).train(), smooth(2, 128, seed=1)
    before = {name: p.detach().clone() for name, p in ours.named_parameters()}
    optimizer = torch.optim.Adam(ours.parameters(), 1e-3)
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        loss, figures = rate_distortion(ours(x), x, LMBDA)
        (loss + ours.aux_loss()).backward()
        optimizer.step()
        losses.append(figures["loss"])
    still = {name for name, p in ours.named_parameters() if torch.equal(p, before[name])}
    assert not {name for name in still if not name.endswith("shifter.activation.weight")}
    moved = [p for name, p in ours.named_parameters() if name.endswith("denominator")]
    assert len(moved) == sum(isinstance(m, PaLa) for m in ours.modules())
    assert all(b.abs().mean() > 1e-4 for b in moved)
    assert losses[-1] < losses[0]


@torch.no_grad()
def test_variable_rate_starts_exact_at_quality_4(mbt2018: nn.Module) -> None:
    ours, x = from_compressai(mbt2018, variable_rate=True).eval(), smooth(1, 128)
    torch.testing.assert_close(ours(x)["x_hat"], mbt2018(x)["x_hat"], **CLOSE)


@torch.no_grad()
def test_replicated_borders_differ_only_there(mbt2018: nn.Module) -> None:
    ours, y = from_compressai(mbt2018, padding="replicate").eval(), torch.randn(1, 12, 16, 16)
    difference = (ours.g_s(y) - mbt2018.g_s(y)).abs()
    assert difference.max() > 1e-3
    assert difference[..., 64:-64, 64:-64].max() < 1e-5


def test_other_models_and_options_are_refused(mbt2018: nn.Module, elic2022: nn.Module) -> None:
    with pytest.raises(TypeError, match="Cheng2020Anchor: takes Joint"):  # a subclass of mbt2018
        from_compressai(Cheng2020Anchor(8))
    with pytest.raises(ValueError, match="has no place"):
        from_compressai(mbt2018, gdn=False)
    with pytest.raises(ValueError, match="has no place"):
        from_compressai(elic2022, blocks=1)
    with pytest.raises(ValueError, match="there are no weights for"):
        from_compressai(elic2022, blocks=4)
    with pytest.raises(ValueError, match="is wanted"):
        from_compressai(mbt2018, hyper_width=9)
    with pytest.raises(TypeError, match="blocks"):
        from_compressai(mbt2018, blocks=3)


# From one form to another


@torch.no_grad()
def test_without_gdn_each_becomes_its_mean_gain(mbt2018: nn.Module) -> None:
    whole, x = from_compressai(mbt2018).eval(), smooth(4, 128, seed=2)
    plain = carry_over(whole, x, gdn=False).eval()
    assert isinstance(plain, MBTPaon)
    assert not any(isinstance(m, GDN) for m in plain.modules())
    naive = [m for m in whole.g_a if not isinstance(m, GDN)]

    def error(y: Tensor) -> float:
        return (y - whole.analysis(x)).square().mean().item()

    assert error(plain.analysis(x)) < 0.3 * error(nn.Sequential(*naive)(x))
    assert error(plain.analysis(x)) < 0.3 * whole.analysis(x).var()
    first = whole.g_a[0](x)
    gains = (first * whole.g_a[1](first)).sum((0, 2, 3)) / first.square().sum((0, 2, 3))
    torch.testing.assert_close(plain.g_a[0](x), gains.view(1, -1, 1, 1) * first, **CLOSE)
    y = whole.analysis(x).round()
    first = whole.g_s[0](y)
    gains = (first * whole.g_s[1](first)).sum((0, 2, 3)) / first.square().sum((0, 2, 3))
    torch.testing.assert_close(plain.g_s[0](y), gains.view(1, -1, 1, 1) * first, **CLOSE)
    for name in ("h_a", "h_s", "context_prediction", "entropy_parameters", "entropy_bottleneck"):
        one, other = plain.get_submodule(name), whole.get_submodule(name)
        for key, value in other.named_parameters():
            assert torch.equal(one.get_parameter(key), value)


@torch.no_grad()
def test_fewer_blocks_are_the_first_of_each_stage(elic2022: nn.Module) -> None:
    whole, x = from_compressai(elic2022, shift="none").eval(), smooth(1, 128)
    for name, parameter in whole.named_parameters():  # neurons that are bent
        if name.endswith("denominator"):
            parameter.normal_(0, 0.05)
    fewer = carry_over(whole, x, blocks=1, relu=False, padding="replicate").eval()
    assert isinstance(fewer, ELICPaon)
    assert (fewer.config.blocks, fewer.config.relu, fewer.config.padding) == (1, False, "replicate")
    places = {0: 0, 1: 1, 2: 4, 3: 5, 4: 8, 5: 9, 6: 10, 7: 13, 8: 14}
    for one, other in places.items():
        kept = dict(whole.g_a[other].named_parameters())
        for name, value in fewer.g_a[one].named_parameters():
            assert torch.equal(value, kept[name])
    assert torch.equal(fewer.g_s[2].conv2.numerator, whole.g_s[2].conv2.numerator)
    context = "latent_codec.y.channel_context.y2"
    assert torch.equal(
        fewer.get_parameter(f"{context}.1.denominator"),
        whole.get_parameter(f"{context}.2.denominator"),
    )


@torch.no_grad()
def test_options_that_change_nothing(elic2022: nn.Module) -> None:
    whole, x = from_compressai(elic2022, shift="none").eval(), smooth(1, 128)
    again = carry_over(whole, x, shift="predicted", attention=True, variable_rate=True).eval()
    torch.testing.assert_close(again(x)["x_hat"], whole(x)["x_hat"], **CLOSE)
    assert again.config.attention
    with pytest.raises(ValueError, match="there are no weights for"):
        carry_over(whole, x, blocks=4)


# Which models the linear start fits


def transforms(*layers: nn.Module, mirror: tuple[nn.Module, ...] = ()) -> nn.Module:
    model = nn.Module()
    model.g_a, model.g_s = nn.Sequential(*layers), nn.Sequential(*mirror)
    return model


def down(i: int, o: int, **options: Any) -> nn.Module:
    return PaLaConv2d(i, o, **{"kernel_size": 5, "stride": 2, **options})


def up(i: int, o: int) -> nn.Module:
    return PaLaConvTranspose2d(i, o, 5, stride=2)


@pytest.mark.parametrize(
    "model",
    [
        nn.Linear(3, 3),
        transforms(),
        transforms(nn.Conv2d(3, 8, 5, 1, 2), mirror=(up(8, 3),)),
        transforms(nn.Conv2d(3, 8, 5, 2, 2, bias=False), mirror=(up(8, 3),)),
        transforms(down(3, 8), nn.ReLU(), down(8, 8), mirror=(up(8, 8), up(8, 3))),
        transforms(down(3, 8, kernel_size=3), mirror=(up(8, 3),)),
        transforms(down(3, 8, stride=1), mirror=(up(8, 3),)),
        transforms(down(3, 8, degrees=(2, 1)), mirror=(up(8, 3),)),
        transforms(down(3, 8, kind="absolute"), mirror=(up(8, 3),)),
        transforms(down(3, 8), down(8, 8), mirror=(up(8, 3),)),
        transforms(down(3, 8), down(8, 12), mirror=(up(12, 6), up(6, 3))),
        transforms(down(1, 8), mirror=(up(8, 1),)),
    ],
)
def test_a_model_that_the_linear_start_does_not_fit_is_refused(model: nn.Module) -> None:
    with pytest.raises(UsageError, match=r"start 'linear' does not fit .*start 'random'"):
        check_linear_start(model)


def test_the_linear_start_fits_any_depth() -> None:
    check_linear_start(transforms(down(3, 8), mirror=(up(8, 3),)))
    check_linear_start(transforms(*[down(3, 3)] * 5, mirror=(up(3, 3),) * 5))
    check_linear_start(transforms(nn.Conv2d(3, 8, 5, 2, 2), mirror=(deconv(8, 3),)))
