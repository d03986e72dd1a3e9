"""Masked Padé layers: what a position sees, by perturbation, and what they are special cases of."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from compressai.layers import CheckerboardMaskedConv2d
from torch import Tensor, nn

from paoncodec.layers import (
    CAUSAL_TAPS,
    CHECKERBOARD_TAPS,
    CausalConv2d,
    CausalPaLaConv2d,
    CheckerboardPaLaConv2d,
    MaskedPaLaConv2d,
    PredictedShift,
    StaticShift,
)

FORMS = {CausalPaLaConv2d: CAUSAL_TAPS, CheckerboardPaLaConv2d: CHECKERBOARD_TAPS}
DEGREES = [(1, 0), (1, 1), (2, 1), (2, 2), (0, 1)]


@pytest.fixture(autouse=True)
def _seed() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def randomised(layer: nn.Module) -> nn.Module:
    for parameter in layer.parameters():
        nn.init.normal_(parameter, 0, 0.3)
    return layer


def reached(layer: nn.Module, x: Tensor, place: tuple[int, int]) -> set[tuple[int, int]]:
    """The offsets (dh, dw) from outputs that change to the input that was perturbed."""
    other = x.clone()
    other[:, :, place[0], place[1]] += torch.randn(x.shape[:2]).sign() * 3
    changed = (layer(other) != layer(x)).any(1).any(0)
    return {(place[0] - i, place[1] - j) for i, j in changed.nonzero().tolist()}


@pytest.mark.parametrize("kind", ["smooth", "absolute", "vanilla"])
@pytest.mark.parametrize("degrees", DEGREES)
@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_no_output_sees_what_the_mask_hides(form, degrees, kind) -> None:
    layer = randomised(form(3, 4, degrees, kind))
    height, width = 6, 7
    x = torch.randn(2, 3, height, width)
    for i, j in [(0, 0), (0, 6), (2, 3), (3, 3), (5, 0), (5, 6), (0, 3), (3, 0)]:
        inside = {
            (dh, dw) for dh, dw in FORMS[form] if 0 <= i - dh < height and 0 <= j - dw < width
        }
        assert reached(layer, x, (i, j)) == inside


def test_the_taps() -> None:
    assert len(CHECKERBOARD_TAPS) == len(CAUSAL_TAPS) == 12
    assert all((dh + dw) % 2 for dh, dw in CHECKERBOARD_TAPS)


def test_a_1_0_causal_layer_is_the_causal_convolution() -> None:
    ours, plain = randomised(CausalPaLaConv2d(3, 4, (1, 0))), CausalConv2d(3, 4)
    plain.load_state_dict({"weight": ours.numerator, "bias": ours.bias})
    x = torch.randn(2, 3, 6, 7)
    torch.testing.assert_close(ours(x), plain(x))
    assert torch.equal(ours.by_tap("numerator")[0], plain.by_tap())


def test_a_1_0_checkerboard_layer_is_compressais() -> None:
    ours = randomised(CheckerboardPaLaConv2d(3, 4, (1, 0)))
    theirs = CheckerboardMaskedConv2d(3, 4, 5, padding=2)
    theirs.load_state_dict(
        {"weight": ours.kernel("numerator")[0], "bias": ours.bias, "mask": theirs.mask}
    )
    x = torch.randn(2, 3, 6, 7)
    torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_smooth_1_1_is_its_formula(form) -> None:
    layer = randomised(form(3, 4))
    x = torch.randn(2, 3, 6, 7)
    a, b = (
        nn.functional.conv2d(x, layer.kernel(name)[0], padding=2)
        for name in ("numerator", "denominator")
    )
    a0 = layer.bias[:, None, None]
    q = 1 + b
    torch.testing.assert_close(layer(x), (q * (a0 + a) + a0) / (q**2 + 1))


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_gradients_and_the_state_dict(form) -> None:
    layer = randomised(form(2, 2, (2, 1))).double()
    assert {k: tuple(v.shape) for k, v in layer.state_dict().items()} == {
        "numerator": (4, 2, 12),
        "denominator": (2, 2, 12),
        "bias": (2,),
    }
    x = torch.randn(1, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, *_: layer(x), (x, *layer.parameters()))


@pytest.mark.parametrize("shift", [StaticShift(), PredictedShift()])
@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_a_shift_is_refused(form, shift) -> None:
    with pytest.raises(ValueError, match=r"Shift.*: a masked layer takes none, for a shift would"):
        form(3, 4, shift=shift)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_other_refusals(form) -> None:
    with pytest.raises(ValueError, match="in_channels 0: must be >= 1"):
        form(0, 4)
    with pytest.raises(ValueError, match=r"\(1, 2, 5, 5\): expected \(batch, 3"):
        form(3, 4)(torch.zeros(1, 2, 5, 5))


@pytest.mark.parametrize(
    ("taps", "said"),
    [
        ([(0, 3)], r"tap \(0, 3\): a 5x5 kernel reaches 2 pixels"),
        ([(0, -1), (-3, 0)], r"tap \(-3, 0\): a 5x5 kernel"),
        ([(0, -1), (0, -1)], "stands there twice"),
        ([], "taps 0: must be >= 1"),
    ],
)
def test_taps_that_a_kernel_does_not_have_are_refused(
    taps: list[tuple[int, int]], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        MaskedPaLaConv2d(1, 1, taps)
