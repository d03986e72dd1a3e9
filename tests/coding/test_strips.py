"""Transforms piece by piece: the same as of the whole, whatever the cut."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from paoncodec import codecs
from paoncodec.coding import strips
from paoncodec.coding.exact_codec import ExactCodec
from paoncodec.coding.strips import Area, Plan

MBT = {
    "N": 4,
    "M": 6,
    "hyper_width": 4,
    "hyper_synthesis": (4, 4),
    "hyper_out": 8,
    "context_width": 8,
    "parameter_widths": (8, 8),
}
ELIC = {"N": 4, "M": 14, "groups": (2, 4, 8), "hyper_width": 4, "hyper_out": 8}

# Which may be cut: architecture, options, latents that g_a and g_s have to see. Counted by hand, in
# pixels: four 5×5 layers at strides 1, 2, 4, 8 reach 2 + 4 + 8 + 16 = 30, shifts within a pixel
# 1 + 2 + 4 + 8 more in g_a, and twice that in g_s, whose layers see maps of half the size. ELIC
# adds a 3×3 layer a block at strides 2, 4, 8, and attentions of three at strides 4 and 16:
# 60 + 14 · blocks.
CUT: dict[str, tuple[str, dict[str, Any], int, int]] = {
    "mbt-paon": ("mbt-paon", {**MBT, "shift": "none"}, 2, 2),
    "of all rates": ("mbt-paon", {**MBT, "shift": "none", "variable_rate": True}, 2, 2),
    "gdn, zeros": ("mbt-paon", {**MBT, "shift": "none", "gdn": True, "padding": "zeros"}, 2, 2),
    "static shifts": ("mbt-paon", {**MBT, "shift": "static"}, 3, 4),
    "mbt-2018": ("mbt-2018", MBT, 2, 2),
    "elic-2022": ("elic-2022", ELIC, 9, 9),
    "elic-paon": ("elic-paon", {**ELIC, "shift": "none", "attention": True}, 7, 7),
}


def build(name: str) -> ExactCodec:
    arch, options, *_ = CUT[name]
    torch.manual_seed(0)
    codec = codecs.build(arch, options)
    for key, parameter in codec.named_parameters():
        if key.endswith("shifter.shift"):
            torch.nn.init.uniform_(parameter, -1, 1)
    return codec.eval()


@pytest.fixture(params=CUT)
def codec(request: pytest.FixtureRequest) -> ExactCodec:
    return build(request.param)


def cut(codec: ExactCodec, rows: int, columns: int, transform: strips.Transform, **of: int) -> Plan:
    """The smallest pieces of all, or of an area."""
    halo = strips.reach(codec, transform)
    assert halo is not None
    whole = Area(0, rows, 0, columns)
    kept = Area(**of) if of else whole
    return Plan(whole, kept, 7, 9, halo)


def analysed(codec: ExactCodec, plan: Plan, x: Tensor) -> Tensor:
    return strips.analyse(codec, plan, lambda area: area.scaled(16).of(x))


@torch.inference_mode()
def test_pieces_of_g_a_are_the_whole(codec: ExactCodec) -> None:
    x = torch.rand(1, 3, 16 * 20, 16 * 22)
    plan = cut(codec, 20, 22, "analysis")
    whole = codec.analysis(x)
    torch.testing.assert_close(analysed(codec, plan, x), whole, rtol=1e-5, atol=1e-5)


@torch.inference_mode()
def test_pieces_of_g_s_are_the_whole(codec: ExactCodec) -> None:
    y_hat = 3 * torch.randn(1, int(codec.M), 20, 22)
    plan = cut(codec, 20, 22, "synthesis", top=1, bottom=18, left=3, right=21)
    unbounded = codec.synthesis(y_hat)
    whole = unbounded.clamp(0, 1)
    # Rounding is in proportion to values before the clamp, some of which are in the thousands.
    rounding = 1e-6 * max(1.0, float(unbounded.abs().max()))
    seen = torch.zeros(20 * 16, 22 * 16)
    for piece, x_hat in strips.synthesise(codec, plan, y_hat):
        area = piece.scaled(16)
        torch.testing.assert_close(x_hat, area.of(whole), rtol=1e-5, atol=rounding)
        area.of(seen).add_(1)
    assert torch.equal(plan.kept.scaled(16).of(seen), torch.ones(17 * 16, 18 * 16))
    assert seen.sum() == 17 * 16 * 18 * 16


@torch.inference_mode()
@pytest.mark.parametrize("name", ["mbt-paon", "mbt-2018"])
def test_less_than_the_reach_is_too_little(name: str) -> None:
    codec = build(name)
    plan = cut(codec, 12, 16, "analysis")
    less = Plan(plan.whole, plan.kept, plan.height, plan.width, plan.halo - 1)
    x = torch.rand(1, 3, 16 * 12, 16 * 16)
    assert not torch.allclose(analysed(codec, less, x), codec.analysis(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", CUT)
def test_reach(name: str) -> None:
    codec = build(name)
    *_, analysis, synthesis = CUT[name]
    assert strips.reach(codec, "analysis") == analysis
    assert strips.reach(codec, "synthesis") == synthesis


@pytest.mark.parametrize("arch", ["mbt-paon", "elic-paon"])
def test_predicted_shifts_see_everything(arch: str) -> None:
    options = {**(MBT if arch == "mbt-paon" else ELIC), "shift": "predicted"}
    assert strips.reach(codecs.build(arch, options), "synthesis") is None


def test_wider_networks_take_more_memory(codec: ExactCodec) -> None:
    before = dict(codec.state_dict())
    narrow = strips.bytes_per_latent(codec, "synthesis")
    # At least what comes out, and what it was made of.
    assert narrow >= 2 * 4 * 3 * 256
    assert not any(layer._forward_hooks for layer in codec.modules())
    assert all(torch.equal(before[key], value) for key, value in codec.state_dict().items())


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 7), st.floats(1, 4000), st.randoms())
def test_a_plan_keeps_every_latent_once_and_sees_no_more_than_it_may(
    rows: int, columns: int, halo: int, most: float, random: Any
) -> None:
    top, left = random.randrange(rows), random.randrange(columns)
    kept = Area(top, random.randint(top + 1, rows), left, random.randint(left + 1, columns))
    plan = strips.plan(Area(0, rows, 0, columns), kept, halo, most)
    count = torch.zeros(rows, columns)
    for piece in plan.pieces():
        piece.of(count).add_(1)
        seen = plan.seen(piece)
        assert piece.common(seen) == piece
        assert seen.common(plan.whole) == seen
    assert kept.of(count).eq(1).all()
    assert count.sum() == kept.positions
    smallest = (3 * max(1, halo)) ** 2
    assert plan.largest() <= max(most, smallest)


def test_large_pieces_waste_little() -> None:
    whole = Area(0, 250, 0, 376)
    plan = strips.plan(whole, whole, 2, 8000)
    work = sum(plan.seen(piece).positions for piece in plan.pieces())
    assert work < 1.15 * whole.positions
