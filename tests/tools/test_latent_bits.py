"""The bits of all parts are those of the model, and right deviations are called right."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from paoncodec import codecs
from paoncodec.errors import UsageError

PHOTO = Path(codecs.__file__).parents[1] / "demo"


@pytest.fixture(scope="module")
def latent_bits(tool):
    return tool("latent_bits")


class Known:
    """Latents that are what its Gaussians say."""

    def distributions(self, x, quality):
        torch.manual_seed(0)
        means, deviations = 9 * torch.randn(1, 20, 64, 64), 2 + torch.rand(1, 20, 64, 64)
        return (means + deviations * torch.randn_like(means)).round(), deviations, means, None


def test_variances_that_are_right_have_a_ratio_of_one(latent_bits):
    parts, pixels = latent_bits.parts_of(Known(), [torch.zeros(3, 64, 64)], None, 16)
    assert pixels == 64 * 64
    for (first, _), part in parts.items():
        assert part.errors / part.variances == pytest.approx(1, abs=0.05)
        assert part.bits / (4 if first else 16) == pytest.approx(3.3 * 64 * 64 / 2, rel=0.05)


def test_the_parts_are_the_whole(latent_bits, capsys):
    name = "mbt-paon-small"
    latent_bits.main([name, "--images", str(PHOTO), "--side", "128"])
    lines = capsys.readouterr().out.splitlines()[2:]
    model, _ = codecs.load_weights(
        Path(codecs.__file__).parents[1] / f"zoo_data/{name}.safetensors"
    )
    (x,) = latent_bits.read(PHOTO, 128)
    with torch.inference_mode():
        y = model(x[None])["likelihoods"]["y"]
    assert len(lines) == 4
    total = sum(float(line.split(" | ")[3]) for line in lines)
    assert total == pytest.approx(-y.log2().sum().item() / 128**2, rel=1e-3)


def test_sides_that_do_not_fit_are_refused(latent_bits):
    with pytest.raises(UsageError, match="multiple of 64"):
        latent_bits.main(["mbt-paon-small", "--images", str(PHOTO), "--side", "100"])
    with pytest.raises(UsageError, match="no picture with sides of 1024"):
        latent_bits.main(["mbt-paon-small", "--images", str(PHOTO), "--side", "1024"])
