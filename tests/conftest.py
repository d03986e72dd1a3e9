"""What holds for all tests, and what several of them share."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import settings

from paoncodec.bitstream import Header, SectionKind, write

# A slow machine is no failure, so no deadline for an example; the same examples on every run, so
# that a red test is red for whoever runs it next.
settings.register_profile("paoncodec", deadline=None, derandomize=True)
settings.load_profile("paoncodec")

TOOLS = Path(__file__).resolve().parents[1] / "tools"


TINY = {
    "N": 8,
    "M": 12,
    "widths": (8, 8, 8),
    "hyper_width": 8,
    "hyper_synthesis": (8, 8),
    "hyper_out": 16,
    "context_width": 16,
    "parameter_widths": (16, 16),
    "shift": "none",
}


@pytest.fixture(scope="session", autouse=True)
def _nothing_is_compiled() -> Iterator[None]:
    """Compiling takes longer than any run here is; also in the processes that tests start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCH_COMPILE_DISABLE", "1")
        if "torch._dynamo" not in sys.modules:
            yield
            return
        with sys.modules["torch._dynamo"].config.patch(disable=True):  # it has read the variable
            yield


@pytest.fixture(scope="session", autouse=True)
def _bfloat16_is_native() -> Iterator[None]:
    """What a run does and tells of must not depend on the processor that tests it."""
    from paoncodec.training import engine, precision

    with pytest.MonkeyPatch.context() as patch:
        for module in (engine, precision):
            patch.setattr(module, "emulates_bfloat16", lambda device: False)
        yield


@pytest.fixture(scope="session")
def tool() -> Callable[[str], ModuleType]:
    """Import a script of tools/ by its name, as another script there would."""

    def load(name: str) -> ModuleType:
        sys.path.insert(0, str(TOOLS))
        try:
            return importlib.import_module(name)
        finally:
            sys.path.remove(str(TOOLS))

    return load


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights file of a real codec, untrained and as small as it goes, λ = 0.013."""
    import torch

    from paoncodec import codecs

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    codecs.save_weights(codecs.build("mbt-paon", TINY), path, "mbt-paon", {"lmbda": "0.013"})
    return path


def waves(height: int, width: int) -> np.ndarray:
    """A picture (H, W, 3) of slow waves under a little noise."""
    y, x = np.mgrid[:height, :width] / 40
    planes = [np.sin(3 * y + x), np.cos(2 * x - y), np.sin(x * y)]
    noise = np.random.default_rng(0).normal(size=(height, width, 3))
    return (128 + 90 * np.stack(planes, axis=-1) + 3 * noise).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def smooth() -> np.ndarray:
    """A picture (96, 130, 3) of slow waves under a little noise."""
    return waves(96, 130)


@pytest.fixture(scope="session")
def variable_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of all qualities; its transforms are linear, so a higher quality is a better one."""
    import torch

    from paoncodec import codecs
    from paoncodec.codecs.starts import linear_start

    torch.manual_seed(0)
    options = {**TINY, "N": 12, "M": 48, "widths": (12, 24, 48), "variable_rate": True}
    model = codecs.build("mbt-paon", options)
    pixels = torch.from_numpy(waves(64, 256)).permute(2, 0, 1).float() / 255
    deviations = linear_start(model, torch.stack(pixels.split(64, dim=2)), 0.013)
    with torch.no_grad():
        model.entropy_parameters[-1].bias[:48] = deviations
    path = tmp_path_factory.mktemp("weights") / "variable.safetensors"
    codecs.save_weights(model, path, "mbt-paon", {"lmbda": "variable"})
    return path


@pytest.fixture
def sound_file() -> bytes:
    """A sound `.bin` file whose weights nobody has, and whose payload is no real code."""
    header = Header(
        model="mbt-paon-small",
        weights_id=bytes(range(8)),
        width=48,
        height=32,
        channels=3,
        quality=4.0,
        latents_crc=0x12345678,
    )
    return write(header, {SectionKind.Z: bytes(range(20)), SectionKind.Y: bytes(range(200))})
