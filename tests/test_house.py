"""The order of the house: an import points to a part of smaller number, and to nothing else."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import paoncodec

HOUSE = Path(paoncodec.__file__).parent

# The parts as docs and design number them; the package's own __init__ is "".
LEVELS = {
    "": 0,
    "errors": 0,
    "quality": 0,
    "region": 0,
    "bitstream": 1,
    "cards": 1,
    "layers": 1,
    "images": 1,
    "memory": 1,
    "tensors": 1,
    "entropy": 2,
    "training": 2,
    "coding": 3,
    "codecs": 4,
    "vision": 4,
    "beside": 5,
    "pixels": 5,
    "targets": 5,
    "zoo": 5,
    "decoding": 6,
    "encoding": 7,
    "api": 8,
    "vision_zoo": 8,
    "evaluation": 9,
    "pillow": 9,
    "cli": 10,
    "__main__": 11,
}

# What a part may not load when it is imported: these are heavy, and `--help`, `info` and the
# refusal of a bad file do without them.
KEPT_OUT = {
    "paoncodec": {"torch", "numpy", "PIL", "compressai"},
    "paoncodec.errors": {"torch", "numpy", "PIL", "compressai"},
    "paoncodec.quality": {"torch", "numpy", "PIL", "compressai"},
    "paoncodec.bitstream": {"torch", "numpy", "PIL", "compressai"},
    "paoncodec.images": {"torch", "compressai"},
    "paoncodec.pillow": {"torch", "compressai"},
    "paoncodec.cli": {"torch", "numpy", "compressai"},
}


def modules() -> list[Path]:
    return sorted(HOUSE.rglob("*.py"))


def dotted(path: Path) -> str:
    """paoncodec/images/reading.py → paoncodec.images.reading; a package's __init__ → itself."""
    parts = path.relative_to(HOUSE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def part(name: str) -> str:
    """paoncodec.images.reading → images; paoncodec → ""."""
    return [*name.split("."), ""][1]


def imports(source: str, package: str) -> Iterator[tuple[str, bool]]:
    """Each name of ours that a module imports, and whether it does so inside a function.

    Args:
        source: the module's text.
        package: the package it is in, from which relative imports count.
    """
    tree = ast.parse(source)
    lazy = {
        id(inner)
        for outer in ast.walk(tree)
        if isinstance(outer, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for inner in ast.walk(outer)
    }
    for node in ast.walk(tree):
        for name in imported_names(node, package):
            if name.split(".")[0] == "paoncodec":
                yield name, id(node) in lazy


def imported_names(node: ast.AST, package: str) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        upward = package.split(".")[: len(package.split(".")) - node.level + 1]
        base = ".".join([*(upward if node.level else []), *filter(None, [node.module])])
        return [f"{base}.{alias.name}" for alias in node.names]
    if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
        called = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        called = node.func.id if isinstance(node.func, ast.Name) else called
        value = node.args[0].value
        if called in ("import_module", "__import__") and isinstance(value, str):
            return [package + value if value.startswith(".") else value]
    return []


def target(name: str) -> str:
    """The part an imported name belongs to; what is no part is a name of the package itself."""
    return part(name) if part(name) in LEVELS else ""


def breaches(module: str, package: str, source: str) -> list[str]:
    """The imports of one module that the order forbids."""
    own = part(module)
    return [
        f"{module} ({LEVELS[own]}) imports {name} ({LEVELS[target(name)]})"
        for name, inside_function in imports(source, package)
        if target(name) != own
        and LEVELS[target(name)] >= LEVELS[own]
        # The package's __init__ gives encode and decode on first use.
        and not (module == "paoncodec" and inside_function)
    ]


@pytest.mark.parametrize("path", modules(), ids=dotted)
def test_imports_point_down(path: Path) -> None:
    module = dotted(path)
    assert part(module) in LEVELS, f"{module} has no place in the house"
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    assert breaches(module, package, path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("paoncodec.bitstream.header", "from paoncodec.images import read_image"),
        ("paoncodec.bitstream.header", "def f():\n    import paoncodec.api"),
        ("paoncodec.codecs.mbt", "from paoncodec.vision.superres import models"),
        ("paoncodec.vision.data", "from ..codecs import mbt"),
        ("paoncodec.entropy.walk", "from .. import training"),
        ("paoncodec.api", "import importlib\nimportlib.import_module('paoncodec.cli')"),
        ("paoncodec.errors", "from paoncodec import zoo"),
        ("paoncodec.zoo", "from paoncodec.api import encode"),
    ],
)
def test_an_import_that_points_up_or_aside_is_found(module: str, source: str) -> None:
    assert len(breaches(module, module.rpartition(".")[0], source)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("paoncodec.cli.encode", "from paoncodec import __version__, api"),
        ("paoncodec.codecs.mbt", "from . import rate\nfrom ..entropy.walk import walk"),
        ("paoncodec.zoo", "import torch, json\nfrom paoncodec.errors import WeightsError"),
        ("paoncodec", "def __getattr__(name):\n    from paoncodec import api"),
    ],
)
def test_an_import_that_points_down_is_allowed(module: str, source: str) -> None:
    package = module if module == "paoncodec" else module.rpartition(".")[0]
    assert breaches(module, package, source) == []


@pytest.mark.parametrize("name", KEPT_OUT)
def test_light_parts_load_nothing_heavy(name: str) -> None:
    code = f"import sys, {name}; print(*(n for n in sys.modules if '.' not in n))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(run.stdout.split())
    assert "paoncodec" in loaded
    assert not loaded & KEPT_OUT[name]
