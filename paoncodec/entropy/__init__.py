"""Between the networks and the bytes: exact arithmetic, frozen tables, coder, causal walks."""

from paoncodec.entropy.checkerboard import ChannelGroup, CheckerboardWalk
from paoncodec.entropy.coder import (
    VALUE_LIMIT,
    Estimator,
    Integers,
    Meter,
    Reader,
    Stop,
    SymbolModel,
    Writer,
    unchanged,
)
from paoncodec.entropy.exact import (
    ACTIVATION_BITS,
    exact_layer,
    exact_pade_product,
    exact_pointwise,
    exact_product,
    exact_sequence,
    to_activation,
)
from paoncodec.entropy.products import Array
from paoncodec.entropy.tables import FrozenTables, GaussianTables, TableSelector, Tails
from paoncodec.entropy.walk import Select, Walk
from paoncodec.entropy.wavefront import CausalWalk

__all__ = [
    "ACTIVATION_BITS",
    "VALUE_LIMIT",
    "Array",
    "CausalWalk",
    "ChannelGroup",
    "CheckerboardWalk",
    "Estimator",
    "FrozenTables",
    "GaussianTables",
    "Integers",
    "Meter",
    "Reader",
    "Select",
    "Stop",
    "SymbolModel",
    "TableSelector",
    "Tails",
    "Walk",
    "Writer",
    "exact_layer",
    "exact_pade_product",
    "exact_pointwise",
    "exact_product",
    "exact_sequence",
    "to_activation",
    "unchanged",
]
