"""Vision models by name: found, verified, and never taken for another task's."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import pytest

from paoncodec import zoo
from paoncodec.errors import UsageError, WeightsError
from paoncodec.vision_zoo import (
    VisionCard,
    default_vision,
    folder,
    list_vision_cards,
    resolve_vision,
)


def card(name: str, content: bytes, task: str = "superres") -> dict:
    return {
        "name": name,
        "task": task,
        "network": "some",
        "config": {},
        "sha256": sha256(content).hexdigest(),
        "licence": "CC0-1.0",
        "steps": 5,
        "data": "noise",
        "command": "paoncodec vision train",
        "results": {},
    }


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(zoo, "FOLDER", tmp_path)
    (tmp_path / "vision").mkdir()
    for name, task in (("one", "superres"), ("two", "classification")):
        (tmp_path / "vision" / f"{name}.safetensors").write_bytes(name.encode())
        (tmp_path / "vision" / f"{name}.json").write_text(
            json.dumps(card(name, name.encode(), task))
        )
    return folder()


def test_a_name_is_a_verified_file(place: Path) -> None:
    assert resolve_vision("one", "superres") == place / "one.safetensors"
    assert [c.name for c in list_vision_cards()] == ["one", "two"]
    assert [c.name for c in list_vision_cards("classification")] == ["two"]
    (place / "one.safetensors").write_bytes(b"other")
    with pytest.raises(WeightsError, match=r"'one' are damaged: SHA-256 .*; reinstall"):
        resolve_vision("one", "superres")
    (place / "one.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"'one' are missing .*: reinstall"):
        resolve_vision("one", "superres")


def test_another_task_is_refused(place: Path) -> None:
    with pytest.raises(WeightsError, match="'two' are of --task classification, not superres"):
        resolve_vision("two", "superres")


def test_paths_are_taken_as_they_are(place: Path, tmp_path: Path) -> None:
    path = tmp_path / "own.safetensors"
    path.write_bytes(b"own")
    assert resolve_vision(path, "superres") == path
    with pytest.raises(WeightsError, match=r"no weights 'nowhere': .* this task \(one\)"):
        resolve_vision("nowhere", "superres")
    with pytest.raises(WeightsError, match="none ships"):
        resolve_vision("nowhere", "segmentation")


@pytest.mark.parametrize("wrong", [{"name": "A"}, {"name": "b"}, {"sha256": "1"}, {"colour": 1}])
def test_damaged_cards_are_named(place: Path, wrong: dict) -> None:
    (place / "one.json").write_text(json.dumps({**card("one", b"one"), **wrong}))
    with pytest.raises(WeightsError, match=r"one\.json: damaged card"):
        list_vision_cards()


def test_the_defaults_ship_and_are_of_their_scale() -> None:
    cards = {card.name: card for card in list_vision_cards("superres")}
    for scale in (2, 4):
        assert cards[default_vision("superres", scale)].config["scale"] == scale
    assert default_vision("superres") == default_vision("superres", 4)


@pytest.mark.parametrize(("task", "scale"), [("superres", 3), ("segmentation", None)])
def test_what_has_no_default_says_so(task: str, scale: int | None) -> None:
    with pytest.raises(UsageError, match=f"none ships for --task {task}"):
        default_vision(task, scale)


def test_cards_hold_a_legal_name() -> None:
    with pytest.raises(ValueError, match="legal is 1 to 32"):
        VisionCard(**card("Upper", b""))
