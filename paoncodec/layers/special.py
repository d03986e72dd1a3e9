"""Earlier neurons as the Padé layers they are: quadratic, generative and super neurons.

"Padé Neurons for Efficient Neural Models", III-E. An ordinary neuron is ``degrees=(1, 0)``.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from paoncodec.layers.pade import PaLaConv2d
from paoncodec.layers.shift import PredictedShift, ShiftSpec, StaticShift


def quadratic_conv2d(
    in_channels: int, out_channels: int, kernel_size: int, **options: Any
) -> PaLaConv2d:
    """A layer of quadratic neurons, ``y = a0 + a1 ⊛ x + a2 ⊛ x²``: degrees [2/0].

    Args:
        in_channels, out_channels, kernel_size: as for :class:`.PaLaConv2d`.
        **options: its other arguments, but for degrees.
    """
    return PaLaConv2d(in_channels, out_channels, kernel_size, degrees=(2, 0), **options)


def self_onn_conv2d(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    degree: int = 3,
    bounded: bool = True,
    **options: Any,
) -> nn.Sequential:
    """A layer of generative neurons (SelfONN), ``y = tanh(a0 + Σ a_k ⊛ x^k)``: degrees [K/0].

    Kiranyaz et al., "Self-organized Operational Neural Networks with Generative Neurons" (2021).

    Args:
        in_channels, out_channels, kernel_size: as for :class:`.PaLaConv2d`.
        degree: K ≥ 2.
        bounded: with the tanh that the literature trains them with. Without it another activation
            has to keep the next layer's powers small.
        **options: other arguments of :class:`.PaLaConv2d`, but for degrees.

    Raises:
        ValueError: a degree below 2, which is an ordinary neuron.
    """
    if degree < 2:
        raise ValueError(f"degree {degree}: must be >= 2; a neuron of degree 1 is an ordinary one")
    layer = PaLaConv2d(in_channels, out_channels, kernel_size, degrees=(degree, 0), **options)
    return nn.Sequential(layer, nn.Tanh()) if bounded else nn.Sequential(layer)


def super_onn_conv2d(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    degree: int = 3,
    bounded: bool = True,
    shift: ShiftSpec = StaticShift(1.0),
    **options: Any,
) -> nn.Sequential:
    """A layer of super neurons (SuperONN): generative neurons with a learned shift.

    Kiranyaz et al., "Super Neurons" (2023). The shift starts at zero (the literature's at random).

    Args:
        in_channels, out_channels, kernel_size, degree, bounded, options: as for
            :func:`self_onn_conv2d`.
        shift: static, as in the literature, or predicted, as Table II has it.

    Raises:
        ValueError: a degree below 2, or no shift.
    """
    if not isinstance(shift, (StaticShift, PredictedShift)):
        raise ValueError(f"shift {shift!r}: a super neuron needs StaticShift or PredictedShift")
    return self_onn_conv2d(
        in_channels, out_channels, kernel_size, degree, bounded, shift=shift, **options
    )
