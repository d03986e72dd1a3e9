"""Weights of the authors' published Padé layers, loaded into ours.

The layers are PaLaLinear, PaLaConv2d, PaLaConvTranspose2d and PaLaDeformConv2d of
https://github.com/onur-keles/Paon (paon.py). Each function here takes a state dict of one of them
and the arguments it was made with, under their names there, and returns a layer of ours: separable
and weight-normed kernels are multiplied out. For a single image outputs agree but for rounding,
with these exceptions, in which the published code is at fault:

- predicted shifts: there the average goes over the whole batch, here over each image;
- offsets of the deformable layer: there x below the bound m and m·tanh(x / m) from it on, a jump;
  here m·tanh(x / m) throughout, which is nearer to 0 by x³ / (3 m²) where x is small against m;
- rounded shifts: the values agree, but here they have a gradient;
- smooth with K ≥ 2 and L = 0: there an error, here the polynomial P_K;
- smooth with L ≥ 2: here the divisor has a floor, :data:`.DENOMINATOR_FLOOR`.

Refused is what cannot have run: a deformable layer with more pairs of offsets than
:func:`load_deform_conv2d` can deal out evenly.

Denominators of 0, as the published absolute and separable layers start with, load as they are:
:meth:`.PaLa.reset_parameters` gives a start from which they learn.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

from paoncodec.errors import WeightsError
from paoncodec.layers.base import PaLa
from paoncodec.layers.deform import ElementShift, ElementShifter, PaLaDeformConv2d
from paoncodec.layers.pade import PaddingMode, PaLaConv2d, PaLaConvTranspose2d, PaLaLinear
from paoncodec.layers.rational import Kind
from paoncodec.layers.rounding import rounded_through
from paoncodec.layers.shift import Border, NoShift, PredictedShift, ShiftSpec, StaticShift

_KINDS: dict[str, Kind] = {"a": "absolute", "s": "smooth"}
_BORDERS: dict[str, Border] = {"zeros": "zeros", "border": "replicate", "reflection": "mirror"}
_PREDICTED = {
    "predict.weight": "1.weight",
    "predict.bias": "1.bias",
    "activation.weight": "2.weight",
}
State = Mapping[str, Tensor]
T = TypeVar("T")


def load_linear(
    state: State,
    *,
    in_ch: int,
    out_ch: int,
    degrees: tuple[int, int],
    paon_type: str,
    prefix: str = "",
) -> PaLaLinear:
    """The published PaLaLinear as ours.

    Args:
        state: a state dict of the layer, or of a model it is in.
        prefix: of the layer's tensors in ``state``, with its dot.
        in_ch, out_ch, degrees, paon_type: as it was made.

    Raises:
        WeightsError: tensors are missing or of other shapes.
        ValueError: an unknown option.
    """
    layer = PaLaLinear(in_ch, out_ch, degrees, _choice("paon_type", paon_type, _KINDS))
    tensors = _Tensors(state, prefix)
    layer.to(tensors.dtype)
    _fill(layer.bias, tensors.take("w0"), "w0")
    for parameter, name in _polynomials(layer):
        weight = tensors.take(name)  # (degree, in, out)
        _fill(parameter, weight.mT.flatten(0, 1), name)
    return layer


def load_conv2d(
    state: State,
    *,
    in_ch: int,
    out_ch: int,
    kernel_size: int,
    degrees: tuple[int, int],
    paon_type: str,
    bias_range: int,
    shift_is_tensor: bool,
    bias_learn: bool,
    bias_round: bool,
    conv_padding_mode: str,
    shift_padding_mode: str,
    stride: int = 1,
    pad: int = -1,
    separable: bool = False,
    wnorm: bool = False,
    prefix: str = "",
) -> PaLaConv2d:
    """The published PaLaConv2d as ours; shifts that did not learn there do not learn here.

    Arguments and errors are those of :func:`load_linear`, and the options of the layer.
    """
    shift = _shift(bias_range, shift_is_tensor, bias_round, shift_padding_mode)
    layer = PaLaConv2d(
        in_ch,
        out_ch,
        kernel_size,
        stride,
        None if pad == -1 else pad,
        degrees=degrees,
        kind=_choice("paon_type", paon_type, _KINDS),
        shift=shift,
        padding_mode=cast(PaddingMode, conv_padding_mode),
    )
    tensors = _Tensors(state, prefix)
    layer.to(tensors.dtype)
    _fill_shifter(layer.shifter, tensors, bias_learn)
    _fill_maps(layer, tensors, separable and kernel_size > 1, wnorm)
    return layer


def load_conv_transpose2d(
    state: State,
    *,
    in_ch: int,
    out_ch: int,
    kernel_size: int,
    degrees: tuple[int, int],
    paon_type: str,
    bias_range: int,
    shift_is_tensor: bool,
    bias_learn: bool,
    bias_round: bool,
    conv_padding_mode: str,
    shift_padding_mode: str,
    output_padding: int,
    stride: int = 1,
    pad: int = -1,
    separable: bool = False,
    wnorm: bool = False,
    prefix: str = "",
) -> PaLaConvTranspose2d:
    """The published PaLaConvTranspose2d as ours, zeros around the input as there.

    Arguments and errors are those of :func:`load_conv2d`.
    """
    _choice("conv_padding_mode", conv_padding_mode, {"zeros": "zeros"})
    shift = _shift(bias_range, shift_is_tensor, bias_round, shift_padding_mode)
    layer = PaLaConvTranspose2d(
        in_ch,
        out_ch,
        kernel_size,
        stride,
        None if pad == -1 else pad,
        output_padding,
        degrees=degrees,
        kind=_choice("paon_type", paon_type, _KINDS),
        shift=shift,
        padding_mode="zeros",
    )
    tensors = _Tensors(state, prefix)
    layer.to(tensors.dtype)
    _fill_shifter(layer.shifter, tensors, bias_learn)
    _fill_maps(layer, tensors, separable and kernel_size > 1, wnorm)
    return layer


def load_deform_conv2d(
    state: State,
    *,
    in_ch: int,
    out_ch: int,
    kernel_size: int,
    degrees: tuple[int, int],
    paon_type: str,
    bias_range: int,
    bias_round: bool,
    conv_padding_mode: str,
    shift_padding_mode: str,
    full_deform: bool = True,
    channelwise: bool = False,
    offset_kernel: int = 1,
    stride: int = 1,
    pad: int = -1,
    separable: bool = False,
    wnorm: bool = False,
    prefix: str = "",
) -> PaLaDeformConv2d:
    """The published PaLaDeformConv2d as ours, with the limits of its offsets as there.

    That is: the kernel's centre is kept to the rows 0 … h and columns 0 … w of the *outputs*, where
    the last taps may see zeros; m counts the outputs' sides; and with ``full_deform=False`` the
    first half of the 2·k² numbers of a place is its first offset and the second half its second,
    though torchvision reads them as pairs. A layer of ours made anew has none of this. Like the
    published layer, this ignores ``pad``: the border is ``kernel_size // 2`` wide.

    With ``channelwise`` the pairs of offsets are dealt out, to channels that follow one another,
    among the K·in_ch channels of the powers of a polynomial; with ``separable`` among its K·out_ch
    mixtures. So those made for a channel move others where K > 1 or mixtures are moved, and not the
    same ones in both polynomials where K ≠ L. Then each polynomial is sampled by itself.

    Where ``kernel_size`` and ``offset_kernel`` are not both odd or both even, the published layer
    has as many offsets as places only for some sizes of the input; the loaded one always.

    Arguments and errors are those of :func:`load_conv2d`.

    Raises:
        ValueError: ``channelwise`` and ``separable``, and the mixtures of a polynomial cannot be
            dealt out evenly: K·out_ch or L·out_ch is not a multiple of in_ch. The published layer
            can be made so, but fails at any input.
    """
    if channelwise and separable and any(degree * out_ch % in_ch for degree in degrees):
        raise ValueError(
            f"channelwise, separable: in_ch {in_ch} must divide {degrees[0]}·{out_ch} and "
            f"{degrees[1]}·{out_ch}, degrees times out_ch; the published layer does not run either"
        )
    mode = cast(PaddingMode, "zeros" if conv_padding_mode == "constant" else conv_padding_mode)
    shift = ElementShift(
        offset_kernel,
        whole=not full_deform,
        bound=float(max(bias_range, 0)),
        per_channel=channelwise,
        padding_mode=cast(PaddingMode, shift_padding_mode),
        rounded=bias_round,
    )
    kind = _choice("paon_type", paon_type, _KINDS)
    layer = PaLaDeformConv2d(
        in_ch, out_ch, kernel_size, stride, 1, degrees, kind, shift, padding_mode=mode
    )
    layer.shifter = _PublishedOffsets(shift, in_ch, kernel_size, stride)
    if channelwise and in_ch > 1:
        layer.shifter.of_outputs = separable
        layer.shifter.together = degrees[0] == degrees[1] and not separable
    tensors = _Tensors(state, prefix)
    layer.to(tensors.dtype)
    for name, parameter in layer.shifter.predict.named_parameters():
        _fill(parameter, tensors.take(f"shifter.offset_conv.{name}"), name)
    _fill_maps(layer, tensors, separable, wnorm)
    return layer


class _PublishedOffsets(ElementShifter):
    """Limits and order of the published offsets; see :func:`load_deform_conv2d`."""

    stays_inside = False

    def of_powers(self, offset: Tensor, powers: int) -> Tensor:
        return offset

    def offsets(self, raw: Tensor, size: tuple[int, int]) -> Tensor:
        height, width = raw.shape[2:]
        rows, columns = (torch.arange(n, device=raw.device, dtype=raw.dtype) for n in raw.shape[2:])
        room = torch.stack(torch.meshgrid(rows, columns, indexing="ij"))
        sides = raw.new_tensor([height, width])[:, None, None]
        pairs = raw.unflatten(1, (-1, 2)).clamp(-room, sides - room)
        bound = torch.where(self.bound > 0, self.bound, max(height, width) / 4).to(raw.dtype)
        offset = (bound * torch.tanh(pairs / bound)).nan_to_num(nan=0.0).flatten(1, 2)
        offset = rounded_through(offset) if self.rounded else offset
        spread = 1 if self.side > 1 else self.kernel_size**2
        return offset.repeat_interleave(spread, 1)


class _Tensors:
    """The tensors of one layer, by the names they have in it."""

    def __init__(self, state: State, prefix: str) -> None:
        self._state, self._prefix = state, prefix
        self.dtype = self.take("w0").dtype

    def take(self, name: str) -> Tensor:
        try:
            return self._state[self._prefix + name].detach()
        except KeyError:
            raise WeightsError(
                f"{self._prefix}{name}: not in the state dict; check prefix and options"
            ) from None

    def kernel(self, name: str, wnorm: bool) -> Tensor:
        """A convolution's weight, multiplied out where it is weight-normed."""
        if not wnorm:
            return self.take(f"{name}.weight")
        size, direction = self.take(f"{name}.weight_g"), self.take(f"{name}.weight_v")
        return size * direction / direction.flatten(1).norm(dim=1).view_as(size)


def _fill_maps(
    layer: PaLaConv2d | PaLaConvTranspose2d | PaLaDeformConv2d,
    tensors: _Tensors,
    separable: bool,
    wnorm: bool,
) -> None:
    """Constants and kernels; a separable one is a 1×1 convolution before one of each channel."""
    _fill(layer.bias, tensors.take("w0"), "w0")
    for parameter, name in _polynomials(layer):
        if not separable:
            _fill(parameter, tensors.kernel(name, wnorm), name)
            continue
        mixing = tensors.take(f"{name}.0.weight").flatten(1)  # (degree · out, in)
        each = tensors.kernel(f"{name}.1", wnorm)  # (degree · out, 1, k, k)
        weight = mixing[..., None, None] * each  # (degree · out, in, k, k)
        if isinstance(layer, PaLaConvTranspose2d):
            weight = weight.unflatten(0, (-1, layer.out_channels)).transpose(1, 2).flatten(0, 1)
        _fill(parameter, weight, name)


def _polynomials(layer: PaLa) -> list[tuple[nn.Parameter, str]]:
    """Our parameters, and the names of the published polynomials they are filled from."""
    pairs = [(layer.numerator, "get_m_poly"), (layer.denominator, "get_n_poly")]
    return [(parameter, name) for parameter, name in pairs if parameter is not None]


def _fill_shifter(shifter: nn.Module, tensors: _Tensors, learns: bool) -> None:
    if isinstance(shifter, nn.Identity):
        return
    parameters = dict(shifter.named_parameters())
    if "shift" not in parameters:
        for name, parameter in parameters.items():
            there = f"shifter.center_bias.{_PREDICTED[name]}"
            _fill(parameter, tensors.take(there), there)
        return
    moves = tensors.take("shifter.center_bias")
    _fill(parameters["shift"], moves, "shifter.center_bias")
    if not learns:  # then nothing bounds them there
        parameters["shift"].requires_grad_(False)
        bound = cast(Tensor, shifter.bound)
        bound.copy_(torch.maximum(bound, moves.abs().max()))


def _fill(parameter: nn.Parameter, value: Tensor, name: str) -> None:
    if parameter.shape != value.shape:
        raise WeightsError(
            f"{name}: makes a weight of shape {tuple(value.shape)}, the layer's is "
            f"{tuple(parameter.shape)}; check the sizes and options"
        )
    with torch.no_grad():
        parameter.copy_(value)


def _shift(
    bias_range: int, shift_is_tensor: bool, bias_round: bool, shift_padding_mode: str
) -> ShiftSpec:
    if bias_range < 0:
        return NoShift()
    border = _choice("shift_padding_mode", shift_padding_mode, _BORDERS)
    if bias_range == 0 or not shift_is_tensor:
        return PredictedShift(border, bias_round)
    return StaticShift(bias_range, border, bias_round)


def _choice(name: str, value: str, known: Mapping[str, T]) -> T:
    if value not in known:
        raise ValueError(f"{name} {value!r}: choose one of {', '.join(known)}")
    return known[value]
