"""Coders from weights files: they code as the models do that CompressAI has a part in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from paoncodec.codecs import ARCHITECTURES, build, load_weights, save_weights
from paoncodec.coding import CODERS, ExactCodec, load_coder
from paoncodec.errors import WeightsError

MBT = {"N": 4, "M": 6, "hyper_width": 5, "context_width": 7}
ELIC = {"N": 4, "M": 12, "groups": [4, 8], "channel_widths": [6], "channel_kernels": [3, 1]}
FORMS: list[tuple[str, dict[str, Any]]] = [
    ("mbt-paon", {**MBT, "shift": "static", "gdn": True, "variable_rate": True}),
    ("mbt-2018", MBT),
    ("elic-paon", {**ELIC, "relu": True, "padding": "zeros", "shift": "predicted"}),
    ("elic-2022", ELIC),
]


def saved(arch: str, options: dict[str, Any], folder: Path) -> Path:
    torch.manual_seed(0)
    model = build(arch, options)
    for layer in model.predictors():
        nn.init.normal_(layer.weight)
    save_weights(model, folder / "weights.safetensors", arch, {"lmbda": "0.013"}, half=True)
    return folder / "weights.safetensors"


def coded(codec: ExactCodec, x: Tensor, rate: dict[str, float]) -> tuple[Any, Tensor]:
    there = codec.compress(x, **rate)
    back = codec.decompress(there["strings"], there["shape"], **rate)
    assert back["digests"] == there["digests"]
    return there, back["x_hat"]


def test_there_is_a_coder_of_every_architecture() -> None:
    assert list(CODERS) == list(ARCHITECTURES)
    for name, architecture in ARCHITECTURES.items():
        assert issubclass(architecture, CODERS[name])


@pytest.mark.parametrize(("arch", "options"), FORMS)
@torch.inference_mode()
def test_a_coder_codes_as_the_model_does(
    arch: str, options: dict[str, Any], tmp_path: Path
) -> None:
    path = saved(arch, options, tmp_path)
    model, _ = load_weights(path)
    coder = load_coder(path)
    assert type(coder) is CODERS[arch]
    assert coder.config == model.config
    assert not coder.training
    assert not any(parameter.requires_grad for parameter in coder.parameters())
    # What it is saved as does not tell how it lies in memory.
    save_file(model.state_dict(), tmp_path / "copy.safetensors")
    copy = load_file(tmp_path / "copy.safetensors")
    assert all(torch.equal(copy[name], tensor) for name, tensor in model.state_dict().items())
    kernels = [p for p in (*coder.g_a.parameters(), *coder.g_s.parameters()) if p.ndim == 4]
    assert all(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels)
    # All that it has are the model's, under the same names.
    theirs = model.state_dict()
    for name, tensor in coder.state_dict().items():
        assert torch.equal(tensor, theirs[name])
    rate = {"quality": 2.5} if options.get("variable_rate") else {}
    x = 50 * torch.rand(1, 3, 64, 128)  # brighter than white, for latents beyond 0
    (ours, picture), (expected, expected_picture) = (coded(c, x, rate) for c in (coder, model))
    assert ours == expected
    assert len(ours["strings"][0][0]) > 100
    assert torch.equal(picture, expected_picture)


@pytest.mark.parametrize(
    ("end", "other"),
    [
        ("quantiles", None),
        ("h_s.2.bias", None),
        ("z_tables.offsets", None),
        ("h_a.4.bias", torch.zeros(77)),
    ],
)
def test_a_file_that_does_not_fit_is_refused(
    end: str, other: Tensor | None, tmp_path: Path
) -> None:
    path = saved(*FORMS[0], tmp_path)
    tensors = load_file(path)
    [name] = [name for name in tensors if name.endswith(end)]
    tensors.pop(name)
    if other is not None:
        tensors[name] = other
    save_file(tensors, path, {"arch": "mbt-paon", "lmbda": "0.013"})
    with pytest.raises(WeightsError, match="not weights of a paoncodec model") as refusal:
        load_coder(path)
    assert str(refusal.value).count("\n") == 0


def test_what_the_file_should_not_have_is_refused(tmp_path: Path) -> None:
    path = saved(*FORMS[2], tmp_path)
    tensors = {**load_file(path), "latent_codec.y.latent_codec.y0.more": torch.zeros(1)}
    save_file(tensors, path, {"arch": "elic-paon", "lmbda": "0.013"})
    with pytest.raises(WeightsError, match=r"y0\.more"):
        load_coder(path)
