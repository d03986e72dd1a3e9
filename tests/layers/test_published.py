"""State dicts of the published layers load, and compute what the published formulas say."""

from __future__ import annotations

import importlib.util
import itertools
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from paoncodec.errors import WeightsError
from paoncodec.layers import published


def _standin() -> ModuleType:
    path = Path(__file__).with_name("published_standin.py")
    spec = importlib.util.spec_from_file_location("published_standin", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


standin = _standin()
LOADERS = {
    "linear": (published.load_linear, standin.linear, standin.LINEAR),
    "conv": (published.load_conv2d, standin.conv2d, standin.CONV),
    "transposed": (published.load_conv_transpose2d, standin.transposed, standin.TRANSPOSED),
    "deform": (published.load_deform_conv2d, standin.deform, standin.DEFORM),
}
DEGREES = [(1, 0), (0, 1), (1, 1), (2, 1), (1, 2), (3, 2), (2, 0)]
CHOICES = ("bias_range", "shift_is_tensor", "bias_learn", "bias_round")
SHIFTS = [
    dict(zip(CHOICES, values, strict=True))
    for values in [
        (0, False, True, False),
        (0, True, True, True),
        (2, False, True, False),
        (2, True, True, False),
        (2, True, True, True),
        (2, True, False, False),
        (1, True, False, True),
    ]
]


def scaled_state(name: str, options: dict[str, Any], scale: float) -> dict[str, Tensor]:
    """Random tensors, ``scale`` times those that make the shifts."""
    state = standin.random_state(name, options)
    return {key: scale * v if key.startswith("shifter.") else v for key, v in state.items()}


def compare(name: str, scale: float = 1.0, size: tuple[int, int] = (7, 8), **chosen: Any) -> None:
    """The loaded layer's output against the stand-in's, for a map of ``size``."""
    load, formula, defaults = LOADERS[name]
    options = {**defaults, **chosen}
    state = scaled_state(name, options, scale)
    channels = options["in_ch"]
    x = torch.randn(1, channels, *size, generator=torch.Generator().manual_seed(1)).double()
    x = x[0, :, 0, :4] if name == "linear" else x
    layer = load(state, **options)
    expected = formula(state, options, x)
    assert expected.std() > 0.01
    torch.testing.assert_close(layer(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("paon_type", ["a", "s"])
@pytest.mark.parametrize("degrees", DEGREES)
@pytest.mark.parametrize("name", LOADERS)
def test_both_kinds(name: str, degrees: tuple[int, int], paon_type: str) -> None:
    compare(name, degrees=degrees, paon_type=paon_type)


@pytest.mark.parametrize("border", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("shift", SHIFTS, ids=str)
@pytest.mark.parametrize("name", ["conv", "transposed"])
def test_kernel_wise_shifts(name: str, shift: dict[str, Any], border: str) -> None:
    compare(name, scale=8.0, shift_padding_mode=border, degrees=(2, 1), **shift)


@pytest.mark.parametrize("wnorm", [False, True])
@pytest.mark.parametrize("separable", [False, True])
@pytest.mark.parametrize("degrees", [(1, 1), (2, 1)])
@pytest.mark.parametrize("name", ["conv", "transposed", "deform"])
def test_separable_and_weight_normed_kernels(name, degrees, separable, wnorm) -> None:
    compare(name, degrees=degrees, separable=separable, wnorm=wnorm)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("pad", [-1, 0, 2])
@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
def test_borders_of_the_convolution(mode: str, pad: int, stride: int) -> None:
    compare("conv", conv_padding_mode=mode, pad=pad, stride=stride)


def test_other_sizes_of_the_transposed_layer() -> None:
    compare("transposed", kernel_size=5, stride=2, pad=1, output_padding=0)
    compare("transposed", kernel_size=4, stride=1, pad=2, output_padding=0)


def test_a_separable_layer_of_one_pixel_is_plain_there() -> None:
    load, formula, defaults = LOADERS["conv"]
    options = {**defaults, "kernel_size": 1}
    state = standin.random_state("conv", options)
    x = torch.randn(1, 4, 3, 3, dtype=torch.float64)
    layer = load(state, **{**options, "separable": True})
    torch.testing.assert_close(layer(x), formula(state, options, x))


@pytest.mark.parametrize(
    ("full_deform", "channelwise", "bias_round", "offset_kernel"),
    list(itertools.product([True, False], [True, False], [True, False], [1, 3])),
)
def test_element_wise_shifts(full_deform, channelwise, bias_round, offset_kernel) -> None:
    for mode, border, stride in [("replicate", "replicate", 1), ("constant", "zeros", 2)]:
        compare(
            "deform",
            scale=5.0,
            conv_padding_mode=mode,
            shift_padding_mode=border,
            stride=stride,
            full_deform=full_deform,
            channelwise=channelwise,
            bias_round=bias_round,
            offset_kernel=offset_kernel,
        )


@pytest.mark.parametrize("separable", [False, True])
def test_offsets_of_each_channel_where_there_is_one(separable: bool) -> None:
    compare("deform", 5.0, in_ch=1, channelwise=True, degrees=(2, 1), separable=separable)


@pytest.mark.parametrize("paon_type", ["a", "s"])
@pytest.mark.parametrize("degrees", [(2, 1), (1, 2), (2, 2), (3, 2), (0, 2)])
def test_offsets_are_dealt_out_among_the_powers(degrees, paon_type: str) -> None:
    options = {"channelwise": True, "degrees": degrees, "paon_type": paon_type}
    compare("deform", 5.0, stride=2, offset_kernel=3, **options)
    compare("deform", 5.0, full_deform=False, wnorm=True, in_ch=3, **options)


@pytest.mark.parametrize(
    ("in_ch", "out_ch", "degrees"),
    [(4, 4, (1, 1)), (4, 4, (3, 2)), (2, 6, (2, 1)), (3, 3, (2, 0)), (4, 2, (2, 2))],
)
def test_offsets_are_dealt_out_among_the_mixtures(in_ch: int, out_ch: int, degrees) -> None:
    sizes = {"in_ch": in_ch, "out_ch": out_ch, "degrees": degrees, "paon_type": "a"}
    options = {**sizes, "channelwise": True, "separable": True}
    compare("deform", 5.0, **options)
    compare("deform", 5.0, (8, 9), full_deform=False, wnorm=True, stride=2, **options)


@pytest.mark.parametrize(
    ("kernel_size", "offset_kernel", "stride", "size"),
    [
        (2, 2, 1, (7, 8)),
        (4, 2, 2, (7, 8)),
        (4, 3, 2, (7, 9)),
        (2, 1, 3, (7, 8)),
        (3, 2, 2, (7, 9)),
        (5, 4, 2, (7, 9)),
    ],
)
def test_even_kernels_of_the_deformable_layer(kernel_size, offset_kernel, stride, size) -> None:
    kernels = {"kernel_size": kernel_size, "offset_kernel": offset_kernel, "stride": stride}
    for mode, border in [("replicate", "circular"), ("constant", "reflect")]:
        modes = {"conv_padding_mode": mode, "shift_padding_mode": border}
        compare("deform", 5.0, size, **kernels, **modes)
        compare("deform", 5.0, size, degrees=(2, 1), channelwise=True, **kernels, **modes)
        mixed = {"out_ch": 2, "channelwise": True, "separable": True, "in_ch": 2}
        compare("deform", 5.0, size, **kernels, **modes, **mixed)


@pytest.mark.parametrize("separable", [False, True])
def test_gradients_where_offsets_are_dealt_out(separable: bool) -> None:
    chosen = {"in_ch": 2, "out_ch": 2, "kernel_size": 2, "stride": 2}
    options = {**standin.DEFORM, **chosen, "degrees": (2, 1), "channelwise": True}
    options["separable"] = separable
    layer = published.load_deform_conv2d(scaled_state("deform", options, 2.0), **options)
    x = torch.randn(1, 2, 2, 3, generator=torch.Generator().manual_seed(1)).double()
    leaves = (x.requires_grad_(), *layer.parameters())
    assert torch.autograd.gradcheck(lambda x, *_: layer(x), leaves, fast_mode=True)


@pytest.mark.parametrize("bias_range", [-1, 0, 2])
def test_the_bound_of_the_offsets(bias_range: int) -> None:
    compare("deform", scale=20.0, bias_range=bias_range)


def test_layers_of_a_model_are_found_by_their_prefix() -> None:
    options = standin.LINEAR
    state = {f"head.{k}": v.float() for k, v in standin.random_state("linear", options).items()}
    layer = published.load_linear(state, prefix="head.", **options)
    assert torch.equal(layer.bias, state["head.w0"])
    assert layer.bias.dtype == torch.float32


def test_constant_shifts_do_not_learn() -> None:
    options = {**standin.CONV, "bias_range": 2, "shift_is_tensor": True, "bias_learn": False}
    layer = published.load_conv2d(standin.random_state("conv", options), **options)
    assert not layer.shifter.shift.requires_grad
    assert layer.numerator.requires_grad


def test_a_predicted_shift_is_of_each_image_alone() -> None:
    """The published average goes over the batch."""
    options = {**standin.CONV, "bias_range": 0}
    state = standin.random_state("conv", options)
    layer = published.load_conv2d(state, **options)
    x = torch.randn(2, 4, 7, 8, dtype=torch.float64)
    alone = torch.cat([standin.conv2d(state, options, image[None]) for image in x])
    torch.testing.assert_close(layer(x), alone)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("conv", {"in_ch": 5}, r"get_m_poly: makes .* \(3, 4, 3, 3\), the layer's is \(3, 5"),
        ("conv", {"bias_range": 0}, r"^net\.shifter.center_bias.1.weight: not in the state dict"),
        ("conv", {"wnorm": True}, "get_m_poly.weight_g: not in the state dict; check prefix"),
        ("linear", {"out_ch": 2}, r"w0: makes a weight of shape \(3,\)"),
        ("deform", {"offset_kernel": 3}, r"weight: makes .*\(18, 4, 1, 1\)"),
    ],
)
def test_state_dicts_of_other_layers_are_refused(name, options, message) -> None:
    load, _, defaults = LOADERS[name]
    state = {f"net.{k}": v for k, v in standin.random_state(name, defaults).items()}
    with pytest.raises(WeightsError, match=message):
        load(state, prefix="net.", **{**defaults, **options})


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("conv", {"paon_type": "v"}, "paon_type 'v': choose one of a, s"),
        ("conv", {"bias_range": 0, "shift_padding_mode": "same"}, "'same': choose one of zeros, b"),
        ("conv", {"conv_padding_mode": "same"}, "padding_mode 'same': choose one of replicate"),
        ("transposed", {"conv_padding_mode": "replicate"}, "'replicate': choose one of zeros"),
        ("deform", {"channelwise": True, "separable": True}, "in_ch 4 must divide 1·3 and 1·3"),
    ],
)
def test_unknown_options_are_refused(name, options, message) -> None:
    load, _, defaults = LOADERS[name]
    state = standin.random_state(name, defaults)
    with pytest.raises(ValueError, match=message):
        load(state, **{**defaults, **options})
