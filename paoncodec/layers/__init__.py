"""Neurons for any network: Padé layers, their shifters, and the neurons they are compared with."""

from paoncodec.layers.causal import CAUSAL_TAPS, CausalConv2d
from paoncodec.layers.convolutions import gradients_in_bfloat16
from paoncodec.layers.deform import ElementShift, PaLaDeformConv2d
from paoncodec.layers.fused import fused_quotients
from paoncodec.layers.masked import (
    CHECKERBOARD_TAPS,
    CausalPaLaConv2d,
    CheckerboardPaLaConv2d,
    MaskedPaLaConv2d,
)
from paoncodec.layers.pade import PaLaConv2d, PaLaConvTranspose2d, PaLaLinear
from paoncodec.layers.pau import PAU
from paoncodec.layers.product_unit import EXPONENT_LIMIT, ProductUnit2d, guarded_values
from paoncodec.layers.quotients import DENOMINATOR_FLOOR
from paoncodec.layers.rational import Kind, PadeSpec, rational
from paoncodec.layers.shift import NoShift, PredictedShift, ShiftSpec, StaticShift, shift2d
from paoncodec.layers.special import quadratic_conv2d, self_onn_conv2d, super_onn_conv2d

__all__ = [
    "CAUSAL_TAPS",
    "CHECKERBOARD_TAPS",
    "DENOMINATOR_FLOOR",
    "EXPONENT_LIMIT",
    "PAU",
    "CausalConv2d",
    "CausalPaLaConv2d",
    "CheckerboardPaLaConv2d",
    "ElementShift",
    "Kind",
    "MaskedPaLaConv2d",
    "NoShift",
    "PaLaConv2d",
    "PaLaConvTranspose2d",
    "PaLaDeformConv2d",
    "PaLaLinear",
    "PadeSpec",
    "PredictedShift",
    "ProductUnit2d",
    "ShiftSpec",
    "StaticShift",
    "fused_quotients",
    "gradients_in_bfloat16",
    "guarded_values",
    "quadratic_conv2d",
    "rational",
    "self_onn_conv2d",
    "shift2d",
    "super_onn_conv2d",
]
