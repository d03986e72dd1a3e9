"""What layers and models cost."""

from __future__ import annotations

import builtins
import math

import pytest
import torch
from torch import nn

from paoncodec import codecs
from paoncodec.errors import UsageError
from paoncodec.evaluation.complexity import (
    TABLE_1,
    complexity,
    macs_by_module,
    networks_of_codec,
    peak_allocation,
    table_1,
)
from paoncodec.layers import ElementShift, PaLaConv2d, PaLaDeformConv2d, PaLaLinear


def test_the_peak_is_what_is_held_at_once() -> None:
    kept = torch.zeros(1000)

    def run() -> None:
        a = torch.zeros(2**18)
        b = a + 1
        del a
        torch.zeros(2**16)
        assert len(b) > len(kept)

    assert 2 * 2**20 <= peak_allocation(run) < 2 * 2**20 + 4096  # a scalar or two beside them


def test_table_1() -> None:
    """Each count agrees with the paper's to its last digit, which it has cut or rounded."""
    rows = table_1()
    assert list(rows) == list(TABLE_1)
    for name, row in rows.items():
        for ours, paper in ((row.macs, TABLE_1[name].macs), (row.flops, TABLE_1[name].flops)):
            hundredths = ours / 1e4
            assert round(100 * paper) in (math.floor(hundredths), round(hundredths)), name
    assert [row.macs for row in rows.values()] == [14745600, 29491200, 30277650, 30277632]
    assert [row.flops for row in rows.values()] == [29491200, 58982400, 58982436, 58982400]
    assert [row.parameters for row in rows.values()] == [228, 453, 483, 459]


@pytest.mark.parametrize(("degrees", "products"), [((1, 1), 2), ((2, 1), 3), ((3, 0), 3)])
@pytest.mark.parametrize("groups", [1, 2])
def test_a_layer_has_k_plus_l_products(degrees, products: int, groups: int) -> None:
    layer = PaLaConv2d(4, 6, 3, 2, groups=groups, degrees=degrees)
    cost = complexity(layer, torch.zeros(2, 4, 8, 10))
    assert cost.macs == products * 4 * 6 * 9 * 4 * 5 * 2 // groups
    assert cost.flops == 2 * cost.macs


def test_a_linear_layer() -> None:
    assert complexity(PaLaLinear(5, 3, (2, 1)), torch.zeros(7, 5)).macs == 3 * 5 * 3 * 7


def test_a_deformable_layer_samples_each_tap_once_for_both_polynomials() -> None:
    layer = PaLaDeformConv2d(4, 6, 3, shift=ElementShift(whole=True))
    cost = complexity(layer, torch.zeros(1, 4, 8, 10))
    products, samples, offsets = 2 * 4 * 6 * 9 * 80, 4 * 9 * 80, 4 * 2 * 80
    assert cost.macs == products + 4 * samples + offsets
    assert cost.flops == 2 * (products + offsets)


def test_memory_is_that_of_what_is_made() -> None:
    layer, x = nn.Sequential(nn.ReLU(), nn.ReplicationPad2d(4)), torch.zeros(1, 8, 64, 64)
    assert complexity(layer, x).peak_memory == 8 * 4 * (64**2 + 72**2)


def test_the_module_is_left_as_it_was() -> None:
    layer = nn.Sequential(nn.Conv2d(2, 2, 1), nn.Dropout())
    complexity(layer, torch.zeros(1, 2, 4, 4))
    assert layer.training
    layer[1].eval()
    complexity(layer, torch.zeros(1, 2, 4, 4))
    assert [part.training for part in layer.modules()] == [True, True, False]
    assert all(p.grad is None and p.requires_grad for p in layer.parameters())


def test_a_codec_by_its_networks() -> None:
    model = codecs.build("mbt-paon", {"N": 6, "M": 8, "shift": "none"})
    found = networks_of_codec(model, 64)
    assert set(found) == {"g_a", "g_s", "h_a", "h_s", "context_prediction", "entropy_parameters"}
    sizes = [(3, 6, 2), (6, 6, 4), (6, 6, 8), (6, 8, 16)]  # 2 products, 25 taps, 1 / step² places
    assert found["g_a"] == pytest.approx(sum(2 * a * b * 25 / s**2 for a, b, s in sizes) / 1e3)
    # The context is counted as the 3×5 convolution it is trained as: 15 taps, 8 → 16 channels.
    assert found["context_prediction"] == pytest.approx(8 * 16 * 15 / 256 / 1e3)
    assert networks_of_codec(model, 128)["h_s"] == pytest.approx(found["h_s"])


def test_networks_of_all_groups_count_together() -> None:
    options = {"M": 8, "groups": [2, 2, 4], "channel_widths": [5], "channel_kernels": [3, 1]}
    model = codecs.build("elic-paon", {"N": 6, "shift": "none", **options})
    found = networks_of_codec(model, 64)
    assert set(found) == {
        *("g_a", "g_s", "h_a", "h_s"),
        *("channel_context", "context_prediction", "entropy_parameters"),
    }
    # 2 products; 9 taps into 5 channels, of them 1 tap into twice the group.
    context = sum(2 * (9 * before * 5 + 5 * 2 * group) for before, group in ((2, 2), (4, 4)))
    assert found["channel_context"] == pytest.approx(context / 256 / 1e3)
    # Counted as the 5×5 convolutions they are trained as.
    spatial = sum(2 * 25 * group * 2 * group for group in (2, 2, 4))
    assert found["context_prediction"] == pytest.approx(spatial / 256 / 1e3)


def test_rounding_around_means_predicts_each_latent_once_too() -> None:
    sizes = {"N": 6, "M": 12, "groups": (4, 8), "channel_widths": (8,), "channel_kernels": (3, 3)}
    counts = []
    for rounding in ("integers", "means"):
        model = codecs.build("elic-paon", {**sizes, "rounding": rounding})
        counts.append(networks_of_codec(model, 64))
        assert model.rounding == rounding
    assert counts[0] == counts[1]


@pytest.mark.parametrize("side", [0, 100])
def test_sides_that_do_not_fit_are_refused(side: int) -> None:
    with pytest.raises(UsageError, match=f"side {side}: must be a multiple of 64"):
        networks_of_codec(nn.Identity(), side)


def test_without_fvcore_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *args: object, **options: object) -> object:
        if name.startswith("fvcore"):
            raise ImportError(name)
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(UsageError, match=r"pip install 'paoncodec\[eval\]'"):
        macs_by_module(nn.Conv2d(1, 1, 1), torch.zeros(1, 1, 1, 1))
