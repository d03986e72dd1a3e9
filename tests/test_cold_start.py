"""A first picture pays for torch, and for nothing of its size beside it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from paoncodec import codecs

#: Each takes a second or more, most are imported by CompressAI.
HEAVY = {
    "compressai",
    "matplotlib",
    "pandas",
    "scipy",
    "sympy",
    "torch._dynamo",
    "torch_geometric",
    "torchvision",
}

#: All that a user does with pictures, under an architecture's weights.
PROGRAM = """
import sys
from PIL import Image
import paoncodec
import paoncodec.pillow
from paoncodec.cli import main

picture = "picture.png"
for weights in sys.argv[1:]:
    data = paoncodec.encode(picture, model=weights)
    assert paoncodec.decode(data, model=weights).size == (70, 40)
    main(["encode", picture, "-o", "x.bin", "--force", "--model", weights], standalone_mode=False)
    main(["decode", "x.bin", "-o", "x.png", "--force", "--model", weights], standalone_mode=False)
    Image.open(picture).save("x.paon", model=weights)
    assert Image.open("x.paon").size == (70, 40)
assert "torch" in sys.modules
print(*sys.modules)
"""


def loaded(program: str, folder: Path, *arguments: Path) -> set[str]:
    """The modules that a new interpreter in a folder says it has in the end."""
    run = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(run.stdout.split())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Image.linear_gradient("L").resize((70, 40)).convert("RGB").save(tmp_path / "picture.png")
    return tmp_path


def test_coding_imports_nothing_heavy(tiny_weights: Path, folder: Path) -> None:
    torch.manual_seed(0)
    elic = folder / "elic.safetensors"
    options = {"N": 4, "M": 12, "groups": [4, 8], "shift": "predicted"}
    codecs.save_weights(codecs.build("elic-paon", options), elic, "elic-paon", {"lmbda": "0.013"})
    modules = loaded(PROGRAM, folder, tiny_weights, elic)
    assert {"torch", "constriction", "paoncodec.coding.elic"} <= modules
    assert not modules & HEAVY
