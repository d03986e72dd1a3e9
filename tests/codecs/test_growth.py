from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from paoncodec.codecs import MBTPaon, build
from paoncodec.codecs.growth import grow, may_grow
from paoncodec.codecs.starts import linear_start

LMBDA = 0.013
WIDTHS = (8, 12, 16)


def codec(latents: int, **options: Any) -> MBTPaon:
    given = {"widths": WIDTHS, "hyper_width": 8, "shift": "none", "variable_rate": True, **options}
    model = build("mbt-paon", {"N": WIDTHS[0], "M": latents, **given})
    assert isinstance(model, MBTPaon)
    return model.eval()


@pytest.fixture(scope="module")
def images() -> Tensor:
    """Slow waves and some noise: more than the 6 latents below can code."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(24, 3, 16, 16, generator=generator)
    return torch.nn.functional.interpolate(coarse, size=(64, 64), mode="bicubic").clamp(0, 1)


@pytest.fixture(scope="module")
def donor(images: Tensor) -> MBTPaon:
    torch.manual_seed(0)
    model = codec(6)
    linear_start(model, images, LMBDA)
    with torch.no_grad():
        # As after some training: denominators that matter, gains of its own.
        for layer in (*model.g_a, *model.g_s):
            layer.denominator.normal_(0, 0.01)
        model.gain.log_gain.add_(0.1)
    return model


@torch.no_grad()
def error_of(model: MBTPaon, images: Tensor, quality: float = 4) -> float:
    y = model.analysis(images, quality)
    return float((model.synthesis(y.round(), quality) - images).square().mean())


def test_the_old_latents_stay_and_the_new_ones_code_what_they_miss(
    donor: MBTPaon, images: Tensor
) -> None:
    model = codec(12, hyper_width=4)
    grow(model, donor, images)
    with torch.no_grad():
        old, new = donor.analysis(images, 2.5), model.analysis(images, 2.5)
    torch.testing.assert_close(new[:, :6], old)
    assert float(new[:, 6:].std(dim=(0, 2, 3)).min()) > 0
    assert error_of(model, images) < 0.9 * error_of(donor, images)
    assert error_of(model, images, 6) < 0.9 * error_of(donor, images, 6)


def test_without_its_new_latents_it_is_the_old_codec(donor: MBTPaon, images: Tensor) -> None:
    model = codec(7)
    grow(model, donor, images)
    with torch.no_grad():
        y = donor.analysis(images).round()
        padded = torch.cat((y, torch.zeros_like(y[:, :1])), dim=1)
        torch.testing.assert_close(model.synthesis(padded), donor.synthesis(y))


def test_it_trains_from_there(donor: MBTPaon, images: Tensor) -> None:
    model = codec(12)
    grow(model, donor, images)
    assert all(parameter.requires_grad for parameter in model.parameters())
    out = model.train()(images[:2], torch.tensor([1.0, 6.0]))
    (out["x_hat"] - images[:2]).square().mean().backward()
    for weight in (model.g_a[-1].numerator, model.g_s[0].numerator, model.g_s[0].denominator):
        assert float(weight.grad[6:].abs().min(dim=0).values.max()) > 0


@pytest.mark.parametrize(
    ("new", "old"),
    [
        ({"latents": 6}, {"latents": 6}),
        ({"latents": 6}, {"latents": 12}),
        ({"latents": 12, "widths": (8, 12, 20)}, {"latents": 6}),
        ({"latents": 12, "gdn": True}, {"latents": 6, "gdn": True}),
        ({"latents": 12, "variable_rate": False}, {"latents": 6, "variable_rate": False}),
        ({"latents": 12, "variable_rate": False}, {"latents": 6}),
        ({"latents": 12, "shift": "static"}, {"latents": 6}),
    ],
)
def test_what_else_differs_cannot_grow(new: dict[str, Any], old: dict[str, Any]) -> None:
    assert not may_grow(codec(**new), codec(**old))


def test_what_has_other_layers_cannot_grow() -> None:
    sizes = {"N": 8, "variable_rate": True}
    small, large = (build("mbt-2018", {**sizes, "M": m}) for m in (6, 12))
    assert not may_grow(large, small)
    assert not may_grow(codec(12), small)
    assert may_grow(codec(12), codec(6))
