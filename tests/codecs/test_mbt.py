"""MBT-Paon: CompressAI's contract, sizes, round trips, rates, and CompressAI's own tools."""

from __future__ import annotations

import copy
import math
import pickle
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from compressai.layers import GDN
from compressai.models import JointAutoregressiveHierarchicalPriors
from compressai.registry import MODELS
from torch import Tensor
from torch.nn import functional as F

from paoncodec.codecs import MBT2018, MBTConfig, MBTPaon, build
from paoncodec.entropy import SymbolModel, Writer
from paoncodec.errors import MalformedStream, WeightsError

SMALL: dict[str, Any] = {
    "hyper_width": 6,
    "hyper_synthesis": (8, 10),
    "hyper_out": 12,
    "context_width": 10,
    "parameter_widths": (20, 18),
}
OPTIONS: list[dict[str, Any]] = [
    {"shift": "none"},
    {"shift": "static"},
    {"shift": "predicted"},
    {"shift": "none", "gdn": True},
    {"shift": "predicted", "gdn": True, "widths": (8, 10, 14)},
    {"shift": "predicted", "gdn": True, "padding": "zeros"},
    {"shift": "none", "widths": (8, 16, 32), "hyper_width": 12, "context_width": 4},
    {"shift": "none", "variable_rate": True},
]


def picture(height: int = 128, width: int = 192, batch: int = 1, seed: int = 0) -> Tensor:
    """(B, 3, H, W) in [0, 1]: smooth, with some noise."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(batch, 3, height // 16, width // 16, generator=generator)
    fine = torch.rand(batch, 3, height, width, generator=generator)
    return 0.85 * F.interpolate(coarse, size=(height, width), mode="bilinear") + 0.15 * fine


@torch.no_grad()
def tiny(**options: Any) -> MBTPaon:
    """Random networks, scaled so that latents and their predicted deviations go from 0.1 to 15."""
    torch.manual_seed(0)
    net = MBTPaon(8, 16, **{**SMALL, "shift": "none", **options}).eval()
    for name, parameter in net.named_parameters():
        if "shifter" in name:
            parameter.uniform_(-0.8, 0.8)
    deviations, x = torch.logspace(-1, 1.2, 16), picture()
    gain = deviations / net.analysis(x).std(dim=(0, 2, 3))
    net.g_a[-1].numerator.mul_(gain[:, None, None, None])
    net.g_a[-1].bias.mul_(gain)
    y = net.analysis(x)
    gain = 2 / net.h_a(y).std()
    net.h_a[-1].weight.mul_(gain)
    net.h_a[-1].bias.mul_(gain)
    net.entropy_parameters[-1].weight.mul_(0.3)
    net.entropy_parameters[-1].bias.copy_(torch.cat([deviations, y.mean(dim=(0, 2, 3))]))
    net.update()
    return net


@pytest.fixture(scope="module")
def net() -> MBTPaon:
    return tiny()


def rounded(net: MBTPaon, x: Tensor) -> Tensor:
    with torch.no_grad():
        return net.analysis(x).round()


def bits_of(strings: list[list[bytes]]) -> list[int]:
    return [8 * sum(map(len, pair)) for pair in zip(*strings, strict=True)]


def test_the_papers_sizes_are_the_default() -> None:
    assert MBTConfig() == MBTConfig(N=192, M=192, widths=(192,) * 3, shift="predicted", gdn=False)
    assert MBTConfig(M=320).parameter_widths == (1066, 853)
    theirs = {name for name, _ in JointAutoregressiveHierarchicalPriors(4, 4).named_children()}
    assert theirs <= {name for name, _ in MBTPaon(4, 4).named_children()}
    assert isinstance(MBTPaon(4, 4), JointAutoregressiveHierarchicalPriors)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shift": "elementwise"}, "shift 'elementwise': choose one of none, static, predicted"),
        ({"padding": "reflect"}, "padding 'reflect': choose one of replicate, zeros"),
        ({"widths": (8, 8)}, "expected 3 width"),
        ({"hyper_width": -1}, "each >= 1"),
        ({"M": 0}, "each >= 1"),
        ({"parameter_widths": (3, -1)}, "each >= 1"),
    ],
    ids=str,
)
def test_impossible_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MBTConfig(**options)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_forward_keeps_compressais_contract(options: dict[str, Any]) -> None:
    net = tiny(**options)
    x = picture(64, 128, batch=2)
    for training in (False, True):
        with torch.no_grad():
            out = net.train(training)(x)
        assert set(out) == {"x_hat", "likelihoods"}
        assert out["x_hat"].shape == x.shape
        assert out["likelihoods"]["y"].shape == (2, 16, 4, 8)
        assert out["likelihoods"]["z"].shape == (2, net.config.hyper_width, 1, 2)
        for likelihoods in out["likelihoods"].values():
            assert ((likelihoods > 0) & (likelihoods <= 1)).all()
    assert net.downsampling_factor == 64


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_gdn_and_shift_are_where_they_should_be(options: dict[str, Any]) -> None:
    net = tiny(**options)
    gdns = [m for m in net.modules() if isinstance(m, GDN)]
    assert [g.inverse for g in gdns] == ([False] * 3 + [True] * 3 if options.get("gdn") else [])
    shifted = {n.split(".")[0] for n, _ in net.named_parameters() if "shifter" in n}
    assert shifted == (set() if options["shift"] == "none" else {"g_a", "g_s"})


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@torch.no_grad()
def test_the_state_dict_tells_everything(options: dict[str, Any]) -> None:
    net = tiny(**options)
    state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    torch.manual_seed(1)
    again = MBTPaon.from_state_dict(state).eval()
    assert again.config == net.config
    assert MBTConfig(**again.config.to_json()) == net.config
    x = picture(64, 64)
    one, other = net(x), again(x)
    assert torch.equal(one["x_hat"], other["x_hat"])
    for name in ("y", "z"):
        assert torch.equal(one["likelihoods"][name], other["likelihoods"][name])
    assert again.compress(x) == net.compress(x)


def test_a_state_dict_of_something_else() -> None:
    for state in ({}, JointAutoregressiveHierarchicalPriors(4, 4).state_dict()):
        with pytest.raises((KeyError, ValueError)):
            MBTPaon.from_state_dict(state)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@torch.no_grad()
def test_round_trip(options: dict[str, Any]) -> None:
    net, x = tiny(**options), picture(128, 64, seed=5)
    coded = net.compress(x)
    assert set(coded) >= {"strings", "shape", "digests"}
    assert tuple(coded["shape"]) == (2, 1)
    decoded = net.decompress(coded["strings"], coded["shape"])
    assert decoded["digests"] == coded["digests"]
    y_hat = rounded(net, x)
    assert y_hat.abs().max() > 20
    assert (y_hat == 0).any()
    assert torch.equal(decoded["x_hat"], net.synthesis(y_hat).clamp(0, 1))
    assert decoded["x_hat"].shape == x.shape


@pytest.mark.parametrize("shift", ["none", "predicted"])
@torch.no_grad()
def test_a_batch_is_its_images(shift: str) -> None:
    net = tiny(shift=shift)
    x = torch.cat([picture(64, 128, seed=s) for s in (0, 1)] + [torch.zeros(1, 3, 64, 128)])
    together = net.compress(x)
    single = [net.compress(image[None]) for image in x]
    for i, one in enumerate(single):
        assert [strings[i] for strings in together["strings"]] == [s[0] for s in one["strings"]]
        assert together["digests"][i] == one["digests"][0]
    assert len(set(together["digests"])) == 3
    estimates = net.estimate(x)
    assert estimates == [net.estimate(image[None])[0] for image in x]
    decoded = net.decompress(together["strings"], together["shape"])
    assert decoded["digests"] == together["digests"]
    for i, one in enumerate(single):
        alone = net.decompress(one["strings"], one["shape"])
        assert torch.allclose(alone["x_hat"][0], decoded["x_hat"][i], atol=1e-4)


@torch.no_grad()
def test_where_the_bits_went_adds_up_to_the_estimate() -> None:
    net, x = tiny(), picture(batch=2)
    coded = net.compress(x)
    spent = net.spent(coded["strings"], coded["shape"])
    for parts, estimate in zip(spent, net.estimate(x), strict=True):
        assert {name: part.shape for name, part in parts.items()} == {"z": (2, 3), "y": (8, 12)}
        for name, part in parts.items():
            assert (part >= 0).all()
            assert part.sum() == pytest.approx(estimate[name])


@torch.no_grad()
def test_bits_are_told_where_the_picture_needs_them() -> None:
    net, x = tiny(), torch.full((1, 3, 256, 256), 0.5)
    x[:, :, 128:, :128] = picture(128, 128)
    coded = net.compress(x)
    [spent] = net.spent(coded["strings"], coded["shape"])
    corners = spent["y"].reshape(2, 8, 2, 8).sum(axis=(1, 3))
    assert corners.argmax() == 2
    assert corners[1, 0] > 1.2 * corners[0, 1]


@torch.no_grad()
def test_where_the_bits_went_is_not_told_of_a_damaged_string() -> None:
    net = tiny()
    coded = net.compress(picture())
    [[y], [z]] = coded["strings"]
    with pytest.raises(MalformedStream):
        net.spent([[y + bytes(64)], [z]], coded["shape"])


@torch.no_grad()
def test_rates_agree(net: MBTPaon) -> None:
    """Likelihoods of the floating-point model, the exact estimate and the bytes."""
    x = picture(256, 384)
    bits = {
        name: -likelihoods.log2().sum().item()
        for name, likelihoods in net(x)["likelihoods"].items()
    }
    (estimate,) = net.estimate(x)
    assert estimate["y"] > 10_000
    assert estimate["y"] == pytest.approx(bits["y"], rel=0.02)
    assert estimate["z"] == pytest.approx(bits["z"], rel=0.02)
    total = sum(estimate.values())
    (length,) = bits_of(net.compress(x)["strings"])
    assert total * 0.9995 - 2 <= length <= total * 1.01 + 64 * 8


@torch.no_grad()
def test_latents_out_of_reach_saturate(net: MBTPaon) -> None:
    y, z = torch.full((16, 8, 4), 1e9), torch.full((6, 2, 1), -1e9)
    y[::2] *= -1
    coded = net.exact().encode(y, z)
    decoded, digest = net.exact().decode(coded.y, coded.z, (2, 1))
    assert torch.equal(decoded, y.clamp(-4095, 4095))
    assert digest == coded.digest


@torch.no_grad()
def test_medians_far_from_zero() -> None:
    """Hyper-latents are integers around medians; their sum stays an activation."""
    net = tiny()
    net.entropy_bottleneck.quantiles.add_(torch.linspace(-3000.3, 3000.7, 6)[:, None, None])
    net.update(force=True)
    z = net.entropy_bottleneck.quantiles[:, 0, 1][:, None, None] + torch.randn(6, 3, 2)
    z[0, 0, 0], z[-1, 0, 0] = -9000, 9000
    y = torch.randn(16, 12, 8) * 3
    coded = net.exact().encode(y, z)
    decoded, digest = net.exact().decode(coded.y, coded.z, (3, 2))
    assert torch.equal(decoded, y.round())
    assert digest == coded.digest
    assert np.abs(net.exact().round_z(z)[1:5]).max() < 10


@torch.no_grad()
def test_the_digest_is_a_crc_of_both_latents(net: MBTPaon) -> None:
    x = picture(64, 128)
    y = rounded(net, x)[0]
    z = net.exact().round_z(net.h_a(net.analysis(x))[0])
    data = b"".join(v.to_bytes(4, "little", signed=True) for v in z.ravel().tolist())
    data += b"".join(int(v).to_bytes(4, "little", signed=True) for v in y.ravel().tolist())
    assert net.compress(x)["digests"] == [zlib.crc32(data)]


def test_pictures_that_are_not_finite(net: MBTPaon) -> None:
    x = picture(64, 64)
    x[0, 0, 3, 3] = math.nan
    with torch.no_grad(), pytest.raises(WeightsError, match="not finite"):
        net.compress(x)


@torch.no_grad()
def test_damaged_strings(net: MBTPaon) -> None:
    coded = net.compress(picture(64, 64))
    (y,), (z,) = coded["strings"]
    for strings in ([y + bytes(8), z], [y, z + bytes(8)], [y[:-1], z], [y, z[:-3]]):
        with pytest.raises(MalformedStream):
            net.decompress([[s] for s in strings], coded["shape"])
    # A decoder reads zeros beyond the end, so what is cut short may decode; the digest tells.
    for cut in (8, len(y) // 2 // 4 * 4, len(y)):
        try:
            short = net.decompress([[y[:-cut]], [z]], coded["shape"])
        except MalformedStream:
            continue
        assert short["digests"] != coded["digests"]


@torch.no_grad()
def test_hyper_latents_out_of_range_are_refused(net: MBTPaon) -> None:
    tables = np.arange(6)
    for value in (4096, -4096):
        writer = Writer(SymbolModel(net.z_tables))
        writer(tables, np.array([0, 0, value, 0, 0, 0]))
        with pytest.raises(MalformedStream, match="z at byte 0: a hyper-latent beyond ±4095"):
            net.exact().decode(b"", writer.getvalue(), (1, 1))


def test_update_makes_tables_once() -> None:
    net = tiny()
    state = {name: t.clone() for name, t in net.state_dict().items()}
    assert net.update() is False
    assert all(torch.equal(t, state[name]) for name, t in net.state_dict().items())
    assert net.update(force=True) is True
    assert all(torch.equal(t, state[name]) for name, t in net.state_dict().items())
    assert MBTPaon(4, 4).update() is True


def test_no_tables_no_strings() -> None:
    net = MBTPaon(4, 4, shift="none").eval()
    with torch.no_grad(), pytest.raises(WeightsError, match=r"run update\(\)"):
        net.compress(picture(64, 64))


@pytest.mark.parametrize("layer", ["h_s.0", "h_s.4", "context_prediction", "entropy_parameters.2"])
@pytest.mark.parametrize("weight", [math.nan, 3000.0])
def test_weights_beyond_exact_arithmetic(layer: str, weight: float) -> None:
    net = tiny()
    net.get_submodule(layer).weight.data.view(-1)[0] = weight
    with pytest.raises(WeightsError, match=f"^{layer}: "):
        net.exact()


def test_medians_that_are_not_finite() -> None:
    net = tiny()
    net.entropy_bottleneck.quantiles.data[2, 0, 1] = math.nan
    with pytest.raises(WeightsError, match="not finite"):
        net.exact()


@torch.no_grad()
def test_new_weights_are_seen() -> None:
    """The exact networks are made once, and again after training or loading."""
    net, x = tiny(), picture(64, 64)
    y = torch.randn(16, 4, 4) * 3
    z = torch.randn(6, 1, 1)
    state = copy.deepcopy(net.state_dict())
    before = net.exact().encode(y, z)
    net.train()
    net.entropy_parameters[-1].bias.add_(1)
    net.eval()
    after = net.exact().encode(y, z)
    assert after.y != before.y
    net.load_state_dict(state)
    assert net.exact().encode(y, z) == before
    assert copy.deepcopy(net).compress(x) == net.compress(x)


@torch.no_grad()
def test_autocast_does_not_reach_the_entropy_model(net: MBTPaon) -> None:
    y, z = torch.randn(16, 4, 8) * 3, torch.randn(6, 1, 2)
    plain = net.exact().encode(y, z)
    with torch.autocast("cpu", torch.bfloat16):
        assert net.exact().encode(y, z) == plain
        assert net.exact().decode(plain.y, plain.z, (1, 2))[1] == plain.digest


@pytest.fixture
def eval_model() -> Iterator[ModuleType]:
    """CompressAI's evaluation script, which sets things for the whole process when imported."""
    threads, deterministic = torch.get_num_threads(), torch.backends.cudnn.deterministic
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from compressai.utils.eval_model import __main__ as script
    yield script
    torch.set_num_threads(threads)
    torch.backends.cudnn.deterministic = deterministic


def test_compressais_tools_drive_it(eval_model: ModuleType, net: MBTPaon) -> None:
    x = picture(192, 256)[0, :, :170, :200]
    result = eval_model.inference(net, x)  # pads to 192×256 with zeros, crops again
    padded = F.pad(x[None], (28, 28, 11, 11))
    with torch.no_grad():
        coded = net.compress(padded)
        decoded = net.decompress(coded["strings"], coded["shape"])
    assert result["bpp"] == bits_of(coded["strings"])[0] / (170 * 200)
    error = (decoded["x_hat"][0, :, 11:-11, 28:-28] * 255).round() - (x * 255).round()
    assert result["psnr-rgb"] == pytest.approx(
        10 * math.log10(255**2 / error.square().mean()), abs=1e-3
    )

    estimated = eval_model.inference_entropy_estimation(net, padded[0])
    length = bits_of(coded["strings"])[0] / (192 * 256)
    assert estimated["bpp"] == pytest.approx(length, rel=0.03)


def test_a_checkpoint_before_update_loads() -> None:
    """Training keeps no tables; CompressAI's tools load such weights, then call update."""
    torch.manual_seed(3)
    untrained = MBTPaon(8, 16, **SMALL, shift="none")
    loaded = MBTPaon.from_state_dict(untrained.state_dict()).eval()
    assert loaded.config == untrained.config
    assert loaded.update(force=True)
    x = picture(64, 64)
    with torch.no_grad():
        coded = loaded.compress(x)
        assert loaded.decompress(coded["strings"], coded["shape"])["digests"] == coded["digests"]


@torch.no_grad()
def test_the_exact_model_follows_every_change_of_the_weights() -> None:
    torch.manual_seed(0)
    model = build("mbt-paon", {"N": 4, "M": 6, "shift": "none"}).eval()
    model.update(force=True)
    before = model.exact()
    assert model.exact() is before
    model.context_prediction.bias.add_(1)  # in place, in evaluation mode
    changed = model.exact()
    assert changed is not before
    outer = torch.nn.ModuleDict({"net": model})
    outer.load_state_dict({k: v.clone() for k, v in outer.state_dict().items()})
    assert model.exact() is not changed


@torch.no_grad()
def test_a_model_that_has_coded_can_be_pickled() -> None:
    torch.manual_seed(0)
    model = build("mbt-paon", {"N": 4, "M": 6, "shift": "none"}).eval()
    model.update(force=True)
    x = torch.rand(1, 3, 64, 64)
    strings = model.compress(x)["strings"]
    assert pickle.loads(pickle.dumps(model)).compress(x)["strings"] == strings  # noqa: S301


def test_compress_and_decompress_work_where_gradients_flow() -> None:
    torch.manual_seed(0)
    model = build("mbt-paon", {"N": 4, "M": 6, "shift": "none"}).eval()
    model.update(force=True)
    coded = model.compress(torch.rand(1, 3, 64, 64))
    assert model.decompress(coded["strings"], coded["shape"])["x_hat"].shape == (1, 3, 64, 64)


@torch.no_grad()
def test_odd_sides_work_where_the_sides_of_y_fit_and_are_refused_by_name_elsewhere() -> None:
    torch.manual_seed(0)
    model = build("mbt-paon", {"N": 4, "M": 6, "shift": "none"}).eval()
    model.update(force=True)
    coded = model.compress(torch.rand(1, 3, 50, 50))
    assert coded["shape"] == (1, 1)
    assert model.decompress(coded["strings"], coded["shape"])["x_hat"].shape == (1, 3, 64, 64)
    with pytest.raises(ValueError, match="100x70: pad its sides to multiples of 64"):
        model.compress(torch.rand(1, 3, 70, 100))
    with pytest.raises(ValueError, match=r"shape \(0, 3, 64, 64\): give at least one image"):
        model.compress(torch.rand(0, 3, 64, 64))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@torch.no_grad()
def test_forward_runs_in_the_dtype_of_the_weights(dtype: torch.dtype) -> None:
    model = build("mbt-paon", {"N": 4, "M": 6, "shift": "none"}).eval().to(dtype)
    assert model(torch.rand(1, 3, 64, 64, dtype=dtype))["x_hat"].dtype == dtype


def test_compressai_knows_it_by_name() -> None:
    assert MODELS["mbt-paon"] is MBTPaon


# The same with convolutions


@torch.no_grad()
def test_convolutions_differ_in_the_transforms_only() -> None:
    torch.manual_seed(0)
    net, ours = MBT2018(8, 16, **SMALL).eval(), MBTPaon(8, 16, gdn=True, shift="none", **SMALL)
    theirs = JointAutoregressiveHierarchicalPriors(8, 16)
    for name in ("g_a", "g_s"):
        assert str(net.get_submodule(name)) == str(theirs.get_submodule(name))
        theirs.get_submodule(name).load_state_dict(net.get_submodule(name).state_dict())
    assert net.config == replace(ours.config, padding="zeros")
    rest = {k: v.shape for k, v in ours.state_dict().items() if not k.startswith(("g_a", "g_s"))}
    assert rest == {
        k: v.shape for k, v in net.state_dict().items() if not k.startswith(("g_a", "g_s"))
    }
    x = picture(64, 128)
    torch.testing.assert_close(net.analysis(x), theirs.g_a(x))
    net.update()
    again = MBT2018.from_state_dict(net.state_dict()).eval()
    assert again.config == net.config
    coded = again.compress(x)
    assert coded == net.compress(x)
    assert again.decompress(coded["strings"], coded["shape"])["digests"] == coded["digests"]


@pytest.mark.parametrize("options", [{"gdn": False}, {"shift": "static"}, {"padding": "replicate"}])
def test_convolutions_have_no_shift_and_need_gdn(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="with GDN, without shift"):
        MBT2018(8, 16, **options)


def test_neither_takes_the_others_weights() -> None:
    for one, other in ((MBT2018, MBTPaon), (MBTPaon, MBT2018)):
        with pytest.raises(ValueError, match="not the state dict of an MBT-Paon"):
            one.from_state_dict(other(8, 16, shift="none", gdn=True).state_dict())
