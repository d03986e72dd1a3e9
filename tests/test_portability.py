"""A file decodes to the same latents everywhere: threads and instruction sets, process by process.

Each process loads the same weights file and the same y and z from disk (random numbers differ
between instruction sets), encodes them, and decodes one and the same file. What the networks say on
the way is compared too: a rounding error there would change a string only once in a long while.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import paoncodec
from paoncodec.codecs import ELICPaon, MBTPaon, load_weights, save_weights
from paoncodec.coding.exact_codec import ExactCodec
from paoncodec.coding.exact_model import ROUNDINGS

#: An old processor: what torch, oneDNN, MKL, NumPy and OpenBLAS do without newer instructions.
BASELINE = {
    "ATEN_CPU_CAPABILITY": "default",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
    "NPY_DISABLE_CPU_FEATURES": "SSSE3 SSE41 POPCNT SSE42 AVX F16C FMA3 AVX2 AVX512F AVX512_SKX",
    "OPENBLAS_CORETYPE": "Prescott",
}
MACHINES = {
    f"{name}, {threads} thread(s)": {
        **settings,
        **{f"{library}_NUM_THREADS": str(threads) for library in ("OMP", "MKL", "OPENBLAS")},
    }
    for name, settings in (("default", {}), ("baseline", BASELINE))
    for threads in (1, 2)
}

PROCESS = """
import hashlib, json, sys
from pathlib import Path
import numpy as np, torch
from paoncodec.coding import exact_model, load_coder

class Listening(exact_model.TableSelector):
    def __call__(self, deviations, means):
        for values in (deviations, means):
            Listening.said.update((values + 0.0).tobytes())  # no negative zeros
        return super().__call__(deviations, means)

def result(folder):
    Listening.said = hashlib.sha256()
    exact = load_coder(folder / "weights.safetensors").exact()
    y, z = (torch.from_numpy(np.load(folder / name)) for name in ("y.npy", "z.npy"))
    coded = exact.encode(y, z)
    file = [(folder / name).read_bytes() for name in ("y.bin", "z.bin")]
    decoded, digest = exact.decode(*file, tuple(z.shape[1:]))
    return {
        "threads": torch.get_num_threads(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "y string": hashlib.sha256(coded.y).hexdigest(),
        "z string": hashlib.sha256(coded.z).hexdigest(),
        "digests": [coded.digest, digest],
        "networks": Listening.said.hexdigest(),
        "latents": hashlib.sha256(decoded.numpy().astype("<f4").tobytes()).hexdigest(),
        "estimate": exact.estimate(y, z),
    }

exact_model.TableSelector = Listening
print(json.dumps([result(Path(folder)) for folder in sys.argv[1:]]))
"""

#: Architecture, model, y and z.
Coded: TypeAlias = tuple[str, ExactCodec, Tensor, Tensor]


def run_everywhere(folders: list[Path]) -> dict[str, list[dict[str, Any]]]:
    """What each machine makes of each folder; all at once, since most of it is importing torch."""
    home = str(Path(paoncodec.__file__).parent.parent)
    cleared = {name: value for name, value in os.environ.items() if name not in BASELINE}
    processes = {
        name: subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", PROCESS, *map(str, folders)],
            env={**cleared, "PYTHONPATH": home, **settings},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name, settings in MACHINES.items()
    }
    outputs = {name: process.communicate() for name, process in processes.items()}
    for name, process in processes.items():
        assert process.returncode == 0, f"{name}: {outputs[name][1]}"
    return {name: json.loads(out) for name, (out, _) in outputs.items()}


def encode(arch: str, model: ExactCodec, y: Tensor, z: Tensor, folder: Path) -> dict[str, Any]:
    """Encodes into a folder, here; what each machine must say of it."""
    folder.mkdir()
    save_weights(model, folder / "weights.safetensors", arch, {})
    np.save(folder / "y.npy", y.numpy())
    np.save(folder / "z.npy", z.numpy())
    exact = load_weights(folder / "weights.safetensors")[0].exact()
    coded = exact.encode(y, z)
    (folder / "y.bin").write_bytes(coded.y)
    (folder / "z.bin").write_bytes(coded.z)
    latents = exact.rounded(y, z)[0].numpy().astype("<f4")
    if model.rounding == "integers":
        assert np.array_equal(latents, y.round().clamp(-4095, 4095).numpy())
    return {
        "y string": hashlib.sha256(coded.y).hexdigest(),
        "z string": hashlib.sha256(coded.z).hexdigest(),
        "digests": [coded.digest] * 2,
        "latents": hashlib.sha256(latents.tobytes()).hexdigest(),
    }


def check(models: list[Coded], place: Path) -> None:
    """Encodes latents of each model here, then everywhere, and compares."""
    folders = [place / str(number) for number in range(len(models))]
    expected = [encode(*coded, folder) for coded, folder in zip(models, folders, strict=True)]
    everywhere = run_everywhere(folders)
    for number, wanted in enumerate(expected):
        results = {name: found[number] for name, found in everywhere.items()}
        assert {r.pop("threads") for r in results.values()} == {1, 2}
        capabilities = {name: r.pop("capability") for name, r in results.items()}
        assert {c for name, c in capabilities.items() if "baseline" in name} == {"DEFAULT"}
        estimates = [r.pop("estimate") for r in results.values()]
        assert len({r.pop("networks") for r in results.values()}) == 1
        assert results == dict.fromkeys(MACHINES, wanted)
        for estimate in estimates:
            assert estimate == pytest.approx(estimates[0], rel=1e-9)


def small_mbt() -> Coded:
    torch.manual_seed(0)
    model = MBTPaon(8, 16, shift="none")
    deviations = torch.logspace(-1, 1.5, 16)
    model.entropy_parameters[-1].weight.mul_(3)
    model.entropy_parameters[-1].bias[:16] = deviations
    for layer in (model.h_s[0], model.h_s[2], model.context_prediction):
        layer.weight.mul_(2)
    y = torch.randn(16, 12, 20) * deviations[:, None, None]
    y[torch.rand(y.shape) < 0.01] = 300
    return "mbt-paon", model, y, torch.randn(8, 3, 5) * 4


def small_elic(rounding: str) -> Coded:
    torch.manual_seed(0)
    options = {"channel_widths": (24, 12), "shift": "none", "rounding": rounding}
    model = ELICPaon(8, 16, (2, 4, 10), **options)
    deviations = torch.logspace(-1, 1.5, 16)
    for layer, part in zip(model.predictors(), deviations.split(model.groups), strict=True):
        layer.weight.mul_(3)
        layer.bias[: len(part)] = part
    # Denominators that count: quotients are the only operations here that round by themselves.
    for name, parameter in model.named_parameters():
        if name.startswith("latent_codec.y.") and name.endswith("denominator"):
            parameter.mul_(10)
    y = torch.randn(16, 12, 20) * deviations[:, None, None]
    y[torch.rand(y.shape) < 0.01] = 300
    return "elic-paon", model, y, torch.randn(8, 3, 5) * 4


@torch.no_grad()
def test_small_models(tmp_path: Path) -> None:
    check([small_mbt(), *map(small_elic, ROUNDINGS)], tmp_path)


@pytest.mark.slow
@torch.no_grad()
def test_the_papers_sizes(tmp_path: Path) -> None:
    """N = M = 192 and a picture of 512×768."""
    torch.manual_seed(0)
    model = MBTPaon(192, 192, shift="predicted").eval()
    x = F.interpolate(torch.rand(1, 3, 64, 96), size=(512, 768), mode="bicubic").clamp(0, 1)
    deviations = torch.logspace(-1, 1.3, 192)
    y = model.analysis(x)[0]
    y *= (deviations / y.std(dim=(1, 2)))[:, None, None]
    z = model.h_a(y[None])[0]
    model.entropy_parameters[-1].bias[:192] = deviations
    check([("mbt-paon", model, y, z * (3 / z.std()))], tmp_path)
