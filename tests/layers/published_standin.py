"""What the published layers compute and how their state dicts look, from their documentation.

One function per layer, plain and slow, for a batch of one; and :func:`random_state`, the tensors
that a layer with given options has.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import deform_conv2d

CONV: dict[str, Any] = {
    "in_ch": 4,
    "out_ch": 3,
    "kernel_size": 3,
    "degrees": (1, 1),
    "paon_type": "s",
    "bias_range": -1,
    "shift_is_tensor": False,
    "bias_learn": True,
    "bias_round": False,
    "conv_padding_mode": "replicate",
    "shift_padding_mode": "border",
}
TRANSPOSED = {**CONV, "conv_padding_mode": "zeros", "output_padding": 1, "stride": 2}
DEFORM: dict[str, Any] = {
    "in_ch": 4,
    "out_ch": 3,
    "kernel_size": 3,
    "degrees": (1, 1),
    "paon_type": "s",
    "bias_range": 1000,
    "bias_round": False,
    "conv_padding_mode": "replicate",
    "shift_padding_mode": "replicate",
}
LINEAR: dict[str, Any] = {"in_ch": 4, "out_ch": 3, "degrees": (1, 1), "paon_type": "s"}
NAMES = ("get_m_poly", "get_n_poly")


def random_state(layer: str, options: dict[str, Any]) -> dict[str, Tensor]:
    """The layer's tensors, float64, by the names they have there."""
    shapes: dict[str, tuple[int, ...]] = {"w0": (options["out_ch"],)}
    for name, degree in zip(NAMES, options["degrees"], strict=True):
        if degree:
            shapes.update(polynomial_shapes(layer, name, degree, options))
    shapes.update(shifter_shapes(layer, options))
    generator = torch.Generator().manual_seed(0)
    return {
        name: 0.2 * torch.randn(shape, generator=generator, dtype=torch.float64)
        for name, shape in shapes.items()
    }


def polynomial_shapes(
    layer: str, name: str, degree: int, options: dict[str, Any]
) -> dict[str, tuple[int, ...]]:
    n_in, n_out = options["in_ch"], options["out_ch"]
    if layer == "linear":
        return {name: (degree, n_in, n_out)}
    k = options["kernel_size"]
    rows, columns = (n_in, n_out) if layer == "transposed" else (n_out, n_in)
    main, shape, shapes = name, (degree * rows, columns, k, k), {}
    if options.get("separable"):
        shapes[f"{name}.0.weight"] = (degree * n_out, n_in, 1, 1)
        main, shape = f"{name}.1", (degree * n_out, 1, k, k)
    if not options.get("wnorm"):
        return {**shapes, f"{main}.weight": shape}
    return {**shapes, f"{main}.weight_g": (shape[0], 1, 1, 1), f"{main}.weight_v": shape}


def shifter_shapes(layer: str, options: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    n_in = options["in_ch"]
    if layer == "deform":
        pairs = n_in if options.get("channelwise") else 1
        taps = options["kernel_size"] ** 2 if options.get("full_deform", True) else 1
        k = options.get("offset_kernel", 1)
        weight = (2 * pairs * taps, n_in, k, k)
        return {"shifter.offset_conv.weight": weight, "shifter.offset_conv.bias": weight[:1]}
    if layer == "linear" or options["bias_range"] < 0:
        return {}
    if options["bias_range"] > 0 and options["shift_is_tensor"]:
        return {"shifter.center_bias": (n_in, 2)}
    return {
        "shifter.center_bias.1.weight": (2 * n_in, n_in, 1, 1),
        "shifter.center_bias.1.bias": (2 * n_in,),
        "shifter.center_bias.2.weight": (2 * n_in,),
    }


def quotient(num: list[Tensor], den: list[Tensor], w0: Tensor, kind: str) -> Tensor:
    """Terms by degree → Paon-A or Paon-S; with L = 0 the polynomial."""
    like = (num or den)[0]
    p = [torch.zeros_like(like), torch.zeros_like(like) + w0]
    for term in num:
        p.append(p[-1] + term)
    if not den:
        return p[-1]
    if kind == "a":
        return p[-1] / (1 + sum(term.abs() for term in den))
    q = [torch.ones_like(like)]
    for term in den:
        q.append(q[-1] + term)
    return (q[-1] * p[-1] + q[-2] * p[-2]) / (q[-1] ** 2 + q[-2] ** 2)


def kernel(state: dict[str, Tensor], name: str) -> Tensor:
    if f"{name}.weight" in state:
        return state[f"{name}.weight"]
    direction = state[f"{name}.weight_v"]
    norm = direction.square().sum(dim=(1, 2, 3), keepdim=True).sqrt()
    return state[f"{name}.weight_g"] * direction / norm


def linear(state: dict[str, Tensor], options: dict[str, Any], x: Tensor) -> Tensor:
    num, den = (
        [x**k @ weight for k, weight in enumerate(state.get(name, ()), 1)] for name in NAMES
    )
    return quotient(num, den, state["w0"], options["paon_type"])


def terms(state: dict[str, Tensor], options: dict[str, Any], x: Tensor, product: Any) -> Tensor:
    """The quotient of ``product(x^k, weight of degree k, depth-wise, k - 1, K)``.

    1×1 mixtures come before it.
    """
    both = []
    for name, degree in zip(NAMES, options["degrees"], strict=True):
        found = []
        for k in range(degree):
            power = x ** (k + 1)
            if options.get("separable"):
                mixing = state[f"{name}.0.weight"].chunk(degree)[k]
                weight = kernel(state, f"{name}.1").chunk(degree)[k]
                found.append(product(F.conv2d(power, mixing), weight, len(weight), k, degree))
            else:
                found.append(product(power, kernel(state, name).chunk(degree)[k], 1, k, degree))
        both.append(found)
    return quotient(*both, state["w0"][:, None, None], options["paon_type"])


def padded(x: Tensor, border: int, mode: str) -> Tensor:
    return F.pad(x, (border,) * 4, mode="constant" if mode == "zeros" else mode)


def border(options: dict[str, Any]) -> int:
    given = options.get("pad", -1)
    return options["kernel_size"] // 2 if given == -1 else given


def shifted(state: dict[str, Tensor], options: dict[str, Any], x: Tensor) -> Tensor:
    """Each channel moved by its pair (dx, dy), sampled by torch's own grid_sample."""
    if options["bias_range"] < 0:
        return x
    if "shifter.center_bias" in state:
        moves = state["shifter.center_bias"]
        if options["bias_learn"]:
            moves = moves.clamp(-options["bias_range"], options["bias_range"])
    else:
        mean = x.mean((2, 3))[0]
        raw = state["shifter.center_bias.1.weight"].flatten(1) @ mean
        raw = raw + state["shifter.center_bias.1.bias"]
        slope = state["shifter.center_bias.2.weight"]
        moves = torch.where(raw > 0, raw, slope * raw).view(-1, 2)
    moves = moves.round() if options["bias_round"] else moves
    height, width = x.shape[2:]
    matrix = torch.eye(2, 3, dtype=x.dtype).repeat(x.shape[1], 1, 1)
    matrix[:, :, 2] = moves * 2 / x.new_tensor([width, height])
    channels = x.transpose(0, 1)
    grid = F.affine_grid(matrix, list(channels.shape), align_corners=False)
    mode = options["shift_padding_mode"]
    moved = F.grid_sample(channels, grid, padding_mode=mode, align_corners=False)
    return moved.transpose(0, 1)


def conv2d(state: dict[str, Tensor], options: dict[str, Any], x: Tensor) -> Tensor:
    def product(x: Tensor, weight: Tensor, groups: int, *degree: int) -> Tensor:
        wide = padded(x, border(options), options["conv_padding_mode"])
        return F.conv2d(wide, weight, stride=options.get("stride", 1), groups=groups)

    return terms(state, options, shifted(state, options, x), product)


def transposed(state: dict[str, Tensor], options: dict[str, Any], x: Tensor) -> Tensor:
    def product(x: Tensor, weight: Tensor, groups: int, *degree: int) -> Tensor:
        sizes = (options.get("stride", 1), border(options), options["output_padding"])
        return F.conv_transpose2d(x, weight, None, *sizes, groups)

    return terms(state, options, shifted(state, options, x), product)


def deform(state: dict[str, Tensor], options: dict[str, Any], x: Tensor) -> Tensor:
    """With m·tanh(x / m) for all x: the one departure from what is published."""
    k, stride = options["kernel_size"], options.get("stride", 1)
    reach = options.get("offset_kernel", 1) // 2
    weight, bias = (state[f"shifter.offset_conv.{name}"] for name in ("weight", "bias"))
    offset = F.conv2d(padded(x, reach, options["shift_padding_mode"]), weight, bias, stride)
    height, width = offset.shape[2:]
    rows = torch.arange(height, dtype=x.dtype)[:, None]
    columns = torch.arange(width, dtype=x.dtype)[None]
    limited = torch.empty_like(offset)
    limited[:, 0::2] = torch.minimum(torch.maximum(offset[:, 0::2], -rows), height - rows)
    limited[:, 1::2] = torch.minimum(torch.maximum(offset[:, 1::2], -columns), width - columns)
    bound = options["bias_range"] if options["bias_range"] > 0 else max(height, width) / 4
    limited = bound * torch.tanh(limited / bound)
    limited = limited.round() if options["bias_round"] else limited
    if not options.get("full_deform", True):
        limited = limited.repeat_interleave(k * k, 1)
    pairs = options["in_ch"] if options.get("channelwise") else 1
    of_pairs = limited.unflatten(1, (pairs, 2 * k * k))

    def product(x: Tensor, weight: Tensor, groups: int, degree: int, degrees: int) -> Tensor:
        mode = options["conv_padding_mode"]
        wide = padded(x, k // 2, "zeros" if mode == "constant" else mode)
        channels = x.shape[1]
        each = degrees * channels // pairs
        dealt = [(degree * channels + channel) // each for channel in range(channels)]
        return deform_conv2d(wide, of_pairs[:, dealt].flatten(1, 2), weight, stride=stride)

    return terms(state, options, x, product)
