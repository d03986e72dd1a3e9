"""The start: networks that enlarge by interpolation before they have learned anything."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from paoncodec.errors import UsageError
from paoncodec.vision.superres import NETWORKS, build
from paoncodec.vision.superres.starts import linear_start


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_parabolas_are_enlarged_to_themselves(name: str, scale: int, shared: bool) -> None:
    torch.manual_seed(0)
    model = build(name, {"channels": 8, "blocks": 1, "scale": scale, "shared_upsampler": shared})
    linear_start(model)

    def surface(y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([y, 0.5 * x * x - y, 0.2 + x * y + y * y])

    def grid(count: int) -> torch.Tensor:
        return (torch.arange(count) + 0.5) / count - 0.5

    low = surface(*torch.meshgrid(grid(12), grid(12), indexing="ij"))
    high = surface(*torch.meshgrid(grid(12 * scale), grid(12 * scale), indexing="ij"))
    made = model(low[None])[0].detach()
    inner = slice(2 * scale, -2 * scale)  # the border is replicated, and no parabola
    torch.testing.assert_close(made[:, inner, inner], high[:, inner, inner], rtol=0, atol=1e-5)


def test_it_is_about_as_good_as_bicubic(smooth: np.ndarray) -> None:
    model = build("padenet-id", {"channels": 8, "scale": 2})
    linear_start(model)
    whole = Image.fromarray(smooth[:96, :128])
    small = whole.resize((64, 48), Image.Resampling.BICUBIC)
    x = torch.from_numpy(np.array(small)).permute(2, 0, 1)[None] / 127.5 - 1
    made = ((model(x)[0].permute(1, 2, 0).detach().numpy() + 1) * 127.5).clip(0, 255)
    plain = np.asarray(small.resize((128, 96), Image.Resampling.BICUBIC), float)
    errors = [np.square(picture - np.asarray(whole, float)).mean() for picture in (made, plain)]
    assert errors[0] < 1.1 * errors[1]


@pytest.mark.parametrize("name", NETWORKS)
def test_everything_still_learns(name: str) -> None:
    torch.manual_seed(0)
    model = build(name, {"channels": 8, "blocks": 1, "scale": 2})
    linear_start(model)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(3):
        optimizer.zero_grad()
        (model(torch.rand(2, 3, 8, 8)) - torch.rand(2, 3, 16, 16)).square().mean().backward()
        optimizer.step()
    dead = [n for n, p in model.named_parameters() if not p.grad.any()]
    assert dead == []


def test_few_features_are_refused() -> None:
    with pytest.raises(UsageError, match="it takes 6"):
        linear_start(build("resnet", {"channels": 5}))
