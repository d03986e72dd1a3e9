"""Weights by name and by path: what is found, and what is refused."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from paoncodec import zoo
from paoncodec.errors import WeightsError
from paoncodec.quality import quality_of


def write_weights(path: Path, **metadata: str) -> str:
    """A weights file, sound but of no model; its SHA-256."""
    save_file({"w": np.arange(4.0)}, str(path), metadata=metadata)
    return sha256(path.read_bytes()).hexdigest()


def card(name: str, digest: str, **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "arch": "mbt-paon",
        "config": {"N": 24},
        "quality": 4.0,
        "lmbda": 0.013,
        "metric": "mse",
        "sha256": digest,
        "licence": "CC0-1.0",
        "steps": 100,
        "data": "noise",
        "command": "paoncodec train",
        "results": {"kodak": {"bpp": 0.5, "psnr": 30.0}},
    } | changes


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A zoo of one model, `some`."""
    monkeypatch.setattr(zoo, "FOLDER", tmp_path)
    digest = write_weights(tmp_path / "some.safetensors")
    (tmp_path / "some.json").write_text(json.dumps(card("some", digest)))
    return tmp_path


def test_shipped_weights_are_those_of_their_cards() -> None:
    names = [card.name for card in zoo.list_cards()]
    assert "mbt-paon-small" in names
    for name in names:
        weights = zoo.resolve(name)
        assert weights.card is not None
        assert weights.sha256 == weights.card.sha256
        lmbda = weights.card.lmbda
        assert weights.quality == (None if lmbda is None else pytest.approx(quality_of(lmbda)))


def test_a_name_gives_the_verified_file(folder: Path) -> None:
    weights = zoo.resolve("some")
    content = (folder / "some.safetensors").read_bytes()
    assert weights.name == "some"
    assert weights.path == folder / "some.safetensors"
    assert weights.identity == sha256(content).digest()[:8]
    assert weights.quality == 4.0
    assert zoo.list_cards() == (weights.card,)


def test_a_damaged_zoo_file_is_refused_also_after_it_was_sound(folder: Path) -> None:
    zoo.resolve("some")
    path = folder / "some.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.unlink()
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="damaged"):
        zoo.resolve("some")


def test_a_zoo_file_that_is_not_there_is_refused(folder: Path) -> None:
    (folder / "some.safetensors").unlink()
    with pytest.raises(WeightsError, match="missing"):
        zoo.resolve("some")


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"name": "So me"},
        {"quality": 7},
        {"quality": math.nan},
        {"sha256": "abc"},
        {"extra": 1},
        {"lmbda": None},
        {"quality": None},
    ],
)
def test_a_damaged_card_is_refused(folder: Path, change: dict[str, Any]) -> None:
    (folder / "some.json").write_text(json.dumps(card("some", "0" * 64) | change))
    with pytest.raises(WeightsError, match=r"damaged card .*; reinstall"):
        zoo.resolve("some")


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("bestof", "bestof"),
        ("My Weights (2)", "my-weights-2"),
        ("a" * 40, "a" * 32),
        ("\u03bb", "mbt-paon"),
    ],
)
def test_weights_from_elsewhere_are_called_after_their_file(
    tmp_path: Path, stem: str, name: str
) -> None:
    path = tmp_path / f"{stem}.safetensors"
    digest = write_weights(path, arch="mbt-paon", lmbda="0.0067")
    weights = zoo.resolve(str(path))
    assert weights == zoo.Weights(name, path, digest, 3.0)
    assert weights == zoo.resolve(path)


@pytest.mark.parametrize(
    ("folder", "stem", "name"),
    [
        ("lmbda-0.013", "best", "lmbda-0.013-best"),
        ("lmbda-0.013", "last", "lmbda-0.013-last"),
        ("a" * 40, "best", "a" * 27 + "-best"),
        ("\u03bb", "best", "best"),
    ],
)
def test_weights_of_a_run_are_called_after_its_folder_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, stem: str, name: str
) -> None:
    path = tmp_path / folder / f"{stem}.safetensors"
    path.parent.mkdir()
    write_weights(path, arch="mbt-paon", lmbda="0.0067")
    assert zoo.resolve(path).name == name
    monkeypatch.chdir(path.parent)
    assert zoo.resolve(path.name).name == name


def test_a_name_of_the_zoo_goes_before_a_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "here").mkdir()
    monkeypatch.chdir(folder / "here")
    Path("some").write_bytes(b"not weights")
    assert zoo.resolve("some").path == folder / "some.safetensors"
    with pytest.raises(WeightsError, match="not a weights file"):
        zoo.resolve(Path("some"))


@pytest.mark.parametrize("metadata", [{}, {"arch": "a"}, {"arch": "a", "lmbda": "-1"}])
def test_weights_must_say_what_they_are(tmp_path: Path, metadata: dict[str, str]) -> None:
    path = tmp_path / "w.safetensors"
    write_weights(path, **metadata)
    with pytest.raises(WeightsError, match="arch and lmbda"):
        zoo.resolve(path)


def test_unknown_weights_are_refused_with_the_names_there_are(folder: Path) -> None:
    with pytest.raises(WeightsError, match=r"no weights 'nobody': .*\(some\)"):
        zoo.resolve("nobody")


def test_a_file_finds_its_weights(folder: Path, tmp_path: Path) -> None:
    weights = zoo.resolve("some")
    elsewhere = tmp_path / "elsewhere.safetensors"
    write_weights(elsewhere, arch="a", lmbda="0.013")
    other = zoo.resolve(elsewhere)
    assert zoo.find("some", weights.identity) == weights
    assert zoo.find("some", other.identity, given=elsewhere) == other


def test_a_file_without_its_weights_hears_their_name(folder: Path) -> None:
    identity = zoo.resolve("some").identity
    wrong = bytes(8)
    with pytest.raises(WeightsError, match=rf"'gone' with identity {wrong.hex()}, which are not"):
        zoo.find("gone", wrong)
    with pytest.raises(WeightsError, match=rf"those of that name in the zoo have {identity.hex()}"):
        zoo.find("some", wrong)
    with pytest.raises(WeightsError, match=rf"those of some have {identity.hex()}"):
        zoo.find("gone", wrong, given="some")


def test_a_file_cannot_name_weights_outside_the_zoo(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_weights(Path("w.safetensors"), arch="a", lmbda="0.013")
    identity = zoo.resolve(Path("w.safetensors")).identity
    with pytest.raises(WeightsError, match="not in the zoo"):
        zoo.find("w.safetensors", identity)


def test_load_gives_a_model_of_its_own_each_time(tiny_weights: Path) -> None:
    weights = zoo.resolve(tiny_weights)
    first, second = zoo.load(weights), zoo.load(weights)
    assert not first.training
    assert first is not second
    assert all((a == b).all() for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_load_refuses_a_file_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    write_weights(path, arch="mbt-paon", lmbda="0.013")
    with pytest.raises(WeightsError):
        zoo.load(zoo.resolve(path))


def test_finding_weights_takes_no_torch(tiny_weights: Path, tmp_path: Path) -> None:
    shutil.copy(tiny_weights, tmp_path / "w.safetensors")
    code = (
        "import sys; from paoncodec import zoo; zoo.list_cards(); zoo.resolve(sys.argv[1]); "
        "print('torch' in sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "w.safetensors"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == "False"
