"""What is ELIC-Paon's own in the exact entropy model: contexts to tables."""

from __future__ import annotations

from collections.abc import Callable

from compressai.models import Elic2022Official

from paoncodec.entropy import (
    Array,
    ChannelGroup,
    CheckerboardWalk,
    Select,
    exact_pade_product,
    exact_pointwise,
    exact_sequence,
)


def checkerboard_walk(model: Elic2022Official, select: Select) -> CheckerboardWalk:
    """The walk over y of ``model``, whose networks' weights are rounded to dyadic numbers here.

    Raises:
        WeightsError: a layer's sums could leave exact arithmetic.
    """
    codec = model.latent_codec["y"]
    groups = []
    for k, channels in enumerate(model.groups):
        name = f"latent_codec.y.latent_codec.y{k}"
        spatial = codec[f"y{k}"].context_prediction
        layers = codec[f"y{k}"].entropy_parameters
        # The inputs begin with the spatial context, which anchors do not have.
        blind = exact_pointwise(layers, f"{name}.entropy_parameters", spatial.out_channels)
        group = ChannelGroup(
            channels=channels,
            channel=_channel_context(model, k) if k else None,
            spatial=exact_pade_product(spatial, f"{name}.context_prediction"),
            anchors=blind,
            others=exact_pointwise(layers, f"{name}.entropy_parameters"),
        )
        groups.append(group)
    return CheckerboardWalk(groups, select)


def _channel_context(model: Elic2022Official, k: int) -> Callable[[Array], Array]:
    layers = model.latent_codec["y"].channel_context[f"y{k}"]
    return exact_sequence(layers, f"latent_codec.y.channel_context.y{k}")
