"""What is ELIC-Paon's own in the exact entropy model: contexts to tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from paoncodec.entropy import (
    Array,
    ChannelGroup,
    CheckerboardWalk,
    Select,
    exact_pade_product,
    exact_pointwise,
    exact_sequence,
)

if TYPE_CHECKING:
    from paoncodec.coding.elic import ELICCoder


def checkerboard_walk(model: ELICCoder, select: Select) -> CheckerboardWalk:
    """The walk over y of ``model``, whose networks' weights are rounded to dyadic numbers here.

    Raises:
        WeightsError: a layer's sums could leave exact arithmetic.
    """
    groups = []
    for k, channels in enumerate(model.groups):
        name = f"latent_codec.y.latent_codec.y{k}"
        group = model.group(k)
        spatial, layers = group.context_prediction, group.entropy_parameters
        # The inputs begin with the spatial context, which anchors do not have.
        blind = exact_pointwise(layers, f"{name}.entropy_parameters", spatial.out_channels)
        exact = ChannelGroup(
            channels=channels,
            channel=_channel_context(model, k) if k else None,
            spatial=exact_pade_product(spatial, f"{name}.context_prediction"),
            anchors=blind,
            others=exact_pointwise(layers, f"{name}.entropy_parameters"),
        )
        groups.append(exact)
    return CheckerboardWalk(groups, select)


def _channel_context(model: ELICCoder, k: int) -> Callable[[Array], Array]:
    return exact_sequence(model.channel_context(k), f"latent_codec.y.channel_context.y{k}")
