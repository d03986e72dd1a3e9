"""`paoncodec zoo`: the cards, and weights that are not what they say."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from paoncodec import codecs, zoo
from paoncodec.evaluation.zoo_check import check, observe


def card(name, digest, **changes):
    return {
        "name": name,
        "arch": "mbt-paon",
        "config": {"N": 8},
        "quality": 4.0,
        "lmbda": 0.013,
        "metric": "mse",
        "sha256": digest,
        "licence": "CC0-1.0",
        "steps": 100,
        "data": "noise",
        "command": "paoncodec train",
        "results": {"kodak": {"images": 24, "bpp": 0.5, "psnr": 30.0}},
        **changes,
    }


@pytest.fixture(scope="module")
def shipped(tmp_path_factory, tiny_weights, variable_weights):
    """A zoo of two models with all that belongs to them."""
    folder = tmp_path_factory.mktemp("zoo")
    for name, source, changes in (
        ("one", tiny_weights, {}),
        ("all", variable_weights, {"quality": None, "lmbda": None}),
    ):
        path = folder / f"{name}.safetensors"
        shutil.copy(source, path)
        coded, observed = observe(path)
        (folder / f"{name}.bin").write_bytes(coded)
        digest = zoo.resolve(path).sha256
        facts = card(name, digest, check=observed, **changes)
        (folder / f"{name}.json").write_text(json.dumps(facts))
    return folder


@pytest.fixture
def folder(shipped, tmp_path, monkeypatch):
    """A zoo of its own for each test."""
    shutil.copytree(shipped, tmp_path / "zoo")
    monkeypatch.setattr(zoo, "FOLDER", tmp_path / "zoo")
    return tmp_path / "zoo"


def change(folder, name, **changes):
    path = folder / f"{name}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_list(run, folder):
    outcome = run("zoo", "list")
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    first, second = outcome.stdout.decode().splitlines()
    assert first.split("  ")[:2] == ["all", "quality 1 to 6"]
    assert second.split("  ")[:2] == ["one", "quality 4"]
    assert second.endswith("MB  kodak: 0.500 bpp, 30.00 dB")
    cards = json.loads(run("zoo", "list", "--json").stdout)
    assert cards["one"]["lmbda"] == 0.013


def test_show(run, folder):
    page = run("zoo", "show", "all").stdout.decode()
    assert "quality      1 to 6" in page
    assert "kodak        images 24, bpp 0.5, psnr 30" in page
    assert json.loads(run("zoo", "show", "one", "--json").stdout)["name"] == "one"
    outcome = run("zoo", "show", "none")
    assert outcome.exit_code == 5
    assert "no weights 'none' in the zoo: choose one of all, one" in outcome.line


def test_sound_weights(run, folder):
    outcome = run("zoo", "verify")
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    lines = outcome.stdout.decode().splitlines()
    assert len(lines) == 10
    assert all("  ok    " in line for line in lines)
    assert "one  ok    coded here: the very latents that are recorded" in lines
    found = json.loads(run("zoo", "verify", "one", "--json").stdout)
    assert [f["right"] for f in found["one"]] == [True] * 5


def wrong(name):
    """What of the findings is wrong."""
    return [finding.what for finding in check(name) if not finding.right]


def test_a_flipped_bit_in_the_weights(run, folder):
    path = folder / "one.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert wrong("one") == ["weights"]
    outcome = run("zoo", "verify")
    assert outcome.exit_code == 5
    assert "not as their card says: one; reinstall" in outcome.line
    assert b"one  WRONG weights: " in outcome.stdout


def test_weights_of_something_else(folder):
    path = folder / "one.safetensors"
    torch.manual_seed(1)
    model = codecs.build("mbt-paon", {"N": 6, "M": 6, "shift": "none"})
    codecs.save_weights(model, path, "mbt-paon", {"lmbda": "0.013"})
    change(folder, "one", sha256=zoo.resolve(path).sha256)
    assert wrong("one") == ["recorded file", "coded here"]


def test_another_recorded_file(folder):
    shutil.copy(folder / "all.bin", folder / "one.bin")
    assert wrong("one") == ["recorded file"]
    (folder / "one.bin").unlink()
    assert wrong("one") == ["recorded file"]


def test_other_latents_are_right_if_the_figures_are(folder):
    facts = json.loads((folder / "one.json").read_text())["check"]
    change(folder, "one", check={**facts, "latents_crc": "00000000"})
    assert wrong("one") == ["recorded file, latents"]
    change(folder, "one", check={**facts, "latents_crc": "00000000", "psnr": facts["psnr"] + 1})
    assert wrong("one") == ["recorded file, latents", "recorded file, picture", "coded here"]


def test_a_card_without_a_test_picture(folder):
    change(folder, "one", check={})
    assert wrong("one") == ["test picture"]


def test_no_such_weights(run, folder):
    outcome = run("zoo", "verify", "none")
    assert outcome.exit_code == 5
    assert "no weights 'none' in the zoo" in outcome.line
