"""The figures of trainings of super-resolution: table, curves, crops."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from paoncodec.errors import ImageError, UsageError
from paoncodec.images import read_image
from paoncodec.vision.superres import build, save_weights


@pytest.fixture
def script(tool):
    return tool("superres_figures")


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """Two runs as training leaves them, untrained."""
    made = []
    for number, name in enumerate(("resnet", "padenet-id")):
        torch.manual_seed(number)
        path = tmp_path / name
        path.mkdir()
        model = build(name, {"channels": 4, "blocks": 1, "scale": 2})
        save_weights(model, path / "best.safetensors", name, {})
        records = [
            {"step": 50, "seconds": 30.0, "loss": 0.1, "psnr": 20.0},
            {"step": 50, "seconds": 30.0, "validation_loss": 0.01, "validation_psnr": 20.0},
            {"step": 100, "seconds": 60.0, "validation_loss": 0.005, "validation_psnr": 23.0},
        ]
        (path / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
        made.append(path)
    return made


def result(name: str, dataset: str, psnr: float) -> dict:
    means = {"psnr-rgb": psnr, "psnr-y": psnr + 1, "ssim-y": 0.9}
    return {"name": name, "scale": 4, "dataset": {"name": dataset}, "results": means}


def test_the_table_has_a_row_for_each_model(script) -> None:
    found = [
        result("bicubic", "set5", 26.7),
        result("padenet-id", "set5", 28.2),
        result("padenet-id", "bsd100", 25.5),
    ]
    assert script.table(found).splitlines()[2:] == [
        "| bicubic ×4 | – | 26.70, 27.70, 0.9000 |",
        "| padenet-id ×4 | 25.50, 26.50, 0.9000 | 28.20, 29.20, 0.9000 |",
    ]


def test_curves_and_crops_are_drawn(script, runs, pictures, tmp_path, capsys) -> None:
    results = tmp_path / "a.json"
    results.write_text(json.dumps(result("bicubic", "set5", 26.7)))
    words = ["--results", results, "--runs", *runs, "--picture", pictures / "a.png"]
    script.main([*map(str, words), "--box", "4", "2", "32", "--out", str(tmp_path / "out")])
    assert "| bicubic ×4 | 26.70" in capsys.readouterr().out
    assert (tmp_path / "out" / "superres_curves.png").read_bytes().startswith(b"\x89PNG")
    sheet = read_image(tmp_path / "out" / "superres_crops.png")
    assert sheet.shape == (2 * script.LINE + script.SIDE + 20, 4 * (script.SIDE + 10) + 10, 3)


def test_what_cannot_be_drawn(script, runs, pictures, tmp_path) -> None:
    words = ["--runs", *runs, "--picture", pictures / "a.png", "--out", tmp_path / "out"]
    with pytest.raises(ImageError, match="not inside"):
        script.main([*map(str, words), "--box", "60", "0", "64"])
    save_weights(build("resnet", {"channels": 4}), runs[0] / "best.safetensors", "resnet", {})
    with pytest.raises(UsageError, match="one scale"):
        script.main(list(map(str, words)))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="not the directory of a run"):
        script.main(["--runs", str(tmp_path / "empty"), "--out", str(tmp_path)])


def test_a_folder_is_asked_for(script, tmp_path) -> None:
    (tmp_path / "metrics.jsonl").touch()
    with pytest.raises(UsageError, match="no --out"):
        script.main(["--runs", str(tmp_path)])
