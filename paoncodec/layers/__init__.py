"""Neurons for any network: Padé layers and their shifter."""

from .causal import CAUSAL_TAPS, CausalConv2d
from .pade import PaLaConv2d, PaLaConvTranspose2d, PaLaLinear
from .quotients import DENOMINATOR_FLOOR
from .rational import Kind, PadeSpec, rational
from .shift import NoShift, PredictedShift, ShiftSpec, StaticShift, shift2d

__all__ = [
    "CAUSAL_TAPS",
    "DENOMINATOR_FLOOR",
    "CausalConv2d",
    "Kind",
    "NoShift",
    "PaLaConv2d",
    "PaLaConvTranspose2d",
    "PaLaLinear",
    "PadeSpec",
    "PredictedShift",
    "ShiftSpec",
    "StaticShift",
    "rational",
    "shift2d",
]
