"""Parts of codecs by what they are for, and weights from one to another."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from compressai.layers import CheckerboardMaskedConv2d, MaskedConv2d
from compressai.models import Elic2022Official
from torch import nn

from paoncodec.codecs import ELICPaon, MBTPaon
from paoncodec.codecs.transfer import copy_part, parts
from paoncodec.layers import (
    CausalConv2d,
    CheckerboardPaLaConv2d,
    PaLaConv2d,
    PaLaConvTranspose2d,
    PredictedShift,
)

PAIRS: list[tuple[nn.Module, nn.Module]] = [
    (nn.Conv2d(3, 4, 5, 2, 2), PaLaConv2d(3, 4, 5, 2, padding_mode="zeros")),
    (nn.Conv2d(3, 4, 1), PaLaConv2d(3, 4, 1, shift=PredictedShift())),
    (
        nn.ConvTranspose2d(3, 4, 5, 2, 2, output_padding=1),
        PaLaConvTranspose2d(3, 4, 5, 2, shift=PredictedShift(), padding_mode="zeros"),
    ),
    (CheckerboardMaskedConv2d(3, 4, 5, padding=2), CheckerboardPaLaConv2d(3, 4)),
    (CheckerboardMaskedConv2d(3, 4, 5, padding=2), CheckerboardPaLaConv2d(3, 4, degrees=(1, 0))),
    (MaskedConv2d(3, 4, 5, padding=2), CausalConv2d(3, 4)),
    (PaLaConv2d(3, 4, 3), PaLaConv2d(3, 4, 3, shift=PredictedShift())),
]


@pytest.mark.parametrize(("source", "target"), PAIRS, ids=lambda m: type(m).__name__)
@torch.no_grad()
def test_a_part_computes_what_the_other_does(source: nn.Module, target: nn.Module) -> None:
    torch.manual_seed(0)
    for parameter in source.parameters():
        parameter.normal_()
    x = torch.randn(2, 3, 6, 7)
    wanted = source(x)
    copy_part(source, target)
    torch.testing.assert_close(target(x), wanted, rtol=1e-5, atol=1e-5)
    assert torch.equal(source(x), wanted)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (nn.Conv2d(3, 1, 3), nn.Conv2d(3, 4, 3)),  # copying would repeat it
        (nn.Conv2d(3, 4, 3), PaLaConv2d(3, 4, 5)),
        (nn.Conv2d(3, 4, 3), nn.PReLU(4)),
        (nn.PReLU(4), nn.Conv2d(3, 4, 3)),
        (PaLaConv2d(3, 4, 3), nn.Conv2d(3, 4, 3)),
    ],
)
def test_parts_that_do_not_fit(source: nn.Module, target: nn.Module) -> None:
    with pytest.raises(ValueError, match=r"is wanted|cannot have the weights"):
        copy_part(source, target)


def test_a_convolution_without_biases_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot have the weights"):
        copy_part(nn.Conv2d(3, 4, 3, bias=False), nn.Conv2d(3, 4, 3))


@pytest.mark.parametrize(
    ("make", "fewer", "more"),
    [
        (MBTPaon, {"gdn": False}, {"gdn": True, "shift": "static"}),
        (ELICPaon, {"blocks": 1}, {"blocks": 3, "relu": True, "attention": True}),
    ],
)
def test_places_do_not_depend_on_what_stands_between(
    make: type[MBTPaon | ELICPaon], fewer: dict[str, Any], more: dict[str, Any]
) -> None:
    sizes = {"N": 4, "M": 6, **({"groups": (2, 4)} if make is ELICPaon else {})}
    small, large = parts(make(**sizes, **fewer)), parts(make(**sizes, **more))
    assert small.keys() < large.keys()
    for place, part in small.items():
        names = {n.replace("weight", "numerator") for n, _ in part.named_parameters()}
        wanted = {n.replace("weight", "numerator") for n, _ in large[place].named_parameters()}
        one, other = (
            {n for n in found if not n.startswith("shifter") and n != "denominator"}
            for found in (names, wanted)
        )
        assert one == other
    total = sum(p.numel() for part in large.values() for p in part.parameters())
    assert total == sum(p.numel() for p in make(**sizes, **more).parameters())


def test_compressais_elic_has_the_places_of_ours() -> None:
    ours = ELICPaon(4, 6, groups=(2, 4), blocks=3, relu=True)
    assert parts(ours).keys() == parts(Elic2022Official(4, 6, [2, 4])).keys()
