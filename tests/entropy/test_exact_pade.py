"""Padé layers in exact arithmetic, against Python's integers and against the float layers."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

from paoncodec.entropy.exact import (
    ACTIVATION_BITS,
    ACTIVATION_LIMIT,
    WEIGHT_BITS,
    exact_layer,
    exact_pade_product,
    exact_sequence,
)
from paoncodec.errors import WeightsError
from paoncodec.layers import (
    CAUSAL_TAPS,
    CHECKERBOARD_TAPS,
    DENOMINATOR_FLOOR,
    CausalPaLaConv2d,
    CheckerboardPaLaConv2d,
    PaLaConv2d,
    PaLaConvTranspose2d,
    PaLaLinear,
    PredictedShift,
    StaticShift,
)

UNITS = 2**ACTIVATION_BITS
MOST = int(ACTIVATION_LIMIT) * UNITS
DEGREES = list(itertools.product(range(4), repeat=2))[1:]
KINDS = ["smooth", "absolute"]


def activations(*shape: int, size: float = 3.0, seed: int = 0) -> np.ndarray:
    """Random multiples of the grid within ±size."""
    rng = np.random.default_rng(seed)
    most = round(size * UNITS)
    return rng.integers(-most, most + 1, shape) / UNITS


def randomised(layer: nn.Module, scale: float = 0.3) -> nn.Module:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(0, scale, generator=generator)
    return layer


def settled(units: Fraction | int) -> int:
    """Units of the grid, rounded half to even and saturated."""
    return max(-MOST, min(MOST, round(units)))


def dyadic(value: float, bits: int) -> int:
    return round(Fraction(float(value)) * 2**bits)


def reference(layer: PaLaLinear, x: np.ndarray) -> np.ndarray:
    """(P, inputs) → (P, outputs) from Python's integers alone, in units of the grid."""
    spec = layer.spec
    a = layer.terms("numerator").tolist() if spec.num else []
    b = layer.terms("denominator").tolist() if spec.den else []
    found = np.zeros((len(x), layer.out_channels), dtype=object)
    for row, out in np.ndindex(found.shape):
        first = [dyadic(v, ACTIVATION_BITS) for v in x[row]]
        powers = [first]
        while len(powers) < spec.longest:
            powers.append(
                [settled(Fraction(p * v, UNITS)) for p, v in zip(powers[-1], first, strict=True)]
            )

        def term(weights: list, k: int, powers: list = powers, out: int = out) -> int:
            products = (
                dyadic(w, WEIGHT_BITS) * v for w, v in zip(weights[k][out], powers[k], strict=True)
            )
            return settled(Fraction(sum(products), 2**WEIGHT_BITS))

        num = [term(a, k) for k in range(spec.num)]
        den = [term(b, k) for k in range(spec.den)]
        found[row, out] = quotient(
            num, den, settled(dyadic(layer.bias[out].item(), ACTIVATION_BITS)), spec.kind
        )
    return found


def quotient(num: list[int], den: list[int], a0: int, kind: str) -> int:
    p, q = [0, a0], [0, UNITS]
    for term in num:
        p.append(settled(p[-1] + term))
    for term in den:
        q.append(settled(q[-1] + (abs(term) if kind == "absolute" else term)))
    if kind == "absolute" or not den:
        value = Fraction(p[-1], q[-1])
    else:
        squares = max(q[-1] ** 2 + q[-2] ** 2, Fraction(DENOMINATOR_FLOOR) * UNITS**2)
        value = Fraction(q[-1] * p[-1] + q[-2] * p[-2]) / squares
    # A division of IEEE 754 first rounds to 53 bits, and so does float().
    return settled(Fraction(float(value)) * UNITS)


@pytest.mark.parametrize("size", [2.0, 300.0])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("degrees", DEGREES)
def test_products_equal_integers(degrees: tuple[int, int], kind: str, size: float) -> None:
    """Also where powers saturate: 300² is beyond the activations' range."""
    layer = randomised(PaLaLinear(5, 3, degrees, kind))
    x = activations(6, 5, size=size)
    found = exact_pade_product(layer, "layer")(x)
    assert (found * UNITS).astype(object).tolist() == reference(layer, x).tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_zeros_of_both_denominators_meet_the_floor(kind: str) -> None:
    """x = 1 with b_1 = -1, b_2 = 0: Q_1 = Q_2 = 0."""
    layer = PaLaLinear(1, 1, (2, 2), kind)
    layer.load_state_dict(
        {
            "numerator": torch.tensor([[2.0], [1.0]]),
            "denominator": torch.tensor([[-1.0], [0.0]]),
            "bias": torch.tensor([1.0]),
        }
    )
    y = exact_pade_product(layer, "layer")(np.array([[1.0], [1 - 2.0**-10]]))
    assert y[0] == (0 if kind == "smooth" else 2)
    near = layer(torch.tensor([[1 - 2.0**-10]])).item()
    assert y[1, 0] == pytest.approx(near, rel=1e-3)


CONTEXTS = {CausalPaLaConv2d: CAUSAL_TAPS, CheckerboardPaLaConv2d: CHECKERBOARD_TAPS}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("degrees", [(1, 1), (2, 1), (2, 2), (0, 1)])
@pytest.mark.parametrize("form", CONTEXTS, ids=lambda form: form.__name__)
def test_a_masked_layer_is_the_product_of_what_its_positions_see(form, degrees, kind) -> None:
    """The encoder's one convolution and the decoder's products give the same bits."""
    layer = randomised(form(3, 4, degrees, kind))
    x = activations(1, 3, 6, 5)
    wide = np.pad(x[0], ((0, 0), (2, 2), (2, 2)))
    seen = np.stack([wide[:, 2 + dh : 8 + dh, 2 + dw : 7 + dw] for dh, dw in CONTEXTS[form]])
    by_position = np.ascontiguousarray(seen.reshape(-1, 30).T)  # (positions, (tap, channel))
    products = exact_pade_product(layer, "context")(by_position)
    convolved = exact_layer(layer, "context")(x)
    assert np.array_equal(convolved[0].reshape(4, -1).T, products)


FORMS = [
    lambda **how: PaLaConv2d(3, 4, 3, **how),
    lambda **how: PaLaConv2d(3, 4, 5, 2, padding_mode="zeros", **how),
    lambda **how: PaLaConvTranspose2d(3, 4, 5, 2, **how),
    lambda **how: PaLaConvTranspose2d(3, 4, 3, 2, padding_mode="zeros", **how),
    lambda **how: CausalPaLaConv2d(3, 4, **how),
    lambda **how: CheckerboardPaLaConv2d(3, 4, **how),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("degrees", [(1, 1), (2, 1), (1, 2), (3, 0), (0, 1)])
@pytest.mark.parametrize("build", FORMS)
def test_the_exact_layer_is_close_to_the_float_layer(build, degrees, kind) -> None:
    layer = randomised(build(degrees=degrees, kind=kind), 0.05).double()
    x = activations(1, 3, 6, 5, size=2.0)
    expected = layer(torch.from_numpy(x)).detach().numpy()
    found = exact_layer(layer, "layer")(x)
    assert np.array_equal(found * UNITS, np.rint(found * UNITS))
    # A few roundings of half a unit of 2^-14 in each sum, and weights rounded to 2^-16.
    np.testing.assert_allclose(found, expected, atol=2e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_the_channels_does_not_matter(kind: str) -> None:
    layer = randomised(PaLaLinear(64, 8, (2, 1), kind), 3.0)
    x = activations(20, 64, size=200.0)
    plain = exact_pade_product(layer, "layer")(x)
    order = np.random.default_rng(0).permutation(64)
    with torch.no_grad():
        for weight in (layer.numerator, layer.denominator):
            weight.copy_(weight[:, order])
    assert np.array_equal(exact_pade_product(layer, "layer")(x[:, order].copy()), plain)


def test_layers_stand_in_a_chain() -> None:
    chain = nn.Sequential(
        randomised(PaLaConv2d(3, 4, 3)), nn.LeakyReLU(), randomised(nn.Conv2d(4, 2, 1))
    )
    x = activations(1, 3, 5, 5)
    expected = x
    for i, layer in enumerate(chain):
        expected = exact_layer(layer, str(i))(expected)
    assert np.array_equal(exact_sequence(chain, "chain")(x), expected)


@pytest.mark.parametrize("where", ["numerator", "denominator"])
def test_weights_that_could_leave_the_exact_range_are_refused(where: str) -> None:
    layer = CausalPaLaConv2d(3, 4)
    nn.init.constant_(getattr(layer, where), 2049 / 36)
    with pytest.raises(WeightsError, match=r"^context, degree 1: weights too large .* 2\^53"):
        exact_layer(layer, "context")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 4097.0])
def test_constants_out_of_range_are_refused(bad: float) -> None:
    layer = PaLaLinear(3, 4)
    layer.bias.data[1] = bad
    with pytest.raises(WeightsError, match=r"^context: a0 is beyond ±4096 or not finite"):
        exact_pade_product(layer, "context")


@pytest.mark.parametrize(
    "layer",
    [
        PaLaConv2d(2, 2, 3, kind="vanilla"),
        PaLaConv2d(2, 2, 3, groups=2),
        PaLaConv2d(2, 2, 3, padding_mode="reflect"),
        PaLaConv2d(2, 2, 3, shift=StaticShift()),
        PaLaConvTranspose2d(2, 2, 3, shift=PredictedShift()),
        CausalPaLaConv2d(2, 2, kind="vanilla"),
    ],
    ids=repr,
)
def test_what_has_no_exact_form_is_refused(layer: nn.Module) -> None:
    with pytest.raises(TypeError, match=r"(?s)^h_s\.0: .* has no exact form"):
        exact_layer(layer, "h_s.0")
