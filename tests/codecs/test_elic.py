"""ELIC-Paon: what it is made of, what its contexts see, and its strings."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from compressai.layers import CheckerboardMaskedConv2d
from compressai.models import Elic2022Official
from compressai.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F

from paoncodec.codecs import ELIC2022, ELICConfig, ELICPaon, MBTPaon
from paoncodec.coding.blocks import AttentionBlock, BottleneckBlock
from paoncodec.errors import MalformedStream, WeightsError
from paoncodec.layers import CHECKERBOARD_TAPS, PaLaConv2d, PaLaConvTranspose2d
from paoncodec.layers.base import PaLa

SMALL: dict[str, Any] = {
    "N": 6,
    "M": 14,
    "groups": (2, 4, 8),
    "widths": (6, 8, 10),
    "hyper_width": 6,
    "hyper_synthesis": (8, 10),
    "hyper_out": 12,
    "channel_widths": (9,),
    "channel_kernels": (3, 1),
    "parameter_widths": ((14, 12), (16, 12), (20, 18)),
    "shift": "none",
}
OPTIONS: list[dict[str, Any]] = [
    {},
    {"shift": "static", "attention": True},
    {"attention_width": 3},
    {"shift": "predicted", "relu": True, "blocks": 2},
    {"padding": "zeros", "attention": True, "blocks": 3, "relu": True},
    {"attention": True, "relu": True, "variable_rate": True},
    {"spatial_out": (3, 4, 5), "channel_out": (6, 7), "channel_kernels": (5, 3)},
    {"channel_widths": (), "channel_kernels": (1,), "parameter_widths": ()},
    {"rounding": "means", "variable_rate": True},
]
LATENTS = "latent_codec.y.latent_codec"


def picture(height: int = 128, width: int = 64, batch: int = 1, seed: int = 0) -> Tensor:
    """(B, 3, H, W) in [0, 1]: smooth, with some noise."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(batch, 3, height // 16, width // 16, generator=generator)
    fine = torch.rand(batch, 3, height, width, generator=generator)
    return 0.85 * F.interpolate(coarse, size=(height, width), mode="bilinear") + 0.15 * fine


@torch.no_grad()
def lively(net: ELICPaon) -> ELICPaon:
    """Random networks, scaled so that latents and their predicted deviations go from 0.1 to 15."""
    net.eval()
    for name, parameter in net.named_parameters():
        if "shifter" in name:
            parameter.uniform_(-0.8, 0.8)
    deviations, x = torch.logspace(-1, 1.2, net.M), picture()
    # The attention after it is no scaling, but nearly one.
    last, attention = net.g_a[-2], net.g_a[-1]
    attention.start_as_identity()
    gain = deviations / net.analysis(x).std(dim=(0, 2, 3))
    last.weight.mul_(gain[:, None, None, None])
    last.bias.mul_(gain)
    y = net.analysis(x)
    gain = 2 / net.h_a(y).std()
    net.h_a[-1].weight.mul_(gain)
    net.h_a[-1].bias.mul_(gain)
    first = 0
    for layer in net.predictors():
        group = slice(first, first := first + len(layer.bias) // 2)
        layer.weight.mul_(0.3)
        layer.bias.copy_(torch.cat([deviations[group], y.mean(dim=(0, 2, 3))[group]]))
    net.update()
    return net


def tiny(**options: Any) -> ELICPaon:
    torch.manual_seed(0)
    return lively(ELICPaon(**{**SMALL, **options}))


@pytest.fixture(scope="module")
def net() -> ELICPaon:
    return tiny()


def bits_of(strings: list[list[bytes]]) -> list[int]:
    return [8 * sum(map(len, pair)) for pair in zip(*strings, strict=True)]


# What it is made of


def test_the_papers_sizes_are_the_default() -> None:
    config = ELICConfig()
    assert config.groups == (16, 16, 32, 64, 192)
    assert config.widths == (192,) * 3
    assert config.channel_widths == (224, 128)
    assert config.parameter_widths[0] == (384, 384)
    assert config.parameter_widths[4] == (896, 640)
    assert (config.blocks, config.shift, config.relu, config.attention) == (
        1,
        "predicted",
        False,
        False,
    )
    assert ELICConfig(**config.to_json()) == config


@pytest.mark.parametrize(("n", "m"), [(12, 132), (9, 135)])
def test_with_three_blocks_the_shapes_are_compressais(n: int, m: int) -> None:
    """So that its weights fit, in both of our forms."""
    theirs = {k: v.shape for k, v in Elic2022Official(n, m).named_parameters()}
    ours = {k: v.shape for k, v in ELIC2022(n, m).named_parameters()}
    pade = {k: v.shape for k, v in ELICPaon(n, m, blocks=3, relu=True).named_parameters()}
    for k in range(5):
        name = f"{LATENTS}.y{k}.context_prediction"
        inputs = theirs[f"{name}.weight"][1]
        assert theirs.pop(f"{name}.weight")[:1] == ours[f"{name}.numerator"][:1]
        assert ours.pop(f"{name}.numerator")[1:] == (inputs, len(CHECKERBOARD_TAPS))
        assert theirs[f"{name}.bias"] == ours[f"{name}.bias"]
    assert ours == theirs
    for name, shape in pade.items():
        if name.endswith(".numerator") and "context_prediction" not in name:
            assert ours[name.replace("numerator", "weight")] == shape


def test_pade_layers_are_where_the_paper_has_them(net: ELICPaon) -> None:
    assert isinstance(net, Elic2022Official)
    assert net.downsampling_factor == 64
    pade = {name for name, module in net.named_modules() if isinstance(module, PaLa)}
    context = "latent_codec.y.channel_context"
    expected = {f"g_s.{i}" for i in (1, 3, 6, 8)}
    expected |= {f"g_s.{i}.conv{j}" for i in (2, 5, 7) for j in (1, 2, 3)}
    expected |= {f"{LATENTS}.y{k}.context_prediction" for k in range(3)}
    expected |= {f"{context}.y{k}.{i}" for k in (1, 2) for i in (0, 1)}
    assert pade == expected
    assert isinstance(net.g_s[1], PaLaConvTranspose2d)
    assert all(net.get_submodule(name).spec.den == 1 for name in pade)
    relus = {n for n, m in net.named_modules() if isinstance(m, nn.ReLU)}
    assert not any(name.startswith((context, "g_s.2", "g_s.5", "g_s.7")) for name in relus)
    assert {n.split(".")[0] for n in relus} == {"g_a", "g_s", "latent_codec"}
    attention = tiny(attention=True)
    assert all(isinstance(m, PaLaConv2d) for m in attention.g_s[0].conv_a[0].conv)


def test_the_layers_mirror(net: ELICPaon) -> None:
    kinds = {BottleneckBlock: "block", AttentionBlock: "attention", nn.Conv2d: "conv"}
    assert [kinds[type(m)] for m in net.g_a] == [
        *("conv", "block", "conv", "block", "attention"),
        *("conv", "block", "conv", "attention"),
    ]
    kinds[PaLaConvTranspose2d] = "conv"
    assert [kinds[type(m)] for m in net.g_s] == [
        *("attention", "conv", "block", "conv", "attention", "block"),
        *("conv", "block", "conv"),
    ]


@pytest.mark.parametrize("shift", ["static", "predicted"])
def test_only_the_decoder_shifts(shift: str) -> None:
    net = ELICPaon(**{**SMALL, "shift": shift})
    shifted = {n.split(".")[0] for n, _ in net.named_parameters() if "shifter" in n}
    assert shifted == {"g_s"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"M": 100, "groups": ()}, "groups .*each must be >= 1"),
        ({"groups": (2, 4)}, "groups .*add up to M, 14"),
        ({"groups": (14,), "parameter_widths": ()}, "at least two"),
        ({"widths": (6, 8)}, "widths .*expected 3"),
        ({"widths": (1, 8, 8)}, "bottlenecks halve them"),
        ({"spatial_out": (3, 4)}, "spatial_out .*expected 3"),
        ({"channel_kernels": (3,)}, "channel_kernels .*expected 2"),
        ({"channel_kernels": (3, 2)}, "must be odd"),
        ({"channel_out": (3, 0)}, "channel_out .*each must be >= 1"),
        ({"parameter_widths": ((3,), (3, 3), (3, 3))}, "expected a pair for each"),
        ({"blocks": 0}, "blocks 0"),
        ({"shift": "up"}, "choose one of none, static, predicted"),
        ({"padding": "reflect"}, "choose one of replicate, zeros"),
        ({"rounding": "down"}, "choose one of integers, means"),
    ],
)
def test_sizes_that_do_not_fit_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ELICConfig(**{**SMALL, **options})


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@torch.no_grad()
def test_the_state_dict_tells_everything(options: dict[str, Any]) -> None:
    net, x = tiny(**options), picture(64, 64)
    state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    torch.manual_seed(1)
    again = ELICPaon.from_state_dict(state).eval()
    assert again.config == net.config
    assert ELICConfig(**again.config.to_json()) == net.config
    assert again.compress(x) == net.compress(x)
    assert torch.equal(again(x)["x_hat"], net(x)["x_hat"])


def test_a_state_dict_of_something_else() -> None:
    others = [MBTPaon(4, 4, shift="none"), ELIC2022(**{**SMALL, "blocks": 1})]
    for state in ({}, *(model.state_dict() for model in others)):
        with pytest.raises((KeyError, ValueError)):
            ELICPaon.from_state_dict(state)


def test_compressai_knows_it_by_name() -> None:
    assert MODELS["elic-paon"] is ELICPaon
    assert MODELS["elic-2022"] is ELIC2022


# What its contexts see


@pytest.mark.parametrize("place", [(2, 2), (2, 3), (0, 0), (0, 1), (7, 3), (7, 2)], ids=str)
@pytest.mark.parametrize("k", range(3))
@torch.no_grad()
def test_a_latent_moves_only_what_comes_after_it(
    net: ELICPaon, k: int, place: tuple[int, int]
) -> None:
    """The network for training; tests/entropy/test_checkerboard.py has the walk."""
    generator = torch.Generator().manual_seed(0)
    y_hat = torch.randn(1, 14, 8, 4, generator=generator).mul(3).round()
    hyper = torch.randn(1, 12, 8, 4, generator=generator)
    before = torch.stack(net.predict(y_hat, hyper)[1:]).split(net.groups, dim=2)
    y_hat[:, sum(net.groups[:k]) : sum(net.groups[: k + 1]), place[0], place[1]] += 30
    after = torch.stack(net.predict(y_hat, hyper)[1:]).split(net.groups, dim=2)
    changed = [(one != two).amax(dim=(0, 1, 2)) for one, two in zip(before, after, strict=True)]
    assert not any(changed[j].any() for j in range(k))
    seen = torch.zeros(8, 4, dtype=torch.bool)
    if sum(place) % 2 == 0:
        for dh, dw in CHECKERBOARD_TAPS:
            h, w = place[0] - dh, place[1] - dw
            if 0 <= h < 8 and 0 <= w < 4:
                seen[h, w] = True
    assert not (changed[k] & ~seen).any()
    assert changed[k].any() == seen.any()
    assert all(changed[j][place] for j in range(k + 1, 3))


@torch.no_grad()
def test_both_ways_say_the_same(net: ELICPaon) -> None:
    """The network for training and the exact walk, but for rounding."""
    y, z = torch.randn(14, 8, 4).mul(4).round(), torch.randn(6, 2, 1).round()
    said: list[Tensor] = []

    def select(deviations: Any, means: Any) -> tuple[Any, Any]:
        said.append(torch.from_numpy(means).float())
        zeros = torch.zeros(means.shape, dtype=torch.int64).numpy()
        return zeros, zeros

    hyper = net.h_s(z[None])
    # On the grid of exact arithmetic, so that both see the same.
    hyper = (hyper * 2**14).round() / 2**14
    net.walk(select)(hyper[0].double().numpy(), lambda tables, values: values, y.long().numpy())
    means = net.predict(y[None], hyper)[2][0].split(net.groups)
    parity = (torch.arange(8)[:, None] + torch.arange(4)) % 2
    for k, group in enumerate(means):
        for step in range(2):
            expected = group[:, parity == step].T
            torch.testing.assert_close(said[2 * k + step], expected, rtol=2e-3, atol=2e-3)


@torch.no_grad()
def test_around_means_it_is_what_compressais_latent_codecs_make_of_our_networks() -> None:
    net, x = tiny(rounding="means"), picture()
    theirs, ours = net.latent_codec(net.analysis(x)), net(x)
    y_hat, _, means, _ = net.distributions(x)
    torch.testing.assert_close(y_hat, theirs["y_hat"], rtol=1e-5, atol=1e-5)
    assert (means - means.round()).abs().mean() > 0.1
    for part in ("y", "z"):
        torch.testing.assert_close(ours["likelihoods"][part], theirs["likelihoods"][part])
    assert torch.equal(ours["x_hat"], net.synthesis(y_hat))


# Forward, strings


@pytest.mark.parametrize("options", [{}, {"shift": "predicted", "variable_rate": True}], ids=str)
@torch.no_grad()
def test_around_means_strings_hold_what_is_nearest(options: dict[str, Any]) -> None:
    net, x = tiny(rounding="means", **options), picture(128, 64, seed=5)
    coded = net.compress(x)
    (y_hat,), digests = net.decompress_latents(coded["strings"], coded["shape"])
    assert digests == coded["digests"]
    y = net.analysis(x)
    assert y.abs().max() > 10
    assert (y_hat - y[0]).abs().max() <= 0.5 + 1e-6
    assert (y_hat % 1).abs().max() > 0.1
    # The networks for training see the same, but for their own roundings.
    torch.testing.assert_close(net.distributions(x)[0][0], y_hat, rtol=0, atol=5e-3)
    decoded = net.decompress(coded["strings"], coded["shape"])["x_hat"]
    assert torch.equal(decoded, net.synthesis(y_hat[None]).clamp(0, 1))
    assert torch.equal(decoded, net.reconstruct(x))
    assert torch.equal(net.rounded(y)[0], y_hat)


@torch.no_grad()
def test_around_means_latents_out_of_reach_saturate() -> None:
    net = tiny(rounding="means")
    y, z = torch.full((14, 8, 4), 1e9), torch.full((6, 2, 1), -1e9)
    y[::2] *= -1
    coded = net.exact().encode(y, z)
    decoded, digest = net.exact().decode(coded.y, coded.z, (2, 1))
    assert (decoded - y.clamp(-4094, 4094)).abs().max() <= 0.5
    assert digest == coded.digest


@pytest.mark.parametrize("rounding", ["integers", "means"])
@torch.no_grad()
def test_forward_as_coded(rounding: str) -> None:
    net, x = tiny(rounding=rounding), picture(128, 128, batch=2)
    net.as_coded = True
    out = net(x)
    bits = {k: -v.log2().sum(dim=(1, 2, 3)) for k, v in out["likelihoods"].items()}
    for i, estimate in enumerate(net.estimate(x)):
        assert {k: v[i].item() for k, v in bits.items()} == pytest.approx(estimate, rel=1e-5)
    assert torch.equal(net(x[:1])["x_hat"].clamp(0, 1), net.reconstruct(x[:1]))
    # Where bits are is where a file has them.
    coded = net.compress(x)
    for i, spent in enumerate(net.spent(coded["strings"], coded["shape"])):
        for part, each in spent.items():
            found = -out["likelihoods"][part][i].log2().sum(dim=0)
            torch.testing.assert_close(found, torch.from_numpy(each).float(), rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="100x128: pad its sides to multiples of 64"):
        net(picture(128, 112)[..., :100])
    net.as_coded = False
    assert not torch.equal(net(x)["likelihoods"]["y"], out["likelihoods"]["y"])


@pytest.mark.parametrize("options", OPTIONS[:4], ids=str)
@torch.no_grad()
def test_forward_and_strings(options: dict[str, Any]) -> None:
    net, x = tiny(**options), picture(128, 64, seed=5)
    for training in (False, True):
        out = net.train(training)(x)
        assert out["x_hat"].shape == x.shape
        assert out["likelihoods"]["y"].shape == (1, 14, 8, 4)
        assert out["likelihoods"]["z"].shape == (1, 6, 2, 1)
        for likelihoods in out["likelihoods"].values():
            assert ((likelihoods > 0) & (likelihoods <= 1)).all()
    net.eval()
    coded = net.compress(x)
    assert tuple(coded["shape"]) == (2, 1)
    decoded = net.decompress(coded["strings"], coded["shape"])
    assert decoded["digests"] == coded["digests"]
    y_hat = net.analysis(x).round()
    assert y_hat.abs().max() > 10
    assert torch.equal(decoded["x_hat"], net.synthesis(y_hat).clamp(0, 1))
    assert torch.equal(decoded["x_hat"], net.reconstruct(x))


@torch.no_grad()
def test_a_batch_is_its_images() -> None:
    net = tiny(shift="predicted")
    x = torch.cat([picture(64, 128, seed=s) for s in (0, 1)] + [torch.zeros(1, 3, 64, 128)])
    together, estimates = net.compress(x), net.estimate(x)
    for i, image in enumerate(x):
        one = net.compress(image[None])
        assert [strings[i] for strings in together["strings"]] == [s[0] for s in one["strings"]]
        assert together["digests"][i] == one["digests"][0]
        assert estimates[i] == net.estimate(image[None])[0]
    assert net.decompress(together["strings"], together["shape"])["digests"] == together["digests"]


@torch.no_grad()
def test_rates_agree(net: ELICPaon) -> None:
    """Likelihoods of the floating-point model, the exact estimate and the bytes."""
    x = picture(256, 320)
    bits = {k: -v.log2().sum().item() for k, v in net(x)["likelihoods"].items()}
    (estimate,) = net.estimate(x)
    assert estimate["y"] > 10_000
    assert estimate["y"] == pytest.approx(bits["y"], rel=0.02)
    assert estimate["z"] == pytest.approx(bits["z"], rel=0.02)
    total = sum(estimate.values())
    (length,) = bits_of(net.compress(x)["strings"])
    assert total * 0.9995 - 2 <= length <= total * 1.01 + 64 * 8


@torch.no_grad()
def test_a_higher_quality_is_finer() -> None:
    net, x = tiny(variable_rate=True), picture()
    sizes = [bits_of(net.compress(x, q)["strings"])[0] for q in (2.5, 4, 5, 6)]
    assert sizes == sorted(sizes)
    coded = net.compress(x, 2.5)
    decoded = net.decompress(coded["strings"], coded["shape"], 2.5)
    assert torch.equal(decoded["x_hat"], net.reconstruct(x, 2.5))
    with pytest.raises(ValueError, match="one rate"):
        tiny().compress(x, 2.5)


@torch.no_grad()
def test_latents_out_of_reach_saturate(net: ELICPaon) -> None:
    y, z = torch.full((14, 8, 4), 1e9), torch.full((6, 2, 1), -1e9)
    y[::2] *= -1
    coded = net.exact().encode(y, z)
    decoded, digest = net.exact().decode(coded.y, coded.z, (2, 1))
    assert torch.equal(decoded, y.clamp(-4095, 4095))
    assert digest == coded.digest


@torch.no_grad()
def test_damaged_strings(net: ELICPaon) -> None:
    coded = net.compress(picture(64, 64))
    (y,), (z,) = coded["strings"]
    for strings in ([y + bytes(8), z], [y, z + bytes(8)], [y[:-1], z], [y, z[:-3]]):
        with pytest.raises(MalformedStream):
            net.decompress([[s] for s in strings], coded["shape"])


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        ("latent_codec.hyper.h_s.2", "h_s.2"),
        (f"{LATENTS}.y1.context_prediction", f"{LATENTS}.y1.context_prediction"),
        (f"{LATENTS}.y2.entropy_parameters.2", f"{LATENTS}.y2.entropy_parameters.2"),
        ("latent_codec.y.channel_context.y1.0", "latent_codec.y.channel_context.y1.0"),
    ],
)
@pytest.mark.parametrize("weight", [math.nan, 3000.0])
def test_weights_beyond_exact_arithmetic(layer: str, name: str, weight: float) -> None:
    net = tiny()
    next(net.get_submodule(layer).parameters()).data.view(-1)[0] = weight
    with pytest.raises(WeightsError, match=f"^{name}"):
        net.exact()


@torch.no_grad()
def test_new_weights_are_seen() -> None:
    net = tiny()
    y, z = torch.randn(14, 4, 4) * 3, torch.randn(6, 1, 1)
    state = copy.deepcopy(net.state_dict())
    before = net.exact().encode(y, z)
    net.latent_codec["y"].channel_context["y2"][0].denominator.add_(0.1)
    assert net.exact().encode(y, z).y != before.y
    net.load_state_dict(state)
    assert net.exact().encode(y, z) == before


@torch.no_grad()
def test_autocast_reaches_neither_the_latents_nor_their_coding(net: ELICPaon) -> None:
    x = picture()
    plain, strings = net.analysis(x), net.compress(x)["strings"]
    y, z = plain[0], net.h_a(plain)[0]
    with torch.autocast("cpu", torch.bfloat16):
        assert net.analysis(x).dtype == torch.float32
        assert net(x)["x_hat"].dtype == torch.float32
        assert net.exact().encode(y, z).y == strings[0][0]


# The same with convolutions


@torch.no_grad()
def test_convolutions_compute_what_compressais_do() -> None:
    torch.manual_seed(0)
    net, theirs = lively(ELIC2022(12, 132)), Elic2022Official(12, 132).eval()
    for name in ("g_a", "g_s"):
        theirs.get_submodule(name).load_state_dict(net.get_submodule(name).state_dict())
    theirs.to(memory_format=torch.channels_last)  # as ours is: other layouts round otherwise
    x = picture()
    y = net.analysis(x)
    torch.testing.assert_close(y, theirs.g_a(x.clone()))
    torch.testing.assert_close(net.synthesis(y), theirs.g_s(y.clone()))
    ours = net.latent_codec["y"]["y1"].context_prediction
    masked = CheckerboardMaskedConv2d(16, 32, 5, padding=2)
    masked.weight.copy_(ours.kernel("numerator")[0])
    masked.bias.copy_(ours.bias)
    torch.testing.assert_close(ours(y[:, 16:32]), masked(y[:, 16:32]), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_convolutions_make_strings_too() -> None:
    torch.manual_seed(0)
    net, x = lively(ELIC2022(**{**SMALL, "blocks": 2})), picture()
    again = ELIC2022.from_state_dict(net.state_dict()).eval()
    assert again.config == net.config
    coded = again.compress(x)
    assert coded == net.compress(x)
    assert again.decompress(coded["strings"], coded["shape"])["digests"] == coded["digests"]
    assert ELIC2022(**SMALL).config.blocks == 3
    with pytest.raises(ValueError, match="other layers"):
        ELIC2022.from_state_dict(tiny().state_dict())


@pytest.mark.parametrize(
    "options",
    [{"relu": False}, {"shift": "static"}, {"attention": True}, {"padding": "replicate"}],
)
def test_convolutions_have_relus_and_no_shift(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="with ReLU, without shift"):
        ELIC2022(**{**SMALL, **options})
