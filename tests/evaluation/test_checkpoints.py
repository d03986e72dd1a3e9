"""CompressAI's checkpoints are measured as CompressAI measures them."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from paoncodec import codecs
from paoncodec.errors import MalformedStream, UsageError, WeightsError
from paoncodec.evaluation.checkpoints import CheckpointCoder
from paoncodec.evaluation.coders import PaonCoder
from paoncodec.evaluation.runs import Options, evaluate, settings_of


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A mean-scale hyperprior that has learned nothing, as CompressAI's training saves it."""
    from compressai.models import MeanScaleHyperprior

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("checkpoint") / "tiny.pth.tar"
    torch.save({"epoch": 1, "state_dict": MeanScaleHyperprior(8, 12).state_dict()}, path)
    return str(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Two pictures large enough for MS-SSIM, with sides that are multiples of 64 and not."""
    folder = tmp_path_factory.mktemp("large")
    for name, (height, width) in {"a": (192, 192), "b": (170, 200)}.items():
        y, x = np.mgrid[:height, :width][..., None] / 11
        pixels = 120 + 90 * np.sin(x + np.arange(3)) * np.cos(y)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{name}.png")
    return folder


def theirs(model, folder: Path) -> dict:
    """What CompressAI's eval_model says."""
    threads = torch.get_num_threads()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from compressai.utils.eval_model import __main__ as eval_model
    torch.set_num_threads(threads)  # which importing it changes
    options = {"architecture": "mbt2018", "half": False, "per_image": False}
    images = sorted(folder.glob("*.png"))
    return eval_model.eval_model(model, Path(), folder, images, **options)


def ours(coder, folder: Path) -> dict:
    images = {path.name: path for path in sorted(folder.glob("*.png"))}
    return evaluate(images, settings_of([coder]), Options())


def test_eval_model_says_the_same_of_a_checkpoint(checkpoint, folder):
    from compressai.models import MeanScaleHyperprior

    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    model = MeanScaleHyperprior.from_state_dict(state)
    model.update(force=True)
    expected = theirs(model.eval(), folder)
    result = ours(CheckpointCoder("mbt2018-mean", checkpoint), folder)
    figures = {key: values[0] for key, values in result["results"].items()}
    assert figures["payload-bpp"] == pytest.approx(expected["bpp"], abs=1e-9)
    assert figures["psnr-rgb"] == pytest.approx(expected["psnr-rgb"], abs=1e-4)
    assert figures["ms-ssim-rgb"] == pytest.approx(expected["ms-ssim-rgb"], abs=1e-6)
    pixels = sum(row["width"] * row["height"] for row in result["images"]) / 2
    assert figures["payload-bpp"] < figures["bpp"] < figures["payload-bpp"] + 8 * 40 / pixels
    assert 0 < figures["estimated-bpp"] < figures["payload-bpp"]
    assert figures["payload-bpp"] - figures["estimated-bpp"] < 8 * 32 / pixels


def test_eval_model_says_the_same_of_our_weights(tiny_weights, folder):
    (folder / "b.png").rename(folder / "b.off")  # padded otherwise: ours to right and below
    try:
        model, _ = codecs.load_weights(tiny_weights)
        expected = theirs(model, folder)
        figures = ours(PaonCoder(str(tiny_weights)), folder)["results"]
    finally:
        (folder / "b.off").rename(folder / "b.png")
    assert figures["payload-bpp"][0] == pytest.approx(expected["bpp"], abs=1e-9)
    assert figures["psnr-rgb"][0] == pytest.approx(expected["psnr-rgb"], abs=1e-4)


def test_eval_model_says_the_same_of_elic(tmp_path, folder):
    """Whose latents have a shape each, and whose groups may be any."""
    from compressai.models import Elic2022Official

    torch.manual_seed(0)
    model = Elic2022Official(8, 24, [8, 16])
    torch.save(model.state_dict(), tmp_path / "elic.pth.tar")
    model.update(force=True)
    expected = theirs(model.eval(), folder)
    figures = ours(CheckpointCoder("elic2022-official", str(tmp_path / "elic.pth.tar")), folder)
    assert not figures["failures"]
    results = figures["results"]
    assert results["payload-bpp"][0] == pytest.approx(expected["bpp"], abs=1e-9)
    assert results["psnr-rgb"][0] == pytest.approx(expected["psnr-rgb"], abs=1e-4)


def test_a_grey_picture(checkpoint, tmp_path):
    coder = CheckpointCoder("mbt2018-mean", checkpoint)
    data = coder.encode(np.full((20, 30, 1), 90, np.uint8), 1.0)
    (tmp_path / "x.cai").write_bytes(data)
    assert coder.decode(tmp_path / "x.cai").shape == (20, 30, 3)


@pytest.mark.parametrize("cut", [3, 20, -1])
def test_a_file_cut_short_is_refused(checkpoint, tmp_path, cut):
    coder = CheckpointCoder("mbt2018-mean", checkpoint)
    data = coder.encode(np.zeros((64, 64, 3), np.uint8), 1.0)
    (tmp_path / "x.cai").write_bytes(data[:cut])
    with pytest.raises(MalformedStream):
        coder.decode(tmp_path / "x.cai")


def test_an_architecture_that_compressai_lacks(checkpoint):
    with pytest.raises(UsageError, match="mbt2018-mean"):
        CheckpointCoder("mbt2099", checkpoint).describe()


def test_a_checkpoint_of_something_else(tmp_path, checkpoint):
    with pytest.raises(WeightsError, match=r"none\.pth: not a checkpoint"):
        CheckpointCoder("mbt2018", str(tmp_path / "none.pth")).describe()
    torch.save({0: torch.zeros(1)}, tmp_path / "numbered.pth")
    with pytest.raises(WeightsError, match=r"numbered\.pth: not a checkpoint .*no state dict"):
        CheckpointCoder("mbt2018", str(tmp_path / "numbered.pth")).describe()
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=r"other\.pth: not a checkpoint of mbt2018"):
        CheckpointCoder("mbt2018", str(tmp_path / "other.pth")).describe()
