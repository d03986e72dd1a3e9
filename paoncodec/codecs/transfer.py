"""Weights from one codec to another of other layers or options, part by part.

A part is a layer with weights. Its place says what it is for, not where it lies: in a transform
without GDN, with fewer blocks or with Padé layers in place of convolutions the places are the same.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from compressai.layers import GDN
from torch import Tensor, nn

from paoncodec.layers import (
    CAUSAL_TAPS,
    CHECKERBOARD_TAPS,
    CausalConv2d,
    MaskedPaLaConv2d,
    PadeSpec,
)
from paoncodec.layers.base import PaLa
from paoncodec.layers.causal import REACH

#: Such as ("g_a", 2, "block", 0, 1): the second layer of the first block after g_a's second layer.
Place = tuple[str | int, ...]


def parts(model: nn.Module) -> dict[Place, nn.Module]:
    """All layers that have weights, by their places.

    Args:
        model: a codec of ours or of CompressAI, with g_a and g_s.
    """
    found: dict[Place, nn.Module] = {}
    for name, child in model.named_children():
        if name in ("g_a", "g_s"):
            found.update(_of_transform(name, child))
        else:
            found.update(_numbered((name,), child))
    return found


def _of_transform(name: str, layers: nn.Module) -> Iterator[tuple[Place, nn.Module]]:
    stage = block = 0
    for child in layers.children():
        if isinstance(child, GDN):
            yield (name, stage, "gdn"), child
        elif child._parameters:
            stage, block = stage + 1, 0
            yield (name, stage, "layer"), child
        elif hasattr(child, "conv_a"):
            yield from _numbered((name, stage, "attention"), child)
        else:
            yield from _numbered((name, stage, "block", block), child)
            block += 1


def _numbered(place: Place, module: nn.Module) -> Iterator[tuple[Place, nn.Module]]:
    for i, leaf in enumerate(_leaves(module, set())):
        yield (*place, i), leaf


def _leaves(module: nn.Module, seen: set[nn.Module]) -> Iterator[nn.Module]:
    """Modules with parameters of their own; what is below one (its shifter) is part of it."""
    if module in seen:
        return
    seen.add(module)
    if module._parameters:
        yield module
        return
    for child in module.children():
        yield from _leaves(child, seen)


def linear_part(layer: nn.Module) -> tuple[Tensor, Tensor, float]:
    """A layer's weights and biases, and what the weights are multiplied by where it is linear.

    A smooth [1/1] Padé layer halves them: with b = 0 it is y = (a1 ⊛ x + 2 a0) / 2.

    Raises:
        TypeError: no biases.
    """
    bias = layer.bias
    if not isinstance(bias, Tensor):
        raise TypeError("convolutions need biases, which carry the mean colour")
    if isinstance(layer, PaLa):
        halves = layer.spec == PadeSpec(1, 1, "smooth")
        return layer.terms("numerator")[0], bias, 0.5 if halves else 1.0
    return layer.get_parameter("weight"), bias, 1.0


@torch.no_grad()
def copy_part(source: nn.Module, target: nn.Module) -> None:
    """Gives ``target`` the weights of ``source``.

    A Padé layer becomes the convolution that it is given: a1 = 2w, b = 0, a0 the bias. Shifts that
    ``source`` does not have stay as they are.

    Raises:
        ValueError: parts of other shapes or kinds.
    """
    shown = _shown(source, target)
    if isinstance(target, PaLa) and not isinstance(source, PaLa):
        weight, bias, gain = linear_part(target)
        _copy(shown, weight, source)
        weight.div_(gain)
        _copy(source.get_parameter("bias"), bias, source)
        if target.denominator is not None:
            target.denominator.zero_()
        return
    given = {**dict(source.named_parameters()), "weight": shown}
    for name, parameter in target.named_parameters():
        if name in given:
            _copy(given[name], parameter, source)
        elif not name.startswith("shifter."):
            raise ValueError(f"{target!r} cannot have the weights of {source!r}: no {name} there")


def _shown(source: nn.Module, target: nn.Module) -> Tensor | None:
    """The weight of ``source``, of a masked one only what its mask shows: (C_out, C_in, taps)."""
    weight = source._parameters.get("weight")
    if weight is None or not isinstance(source, nn.Conv2d):
        return weight
    if isinstance(target, CausalConv2d):
        taps = CAUSAL_TAPS
    elif isinstance(target, MaskedPaLaConv2d):
        taps = CHECKERBOARD_TAPS
    else:
        return weight
    rows, columns = zip(*taps, strict=True)
    return weight[:, :, torch.tensor(rows) + REACH, torch.tensor(columns) + REACH]


def _copy(given: Tensor | None, into: Tensor, source: nn.Module) -> None:
    if given is None or given.shape != into.shape:  # copying would broadcast
        found = "nothing" if given is None else tuple(given.shape)
        raise ValueError(f"{source!r} has {found} where {tuple(into.shape)} is wanted")
    into.copy_(given)
