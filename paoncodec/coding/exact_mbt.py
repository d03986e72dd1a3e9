"""What is MBT-Paon's own in the exact entropy model: context to tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from paoncodec.entropy import Array, CausalWalk, Select, exact_pointwise, exact_product

if TYPE_CHECKING:
    from paoncodec.coding.mbt import MBTCoder


def causal_walk(model: MBTCoder, select: Select) -> CausalWalk:
    """The walk over y of ``model``, whose networks' weights are rounded to dyadic numbers here.

    Raises:
        WeightsError: a layer's sums could leave exact arithmetic.
    """
    masked = model.context_prediction
    context = exact_product(masked.by_tap(), masked.bias, "context_prediction")
    parameters = exact_pointwise(model.entropy_parameters, "entropy_parameters")

    def head(hyper: Array, features: Array) -> tuple[Array, Array]:
        outputs = parameters(np.concatenate((hyper, features), axis=1))
        deviations, means = np.split(outputs, 2, axis=1)
        return deviations, means

    return CausalWalk(context, head, select, model.M)
