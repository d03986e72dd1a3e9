"""Facts about the layers: special cases, learning, independence of images, forms they travel in."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from paoncodec.layers import (
    Kind,
    NoShift,
    PaLaConv2d,
    PaLaConvTranspose2d,
    PaLaLinear,
    PredictedShift,
    ShiftSpec,
    StaticShift,
    shift2d,
)
from paoncodec.layers import base as base_module

KINDS: tuple[Kind, ...] = ("smooth", "absolute", "vanilla")
DEGREES = list(itertools.product(range(4), repeat=2))[1:]
SHIFTS: list[ShiftSpec] = [NoShift(), StaticShift(2.0), PredictedShift()]
FORMS = [PaLaConv2d, PaLaConvTranspose2d]


def named(value: object) -> str:
    return value.__name__ if isinstance(value, type) else repr(value)


@pytest.fixture(autouse=True)
def _seed() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def randomised(layer: nn.Module, scale: float = 0.3) -> nn.Module:
    for parameter in layer.parameters():
        nn.init.normal_(parameter, 0, scale)
    return layer


# ---- special cases (III-E) ----


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("stride", "groups"), [(1, 1), (2, 2)])
def test_1_0_is_a_convolution(kind: Kind, stride: int, groups: int) -> None:
    ours = PaLaConv2d(4, 6, 5, stride, groups=groups, degrees=(1, 0), kind=kind)
    torchs = nn.Conv2d(4, 6, 5, stride, padding=2, groups=groups, padding_mode="replicate")
    torchs.load_state_dict({"weight": ours.numerator, "bias": ours.bias})
    x = torch.randn(2, 4, 7, 8)
    torch.testing.assert_close(ours(x), torchs(x))


@pytest.mark.parametrize("mode", ["replicate", "zeros", "reflect", "circular"])
def test_borders_are_those_of_torch(mode: str) -> None:
    ours = PaLaConv2d(4, 6, 5, degrees=(1, 0), padding_mode=mode)
    torchs = nn.Conv2d(4, 6, 5, padding=2, padding_mode=mode)
    torchs.load_state_dict({"weight": ours.numerator, "bias": ours.bias})
    x = torch.randn(2, 4, 7, 8)
    torch.testing.assert_close(ours(x), torchs(x))


@pytest.mark.parametrize("groups", [1, 2])
def test_a_transposed_layer_with_zeros_around_is_that_of_torch(groups: int) -> None:
    options = {"stride": 2, "padding": 2, "output_padding": 1, "groups": groups}
    ours = PaLaConvTranspose2d(4, 6, 5, degrees=(1, 0), padding_mode="zeros", **options)
    torchs = nn.ConvTranspose2d(4, 6, 5, **options)
    torchs.load_state_dict({"weight": ours.numerator, "bias": ours.bias})
    x = torch.randn(2, 4, 7, 8)
    torch.testing.assert_close(ours(x), torchs(x))


def test_1_0_is_a_linear_layer() -> None:
    ours, torchs = PaLaLinear(5, 3, (1, 0)), nn.Linear(5, 3)
    torchs.load_state_dict({"weight": ours.numerator, "bias": ours.bias})
    for x in (torch.randn(5), torch.randn(2, 5), torch.randn(2, 4, 5)):
        torch.testing.assert_close(ours(x), torchs(x))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("degree", [2, 3], ids=["quadratic", "generative"])
def test_k_0_is_a_polynomial_neuron(degree: int, kind: Kind) -> None:
    layer = randomised(PaLaConv2d(3, 4, 3, degrees=(degree, 0), kind=kind))
    x = torch.randn(2, 3, 6, 5)
    wide = F.pad(x, (1,) * 4, mode="replicate")
    weights = layer.numerator.chunk(degree)
    expected = layer.bias[:, None, None] + sum(
        F.conv2d(wide**k, weight) for k, weight in enumerate(weights, 1)
    )
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize("degree", [2, 3])
def test_k_0_with_a_learned_shift_is_a_super_neuron(degree: int) -> None:
    layer = randomised(PaLaConv2d(3, 4, 3, degrees=(degree, 0), shift=StaticShift(2.0)))
    generative = PaLaConv2d(3, 4, 3, degrees=(degree, 0))
    generative.load_state_dict({k: v for k, v in layer.state_dict().items() if "." not in k})
    x = torch.randn(2, 3, 6, 5)
    assert layer.shifter.shift.abs().max() < 2
    torch.testing.assert_close(layer(x), generative(shift2d(x, layer.shifter.shift[None])))


@pytest.mark.parametrize("form", FORMS, ids=named)
def test_smooth_1_1_without_denominator_is_linear(form: type[nn.Module]) -> None:
    layer, linear = form(3, 4, 3, stride=2), form(3, 4, 3, stride=2, degrees=(1, 0))
    nn.init.zeros_(layer.denominator)
    linear.load_state_dict({"numerator": layer.numerator / 2, "bias": layer.bias})
    x = torch.randn(2, 3, 6, 5)
    torch.testing.assert_close(layer(x), linear(x))


@pytest.mark.parametrize("kind", ["absolute", "vanilla"])
def test_other_kinds_without_denominator_are_polynomials(kind: Kind) -> None:
    layer, plain = (
        PaLaConv2d(3, 4, 3, degrees=(2, 2), kind=kind),
        PaLaConv2d(3, 4, 3, degrees=(2, 0)),
    )
    nn.init.zeros_(layer.denominator)
    plain.load_state_dict({"numerator": layer.numerator, "bias": layer.bias})
    x = torch.randn(2, 3, 6, 5)
    torch.testing.assert_close(layer(x), plain(x))


@pytest.mark.parametrize("degrees", [(1, 0), (1, 1), (2, 1), (1, 2)])
@pytest.mark.parametrize("kind", KINDS)
def test_starts_near_a_linear_layer_of_unit_gain(kind: Kind, degrees: tuple[int, int]) -> None:
    y = PaLaLinear(256, 256, degrees, kind)(torch.randn(64, 256))
    assert 0.9 < y.std().item() < 1.1


# ---- learning ----


def smooth_maps(channels: int) -> Tensor:
    """(4, channels, 8, 9), in which a shift either way is not merely a blur."""
    return F.interpolate(torch.randn(4, channels, 3, 3), size=(8, 9), mode="bicubic")


def alive_within_three_steps(layer: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """By parameter: which of its elements had a gradient in one of three steps of descent."""
    alive = {name: torch.zeros_like(p, dtype=torch.bool) for name, p in layer.named_parameters()}
    target = torch.randn_like(layer(x))
    for _ in range(3):
        layer.zero_grad()
        (layer(x) - target).square().mean().backward()
        with torch.no_grad():
            for name, parameter in layer.named_parameters():
                alive[name] |= parameter.grad != 0
                parameter -= 0.01 * parameter.grad.sign()
        if all(elements.all() for elements in alive.values()):
            break
    return alive


def assert_all_learn(layer: nn.Module, x: Tensor) -> None:
    for name, alive in alive_within_three_steps(layer, x).items():
        # The slope of a PReLU has a gradient for channels that it sees below zero.
        enough = alive.any() if name.endswith("activation.weight") else alive.all()
        assert enough, f"{name}: {alive.sum()} of {alive.numel()}"


@pytest.mark.parametrize("shift", SHIFTS, ids=named)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("degrees", DEGREES)
def test_every_parameter_learns(degrees, kind: Kind, shift: ShiftSpec) -> None:
    assert_all_learn(PaLaConv2d(8, 4, 3, degrees=degrees, kind=kind, shift=shift), smooth_maps(8))


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_of_the_other_forms_learns(kind: Kind) -> None:
    assert_all_learn(PaLaLinear(5, 4, (2, 3), kind), torch.randn(16, 5))
    up = PaLaConvTranspose2d(8, 4, 5, 2, groups=2, kind=kind, shift=PredictedShift())
    assert_all_learn(up, smooth_maps(8))


@pytest.mark.parametrize("shift", SHIFTS[1:], ids=named)
def test_gradients_of_a_whole_layer(shift: ShiftSpec) -> None:
    layer = randomised(PaLaConv2d(2, 2, 3, 2, groups=2, degrees=(2, 1), shift=shift)).double()
    x = torch.randn(2, 2, 4, 3, dtype=torch.float64, requires_grad=True)
    # The parameters are varied in place, so the layer sees it.
    assert torch.autograd.gradcheck(lambda x, *_: layer(x), (x, *layer.parameters()))


# ---- independence, cost ----


@pytest.mark.parametrize("shift", SHIFTS, ids=named)
@pytest.mark.parametrize("form", FORMS, ids=named)
@pytest.mark.parametrize("kind", KINDS)
def test_an_image_does_not_depend_on_its_batch(kind: Kind, form, shift: ShiftSpec) -> None:
    layer = form(4, 4, 3, stride=2, kind=kind, degrees=(2, 1), shift=shift)
    # Near a pole no two orders of summation agree.
    randomised(layer, 0.002 if kind == "vanilla" else 0.02)
    batch = torch.randn(3, 4, 6, 6) * torch.tensor([0.1, 1.0, 3.0])[:, None, None, None]
    with torch.no_grad():
        together = layer(batch)
        alone = torch.cat([layer(image[None]) for image in batch])
    torch.testing.assert_close(together, alone, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("shift", SHIFTS, ids=named)
@pytest.mark.parametrize("form", FORMS, ids=named)
def test_large_batches_are_worked_on_in_parts(
    form, shift: ShiftSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = randomised(form(2, 4, 3, stride=2, degrees=(2, 1), shift=shift))
    x = torch.randn(5, 2, 8, 6, requires_grad=True)
    wanted = [x, *layer.parameters()]
    whole = layer(x)
    expected = torch.autograd.grad(whole.square().sum(), wanted)
    monkeypatch.setattr(base_module, "_PART_SIZE", 2)
    with Calls() as calls:
        parts = layer(x)
    assert len(calls.seen) == 5 * 2 + 5 * (shift == PredictedShift())  # two products an image
    torch.testing.assert_close(parts, whole)
    for ours, theirs in zip(
        torch.autograd.grad(parts.square().sum(), wanted), expected, strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


class Calls(TorchFunctionMode):
    """Records the name and the number of output channels of each product."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, int]] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **kwargs or {})
        name = getattr(func, "__name__", "")
        if name in ("linear", "bmm", "conv2d", "conv_transpose2d"):
            self.seen.append((name, result.shape[1] if name != "bmm" else -1))
        return result


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(
    ("degrees", "outputs"),
    [
        ((1, 0), [6]),
        ((0, 1), [6]),
        ((1, 1), [12]),
        ((3, 0), [18]),
        ((2, 2), [24]),
        ((2, 1), [12, 6]),
    ],
)
@pytest.mark.parametrize(
    ("form", "name"), [(PaLaConv2d, "conv2d"), (PaLaConvTranspose2d, "conv_transpose2d")]
)
def test_one_product_for_the_degrees_that_both_polynomials_have(
    form, name: str, degrees, outputs: list[int], groups: int
) -> None:
    layer = form(4, 6, 3, degrees=degrees, groups=groups)
    with Calls() as calls:
        layer(torch.randn(1, 4, 5, 5))
    assert calls.seen == [(name, n) for n in outputs]


def test_one_product_in_the_linear_layer() -> None:
    with Calls() as calls:
        PaLaLinear(4, 6)(torch.randn(3, 4))
    assert calls.seen == [("linear", 12)]


# ---- what follows may write over the output ----

PLACES: list[tuple[Callable[..., nn.Module], tuple[int, ...]]] = [
    (lambda **how: PaLaConv2d(4, 8, 3, groups=2, **how), (2, 4, 5, 5)),
    (lambda **how: PaLaConv2d(4, 8, 3, **how), (2, 4, 5, 5)),
    (lambda **how: PaLaConvTranspose2d(4, 8, 3, 2, **how), (2, 4, 5, 5)),
    (lambda **how: PaLaLinear(4, 8, **how), (2, 4)),
    (lambda **how: PaLaLinear(4, 8, **how), (2, 3, 4)),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("degrees", [(1, 1), (2, 0), (0, 1), (2, 2)])
@pytest.mark.parametrize(("build", "shape"), PLACES)
def test_the_output_can_be_changed_in_place(build, shape, degrees, kind: Kind) -> None:
    layer = randomised(build(degrees=degrees, kind=kind))
    x = torch.randn(shape, requires_grad=True)
    wanted = [x, *layer.parameters()]

    aside = F.relu(layer(x) - 0.1)
    y = layer(x)
    y -= 0.1
    y = nn.ReLU(inplace=True)(y)
    assert torch.equal(y, aside)
    loss, expected = y.square().mean(), aside.square().mean()
    for found, grad in zip(
        torch.autograd.grad(loss, wanted), torch.autograd.grad(expected, wanted), strict=True
    ):
        torch.testing.assert_close(found, grad)


# ---- watching the denominator ----


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("groups", [1, 2])
def test_a_hook_sees_the_denominator(kind: Kind, groups: int) -> None:
    layer = randomised(PaLaConv2d(4, 6, 3, groups=groups, degrees=(1, 2), kind=kind))
    x = torch.randn(2, 4, 5, 5)
    seen: list[Tensor] = []
    handle = layer.register_denominator_hook(seen.append)
    y = layer(x)
    handle.remove()
    assert torch.equal(layer(x), y)
    wide = F.pad(x, (1,) * 4, mode="replicate")
    terms = [
        F.conv2d(wide**k, weight, groups=groups)
        for k, weight in enumerate(layer.terms("denominator"), 1)
    ]
    terms = [t.abs() for t in terms] if kind == "absolute" else terms
    (q,) = seen
    torch.testing.assert_close(q, 1 + sum(terms))
    assert not q.requires_grad


def test_without_a_denominator_there_is_nothing_to_watch() -> None:
    with pytest.raises(ValueError, match="no denominator to watch"):
        PaLaConv2d(4, 6, 3, degrees=(2, 0)).register_denominator_hook(print)


# ---- forms a layer travels in ----

BUILDERS: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: PaLaLinear(4, 3, (2, 1)),
    "polynomial": lambda: PaLaConv2d(4, 6, 3, degrees=(2, 0)),
    "static": lambda: PaLaConv2d(4, 6, 3, 2, shift=StaticShift(1.5)),
    "predicted": lambda: PaLaConvTranspose2d(4, 6, 3, 2, groups=2, shift=PredictedShift()),
}
STATE = {
    "linear": {"numerator": (6, 4), "denominator": (3, 4), "bias": (3,)},
    "polynomial": {"numerator": (12, 4, 3, 3), "bias": (6,)},
    "static": {
        "numerator": (6, 4, 3, 3),
        "denominator": (6, 4, 3, 3),
        "bias": (6,),
        "shifter.shift": (4, 2),
        "shifter.bound": (),
    },
    "predicted": {
        "numerator": (4, 3, 3, 3),
        "denominator": (4, 3, 3, 3),
        "bias": (6,),
        "shifter.predict.weight": (8, 4, 1, 1),
        "shifter.predict.bias": (8,),
        "shifter.activation.weight": (8,),
    },
}


@pytest.mark.parametrize("name", BUILDERS)
def test_the_state_dict_is_a_contract_and_restores_the_layer(name: str) -> None:
    layer, other = randomised(BUILDERS[name]()), BUILDERS[name]()
    state = layer.state_dict()
    assert {key: tuple(value.shape) for key, value in state.items()} == STATE[name]
    other.load_state_dict(state)
    x = torch.randn(2, 4) if name == "linear" else torch.randn(2, 4, 6, 6)
    assert torch.equal(other(x), layer(x))
    assert torch.equal(copy.deepcopy(layer)(x), layer(x))


@pytest.mark.parametrize("shift", SHIFTS, ids=named)
@pytest.mark.parametrize("degrees", [(1, 1), (2, 2), (0, 1)])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("form", FORMS, ids=named)
def test_channels_last(form, groups: int, degrees, shift: ShiftSpec) -> None:
    layer = form(4, 6, 3, stride=2, groups=groups, degrees=degrees, shift=shift)
    randomised(layer, 0.1)
    other = copy.deepcopy(layer).to(memory_format=torch.channels_last)
    x = torch.rand(2, 4, 6, 5)
    expected, y = layer(x), other(x.to(memory_format=torch.channels_last))
    torch.testing.assert_close(y, expected)
    # The shifter's rows and columns come out contiguous.
    assert shift != NoShift() or y.is_contiguous(memory_format=torch.channels_last)
    expected.square().mean().backward()
    y.square().mean().backward()
    for ours, theirs in zip(other.parameters(), layer.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("form", FORMS, ids=named)
@pytest.mark.parametrize(("size", "stride"), [(1, 2), (6, 1), (7, 2), (8, 4)])
def test_sizes(form, size: int, stride: int) -> None:
    y = form(3, 2, 5, stride=stride)(torch.randn(1, 3, size, 6))
    assert y.shape[2] == (-(-size // stride) if form is PaLaConv2d else size * stride)


def test_repr_tells_what_a_layer_is() -> None:
    shown = repr(PaLaConv2d(4, 6, 5, 2, groups=2, shift=StaticShift(1.5)))
    assert "4, 6, degrees=(1, 1), kind='smooth', groups=2, kernel_size=5, stride=2" in shown
    assert "bound=1.5" in shown
    assert "padding_mode='zeros'" in repr(PaLaConv2d(4, 6, 5, padding_mode="zeros"))


# ---- what is refused ----


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: PaLaConv2d(4, 6, 3, groups=4), "groups 4: must divide in_channels 4 and .* 6"),
        (lambda: PaLaConv2d(4, 6, 3, groups=0), "groups 0: must be >= 1"),
        (lambda: PaLaConv2d(0, 6, 3), "in_channels 0: must be >= 1"),
        (lambda: PaLaConv2d(4, -6, 3), "out_channels -6: must be >= 1"),
        (lambda: PaLaConv2d(4, 6, 0), "kernel_size 0: must be >= 1"),
        (lambda: PaLaConv2d(4, 6, 3, stride=0), "stride 0: must be >= 1"),
        (lambda: PaLaConv2d(4, 6, 3, padding=-1), "padding -1: must be >= 0"),
        (lambda: PaLaConv2d(4, 6, 3, padding_mode="same"), "'same': choose one of replicate, z"),
        (lambda: PaLaConvTranspose2d(4, 6, 3, padding_mode="reflect"), "one of replicate, zeros$"),
        (lambda: PaLaConv2d(4, 6, 3, degrees=(0, 0)), r"\(0, 0\): .* sum >= 1"),
        (lambda: PaLaConvTranspose2d(4, 6, 3, kind="x"), "'x': choose one of smooth"),
        (lambda: PaLaConvTranspose2d(4, 6, 3, groups=3), "groups 3: must divide"),
        (lambda: PaLaConvTranspose2d(4, 6, 3, 2, output_padding=2), "2: must be < stride 2"),
        (lambda: PaLaConvTranspose2d(4, 6, 3, 2, output_padding=-1), "-1: must be >= 0"),
        (lambda: PaLaLinear(0, 3), "in_features 0: must be >= 1"),
        (lambda: PaLaLinear(3, 0), "out_features 0: must be >= 1"),
        (lambda: PaLaLinear(3, 3, (1, 0)).terms("denominator"), "denominator .* has degree 0"),
        (lambda: PaLaLinear(3, 3)(torch.zeros(2, 6)), r"\(2, 6\): expected \(\.\.\., 3\)"),
        (lambda: PaLaConv2d(4, 6, 3)(torch.zeros(4, 8, 8)), r"\(4, 8, 8\): expected .*x\[None\]"),
        (lambda: PaLaConv2d(4, 6, 3)(torch.zeros(1, 3, 8, 8)), r"\(1, 3, 8, 8\): .* 4, height"),
        (lambda: PaLaConvTranspose2d(4, 6, 3)(torch.zeros(4, 8)), r"\(4, 8\): expected"),
    ],
)
def test_refused_with_value_and_remedy(build: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()
