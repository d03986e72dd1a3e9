"""CompressAI's command line says of our models what we say."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from compressai.registry import MODELS
from PIL import Image

from paoncodec.codecs import ARCHITECTURES, build, load_weights
from paoncodec.errors import WeightsError
from paoncodec.evaluation import compressai_eval
from paoncodec.evaluation.coders import PaonCoder
from paoncodec.evaluation.runs import Options, evaluate, settings_of

SIZES: dict[str, dict[str, Any]] = {
    "mbt-paon": {"N": 8, "M": 12, "shift": "predicted"},
    "elic-paon": {"N": 6, "M": 12, "groups": (4, 8), "channel_widths": (8,)},
}
SIZES["elic-paon"]["channel_kernels"] = (3, 3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures large enough for MS-SSIM; others than multiples of 64 CompressAI pads otherwise."""
    folder = tmp_path_factory.mktemp("large")
    for name, (height, width) in {"a": (192, 192), "b": (192, 256)}.items():
        y, x = np.mgrid[:height, :width][..., None] / 11
        pixels = 120 + 90 * np.sin(x + np.arange(3)) * np.cos(y)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{name}.png")
    return folder


@pytest.fixture(scope="module", params=SIZES)
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`<architecture>.pth.tar` as CompressAI's training saves it, with latents that are not 0."""
    torch.manual_seed(0)
    model = build(request.param, SIZES[request.param])
    with torch.no_grad():
        last = [m for m in model.g_a.children() if m._parameters][-1]
        for parameter in last.parameters():
            parameter.mul_(20)
    path = tmp_path_factory.mktemp("checkpoint") / f"{request.param}.pth.tar"
    torch.save({"epoch": 1, "state_dict": model.state_dict()}, path)
    return path


@pytest.fixture(scope="module")
def measured(checkpoint: Path, folder: Path) -> dict[str, Any]:
    """What `paoncodec eval` finds of the checkpoint."""
    images = {path.name: path for path in sorted(folder.glob("*.png"))}
    return evaluate(images, settings_of([PaonCoder(str(checkpoint))]), Options())


def words(checkpoint: Path, folder: Path, *options: str) -> list[str]:
    arch = checkpoint.name.removesuffix(".pth.tar")
    return ["checkpoint", str(folder), "-a", arch, "-p", str(checkpoint), *options]


def figures(said: str) -> dict[str, float]:
    """What the command prints."""
    return {key: value for key, [value] in json.loads(said)["results"].items()}


@pytest.fixture
def own_zoo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """CompressAI's tables, and the number of threads that its command changes, for one test."""
    from compressai.zoo import image, image_models

    threads = torch.get_num_threads()
    architectures, models = dict(image.model_architectures), dict(image_models)
    yield
    torch.set_num_threads(threads)
    for table, before in ((image.model_architectures, architectures), (image_models, models)):
        table.clear()
        table.update(before)


@pytest.mark.usefixtures("own_zoo")
@pytest.mark.filterwarnings("ignore")  # of what CompressAI imports, and that tables are made
def test_real_files_have_the_same_bits_and_pictures(
    checkpoint: Path, folder: Path, measured: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    ours = {key: values[0] for key, values in measured["results"].items()}
    compressai_eval.main(words(checkpoint, folder))
    expected = figures(capsys.readouterr().out)
    assert expected["bpp"] > 0.05
    assert ours["payload-bpp"] == pytest.approx(expected["bpp"], abs=1e-9)
    assert ours["psnr-rgb"] == pytest.approx(expected["psnr-rgb"], abs=1e-4)
    assert ours["ms-ssim-rgb"] == pytest.approx(expected["ms-ssim-rgb"], abs=1e-6)
    pixels = sum(row["width"] * row["height"] for row in measured["images"]) / 2
    assert 0 < ours["bpp"] - expected["bpp"] < 8 * 80 / pixels


@pytest.mark.usefixtures("own_zoo")
@pytest.mark.filterwarnings("ignore")  # of what CompressAI imports
@torch.no_grad()
def test_estimates_are_ours(
    checkpoint: Path, folder: Path, measured: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    ours = {key: values[0] for key, values in measured["results"].items()}
    compressai_eval.main(words(checkpoint, folder, "--entropy-estimation"))
    found = figures(capsys.readouterr().out)
    assert found["bpp"] == pytest.approx(ours["estimated-bpp"], rel=1e-5)
    assert found["psnr-rgb"] == pytest.approx(ours["psnr-rgb"], abs=1e-4)
    assert found["ms-ssim-rgb"] == pytest.approx(ours["ms-ssim-rgb"], abs=1e-6)


@pytest.mark.usefixtures("own_zoo")
@pytest.mark.filterwarnings("ignore")
def test_it_is_a_command(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mbt-paon.pth.tar"
    torch.save(build("mbt-paon", SIZES["mbt-paon"]).state_dict(), path)
    arguments = words(path, folder)
    command = [sys.executable, "-m", "paoncodec.evaluation.compressai_eval", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    compressai_eval.main(arguments)
    here = figures(capsys.readouterr().out)
    for name in ("bpp", "psnr-rgb", "ms-ssim-rgb"):
        assert figures(done.stdout)[name] == pytest.approx(here[name], rel=1e-6)


@pytest.mark.usefixtures("own_zoo")
@pytest.mark.filterwarnings("ignore")  # of what CompressAI imports
@torch.no_grad()
def test_without_tables_estimates_are_those_of_forward(
    checkpoint: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, _ = load_weights(checkpoint)
    bpp = []
    for path in sorted(folder.glob("*.png")):
        x = torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1)[None] / 255
        bits = -sum(part.log2().sum().item() for part in model(x)["likelihoods"].values())
        bpp.append(bits / x[0, 0].numel())
    compressai_eval.main(words(checkpoint, folder, "--entropy-estimation", "--no-update"))
    assert figures(capsys.readouterr().out)["bpp"] == pytest.approx(np.mean(bpp), rel=1e-5)


@pytest.mark.usefixtures("own_zoo")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n", b"PK\x03\x04"])
def test_a_file_that_is_no_checkpoint_is_refused(
    content: bytes, folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "mbt-paon.pth.tar"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"mbt-paon\.pth\.tar: not a checkpoint"):
        compressai_eval.main(words(path, folder))


@pytest.mark.usefixtures("own_zoo")
@pytest.mark.filterwarnings("ignore")
def test_a_checkpoint_of_another_architecture_is_refused(
    checkpoint: Path, folder: Path, tmp_path: Path
) -> None:
    other = next(arch for arch in SIZES if not checkpoint.name.startswith(arch))
    path = tmp_path / f"{other}.pth.tar"
    path.write_bytes(checkpoint.read_bytes())
    with pytest.raises(WeightsError, match=rf"{other}\.pth\.tar: not weights"):
        compressai_eval.main(words(path, folder))


@pytest.mark.usefixtures("own_zoo")
def test_all_of_ours_are_known_by_name() -> None:
    from compressai.zoo import image, image_models

    before = set(image_models)
    compressai_eval.add_to_zoo()
    for name, model in ARCHITECTURES.items():
        assert MODELS[name] is model
        groups = {"groups": (4, 8)} if name.startswith("elic") else {}
        state = build(name, {"N": 6, "M": 12, **groups}).state_dict()
        assert type(image.model_architectures[name].from_state_dict(state)) is model
        with pytest.raises(SystemExit, match="evaluate a `checkpoint`"):
            image_models[name](quality=1, metric="mse", pretrained=True, progress=False)
    assert before.isdisjoint(ARCHITECTURES)
    assert set(image_models) == before | set(ARCHITECTURES)
