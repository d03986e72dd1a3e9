"""The deformable layer: where each tap looks, how far it may, what comes back."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn

from paoncodec.layers import ElementShift, Kind, PaLaConv2d, PaLaDeformConv2d
from paoncodec.layers import base as base_module
from paoncodec.layers import deform as deform_module

KINDS: tuple[Kind, ...] = ("smooth", "absolute", "vanilla")


@pytest.fixture(autouse=True)
def _seed() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def randomised(layer: nn.Module, scale: float = 0.3) -> nn.Module:
    for parameter in layer.parameters():
        nn.init.normal_(parameter, 0, scale)
    return layer


def plain_of(layer: PaLaDeformConv2d, **options: object) -> PaLaConv2d:
    """The layer without offsets, with the same weights."""
    plain = PaLaConv2d(
        layer.in_channels,
        layer.out_channels,
        layer.kernel_size,
        layer.stride,
        groups=layer.groups,
        degrees=(layer.spec.num, layer.spec.den),
        kind=layer.spec.kind,
        **options,
    ).to(layer.bias.dtype)
    plain.load_state_dict({k: v for k, v in layer.state_dict().items() if "." not in k})
    return plain


# ---- against a plain reference ----


def sample(x: np.ndarray, row: float, column: float) -> float:
    """x (H, W) between pixels, border replicated."""
    height, width = x.shape
    row, column = np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)
    top, left = int(row), int(column)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    above = (1 - column + left) * x[top, left] + (column - left) * x[top, right]
    below = (1 - column + left) * x[bottom, left] + (column - left) * x[bottom, right]
    return (1 - row + top) * above + (row - top) * below


def offsets(layer: PaLaDeformConv2d, spec: ElementShift, x: np.ndarray) -> np.ndarray:
    """(C, k, k, 2, H', W') of one image (C, H, W), from the paper's formula."""
    channels, *size = x.shape
    weight, bias = (p.detach().numpy() for p in layer.shifter.predict.parameters())
    reach, step, kernel = spec.kernel_size // 2, layer.stride, layer.kernel_size
    wide = np.pad(x, ((0, 0), (reach, reach + 1), (reach, reach + 1)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(wide, weight.shape[2:], axis=(1, 2))
    last = [n + kernel // 2 * 2 - kernel for n in size]
    windows = windows[:, : last[0] + 1 : step, : last[1] + 1 : step]
    raw = np.einsum("ocuv,cijuv->oij", weight, windows) + bias[:, None, None]
    bound = spec.bound or max(size) / 4
    side = 1 if spec.whole else kernel
    offset = (bound * np.tanh(raw / bound)).reshape(-1, side, side, 2, *raw.shape[1:])
    for axis, end in enumerate(last):
        shape = [1, 1]
        shape[axis] = -1
        place = step * np.arange(raw.shape[1 + axis]).reshape(shape)
        offset[:, :, :, axis] = (offset[:, :, :, axis] + place).clip(0, end) - place
    return np.broadcast_to(offset, (channels, kernel, kernel, 2, *raw.shape[1:]))


def seen(layer: PaLaDeformConv2d, spec: ElementShift, x: np.ndarray, power: int) -> np.ndarray:
    """(C, H, W) → (C, k, k, H', W'): what each tap sees of a power of x."""
    where = offsets(layer, spec, x)
    found = np.empty((*where.shape[:3], *where.shape[4:]))
    for c, u, v, i, j in np.ndindex(found.shape):
        dy, dx = where[c, u, v, :, i, j]
        reach = layer.kernel_size // 2
        row, column = layer.stride * i + u - reach + dy, layer.stride * j + v - reach + dx
        found[c, u, v, i, j] = sample(x[c] ** power, row, column)
    return found


SPECS = [
    ElementShift(),
    ElementShift(kernel_size=3, whole=True, bound=1.5),
    ElementShift(kernel_size=3, per_channel=True, bound=1.5),
    ElementShift(whole=True, per_channel=True),
]


EVEN = ElementShift(kernel_size=2, bound=1.5)


@pytest.mark.parametrize(
    ("spec", "kernel"),
    [*((spec, 3) for spec in SPECS), (EVEN, 3), (EVEN, 2), (SPECS[0], 4), (SPECS[2], 2)],
    ids=repr,
)
@pytest.mark.parametrize(("stride", "groups"), [(1, 1), (2, 2)])
def test_every_tap_looks_where_the_formula_says(
    spec: ElementShift, kernel: int, stride: int, groups: int
) -> None:
    layer = PaLaDeformConv2d(2, 4, kernel, stride, groups, degrees=(2, 1), shift=spec).double()
    randomised(layer, 0.5)
    x = np.random.default_rng(0).normal(size=(2, 5, 6))
    assert np.abs(offsets(layer, spec, x)).max() > 1

    def term(weight: Tensor, power: int) -> np.ndarray:
        by_group = weight.detach().numpy().reshape(groups, 4 // groups, -1, kernel, kernel)
        taps = seen(layer, spec, x, power)
        taps = taps.reshape(groups, 2 // groups, *taps.shape[1:])
        return np.einsum("gocuv,gcuvij->goij", by_group, taps).reshape(4, *taps.shape[4:])

    a, b = layer.terms("numerator"), layer.terms("denominator")
    p_low = layer.bias.detach().numpy()[:, None, None] + term(a[0], 1)
    p, q = p_low + term(a[1], 2), 1 + term(b[0], 1)
    y = layer(torch.from_numpy(x)[None])[0].detach().numpy()
    np.testing.assert_allclose(y, (q * p + p_low) / (q**2 + 1), rtol=1e-9, atol=1e-9)


DEGREES = list(itertools.product(range(4), repeat=2))[1:]


@pytest.mark.parametrize(("stride", "groups"), [(1, 2), (2, 1)])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("degrees", DEGREES)
def test_without_offsets_it_is_the_plain_layer(
    degrees: tuple[int, int], kind: Kind, stride: int, groups: int
) -> None:
    layer = PaLaDeformConv2d(4, 6, 3, stride, groups, degrees=degrees, kind=kind).double()
    x = torch.randn(2, 4, 5, 6, dtype=torch.float64)
    torch.testing.assert_close(layer(x), plain_of(layer)(x))


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 2, 4])
@pytest.mark.parametrize("offset_kernel", [1, 2, 3])
def test_kernels_of_any_size(kernel: int, offset_kernel: int, stride: int) -> None:
    layer = PaLaDeformConv2d(2, 3, kernel, stride, shift=ElementShift(offset_kernel))
    for size in [(5, 6), (1, 2), (7, 7)]:
        x = torch.randn(1, 2, *size)
        torch.testing.assert_close(layer(x), plain_of(layer)(x))


@pytest.mark.parametrize(("side", "stride", "groups"), [(3, 1, 1), (2, 2, 2)])
def test_offsets_of_outputs_are_torchvisions_output_by_output(
    side: int, stride: int, groups: int
) -> None:
    x = torch.randn(2, 4, 6, 7, dtype=torch.float64)
    weight = torch.randn(6, 4 // groups, side, side, dtype=torch.float64)
    places = [(n - side) // stride + 1 for n in x.shape[2:]]
    offset = 2 * torch.randn(2, 3 * 2 * side**2, *places, dtype=torch.float64)
    leaves = [leaf.requires_grad_() for leaf in (x, offset, weight)]
    ours = deform_module._mixed_and_moved(*leaves, stride, groups)
    blocks = offset.chunk(3, dim=1)
    every = [torchvision.ops.deform_conv2d(x, block, weight, stride=stride) for block in blocks]
    theirs = torch.cat([y[:, 2 * i : 2 * i + 2] for i, y in enumerate(every)], dim=1)
    torch.testing.assert_close(ours, theirs)
    pull = torch.randn_like(ours)
    for mine, wanted in zip(
        torch.autograd.grad(ours, leaves, pull),
        torch.autograd.grad(theirs, leaves, pull),
        strict=True,
    ):
        torch.testing.assert_close(mine, wanted)


@pytest.mark.parametrize("mode", ["zeros", "reflect", "circular"])
def test_other_borders(mode: str) -> None:
    layer = PaLaDeformConv2d(2, 3, 5, padding_mode=mode)
    x = torch.randn(1, 2, 6, 7)
    torch.testing.assert_close(layer(x), plain_of(layer, padding_mode=mode)(x))


# ---- bounds ----


def moved(layer: PaLaDeformConv2d, offset: float, x: Tensor) -> Tensor:
    """The offsets when the convolution gives ``offset`` everywhere: (H', W', taps, 2)."""
    nn.init.constant_(layer.shifter.predict.bias, offset)
    given = layer.shifter(x)[0].unflatten(0, (-1, 2))
    return given.permute(2, 3, 0, 1)


def test_the_bound_of_the_paper_is_smooth_and_a_quarter_of_the_longer_side() -> None:
    layer = PaLaDeformConv2d(1, 1, 3)
    x = torch.zeros(1, 1, 9, 40)
    inner = [moved(layer, offset, x)[0, 20, 0, 1].item() for offset in (0.5, 9.99, 10.01, 1e6)]
    assert inner == pytest.approx([10 * math.tanh(o / 10) for o in (0.5, 9.99, 10.01, 1e6)])


def test_a_given_bound_holds_for_any_size() -> None:
    layer = PaLaDeformConv2d(1, 1, 3, shift=ElementShift(bound=2.0))
    found = moved(layer, 1e9, torch.zeros(1, 1, 32, 32))
    assert found[16, 16].unique().tolist() == [2.0]
    other = PaLaDeformConv2d(1, 1, 3, shift=ElementShift(bound=7.0))
    other.load_state_dict(layer.state_dict())
    assert other.shifter.bound == 2


@pytest.mark.parametrize("kernel", [3, 2])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("offset", [-1e9, -0.7, 0.7, 1e9])
def test_no_offset_brings_in_zeros(offset: float, stride: int, kernel: int) -> None:
    """A sum over what the taps see of a picture of ones is the number of taps."""
    layer = PaLaDeformConv2d(1, 1, kernel, stride, degrees=(1, 0))
    nn.init.ones_(layer.numerator)
    nn.init.zeros_(layer.bias)
    nn.init.constant_(layer.shifter.predict.bias, offset)
    y = layer(torch.ones(1, 1, 6, 7))
    torch.testing.assert_close(y, torch.full_like(y, kernel**2))


def test_positions_that_are_not_numbers_do_no_harm() -> None:
    layer = PaLaDeformConv2d(1, 1, 3)
    nn.init.constant_(layer.shifter.predict.bias, float("nan"))
    assert layer(torch.ones(1, 1, 6, 7)).isfinite().all()


@pytest.mark.parametrize("whole", [False, True])
def test_rounded_offsets_copy_pixels_and_learn(whole: bool) -> None:
    spec = ElementShift(whole=whole, rounded=True)
    layer = PaLaDeformConv2d(1, 1, 3, degrees=(1, 0), shift=spec)
    assert moved(layer, 1.4, torch.zeros(1, 1, 32, 32))[16, 16].unique().tolist() == [1.0]
    layer(torch.randn(1, 1, 8, 8)).square().sum().backward()
    assert (layer.shifter.predict.bias.grad != 0).all()


# ---- gradients ----


@pytest.mark.parametrize(
    ("degrees", "spec", "kernel"),
    [*(((1, 1), spec, 3) for spec in SPECS), ((2, 1), SPECS[0], 3), ((1, 1), SPECS[0], 2)],
)
def test_gradients(degrees: tuple[int, int], spec: ElementShift, kernel: int) -> None:
    layer = randomised(PaLaDeformConv2d(2, 2, kernel, 2, degrees=degrees, shift=spec)).double()
    x = torch.randn(2, 2, 4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, *_: layer(x), (x, *layer.parameters()))


def test_beyond_the_border_there_is_no_slope() -> None:
    """A picture of ones is as flat beyond its border as inside, whatever torchvision sees there."""
    layer = PaLaDeformConv2d(1, 1, 3, degrees=(1, 0))
    layer(torch.ones(1, 1, 6, 7)).sum().backward()
    assert not layer.shifter.predict.bias.grad.any()
    assert not layer.shifter.predict.weight.grad.any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("degrees", [(1, 1), (2, 1), (0, 2), (3, 0)])
@pytest.mark.parametrize("spec", SPECS[:2], ids=repr)
def test_every_parameter_learns(spec: ElementShift, degrees: tuple[int, int], kind: Kind) -> None:
    layer = PaLaDeformConv2d(3, 4, 3, degrees=degrees, kind=kind, shift=spec)
    x = torch.randn(2, 3, 6, 7)
    target = torch.randn(2, 4, 6, 7)
    alive = {name: torch.zeros_like(p, dtype=torch.bool) for name, p in layer.named_parameters()}
    for _ in range(3):
        layer.zero_grad()
        (layer(x) - target).square().mean().backward()
        with torch.no_grad():
            for name, parameter in layer.named_parameters():
                alive[name] |= parameter.grad != 0
                parameter -= 0.01 * parameter.grad.sign()
    for name, elements in alive.items():
        assert elements.all(), name


# ---- cost, formats, independence ----


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """(images, output channels) of each deformable convolution."""
    seen: list[tuple[int, int]] = []
    real = deform_module.deform_by_places

    def counted(x: Tensor, offset: Tensor, weight: Tensor, *options: int) -> Tensor:
        seen.append((len(x), len(weight)))
        return real(x, offset, weight, *options)

    monkeypatch.setattr(deform_module, "deform_by_places", counted)
    return seen


@pytest.mark.parametrize(
    ("degrees", "outputs"),
    [((1, 0), [6]), ((1, 1), [12]), ((3, 0), [18]), ((2, 2), [24]), ((2, 1), [12, 6])],
)
def test_one_call_for_the_degrees_that_both_polynomials_have(calls, degrees, outputs) -> None:
    PaLaDeformConv2d(4, 6, 3, degrees=degrees)(torch.randn(2, 4, 5, 5))
    assert calls == [(2, n) for n in outputs]


def test_a_large_batch_is_sampled_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """By torchvision, which takes a workspace for all that it is given."""
    seen: list[int] = []
    real = torchvision.ops.deform_conv2d

    def counted(x: Tensor, *others: Tensor, **options: int) -> Tensor:
        seen.append(len(x))
        return real(x, *others, **options)

    monkeypatch.setattr(torchvision.ops, "deform_conv2d", counted)
    layer = randomised(PaLaDeformConv2d(2, 3, 3, shift=ElementShift(per_channel=True)))
    x = torch.randn(5, 2, 6, 6)
    whole = layer(x)
    monkeypatch.setattr(base_module, "_PART_SIZE", 2 * 2 * 9 * 36)
    torch.testing.assert_close(layer(x), whole)
    assert seen == [5, 2, 2, 1]


@pytest.mark.parametrize("spec", SPECS, ids=repr)
def test_an_image_does_not_depend_on_its_batch(spec: ElementShift) -> None:
    layer = randomised(PaLaDeformConv2d(4, 4, 3, 2, shift=spec), 0.1)
    batch = torch.randn(3, 4, 6, 6) * torch.tensor([0.1, 1.0, 3.0])[:, None, None, None]
    alone = torch.cat([layer(image[None]) for image in batch])
    torch.testing.assert_close(layer(batch), alone)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_autocast_samples_in_float32(dtype: torch.dtype) -> None:
    layer = randomised(PaLaDeformConv2d(4, 4, 3, degrees=(2, 1)), 0.1)
    x = torch.randn(2, 4, 6, 6)
    exact = layer(x)
    with torch.autocast("cpu", dtype):
        y = layer(x)
    assert torch.equal(y, exact.to(dtype))
    half = layer.to(dtype)(x.to(dtype))
    assert half.dtype == dtype
    torch.testing.assert_close(half.float(), exact, rtol=0.1, atol=0.1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("kind", ["smooth", "absolute"])
@pytest.mark.parametrize("degrees", [(1, 1), (3, 0), (3, 3)])
def test_large_values_stay_finite(degrees, kind: Kind, dtype: torch.dtype) -> None:
    layer = PaLaDeformConv2d(3, 4, 3, degrees=degrees, kind=kind)
    for parameter in layer.parameters():
        nn.init.uniform_(parameter, -1e3, 1e3)
    x = (1e4 * (torch.rand(2, 3, 6, 6) * 2 - 1)).requires_grad_()
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        y = layer(x)
    assert y.isfinite().all()
    if dtype != torch.float16:
        (1e-3 * y.float().mean()).backward()
        assert all(p.grad.isfinite().all() for p in (x, *layer.parameters()))


def test_the_state_dict_is_a_contract() -> None:
    layer = PaLaDeformConv2d(4, 6, 3, groups=2, shift=ElementShift(3, bound=2.0))
    assert {k: tuple(v.shape) for k, v in layer.state_dict().items()} == {
        "numerator": (6, 2, 3, 3),
        "denominator": (6, 2, 3, 3),
        "bias": (6,),
        "shifter.bound": (),
        "shifter.predict.weight": (18, 4, 3, 3),
        "shifter.predict.bias": (18,),
    }
    assert "bound=2" in repr(layer)
    assert "bound=max(h, w) / 4" in repr(PaLaDeformConv2d(4, 6, 3))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: PaLaDeformConv2d(4, 6, 0), "kernel_size 0: must be >= 1"),
        (lambda: PaLaDeformConv2d(4, 6, 3, 0), "stride 0: must be >= 1"),
        (lambda: PaLaDeformConv2d(4, 6, 3, groups=4), "groups 4: must divide"),
        (lambda: PaLaDeformConv2d(4, 6, 3, shift="all"), "'all': expected ElementShift"),
        (lambda: PaLaDeformConv2d(4, 6, 3, padding_mode="x"), "'x': choose one of replicate"),
        (lambda: PaLaDeformConv2d(4, 6, 3)(torch.zeros(4, 8, 8)), r"expected .*x\[None\]"),
        (lambda: ElementShift(0), "kernel_size 0: must be >= 1"),
        (lambda: ElementShift(bound=-1.0), "bound -1.0: must be >= 0"),
        (lambda: ElementShift(bound=float("nan")), "bound nan: must be >= 0"),
        (lambda: ElementShift(padding_mode="border"), "'border': choose one of replicate"),
        (lambda: PaLaConv2d(4, 6, 3, shift=ElementShift()), "ElementShift.*expected NoShift"),
    ],
)
def test_refused_with_value_and_remedy(build: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()
