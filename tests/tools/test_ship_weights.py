"""From a run's directory to weights and a card that the zoo accepts."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
import torch

import paoncodec
from paoncodec import codecs, zoo
from paoncodec.codecs.recipe import CodecRecipe
from paoncodec.errors import UsageError
from paoncodec.evaluation.zoo_check import PICTURE
from paoncodec.images import psnr, read_image

SMALL = "paoncodec train --arch mbt-paon --preset small --lmbda 0.013"


@pytest.fixture(scope="module")
def shipping(tool):
    return tool("ship_weights")


@pytest.fixture
def run_folder(tmp_path, tiny_weights):
    """A run that validated three times; the second, at step 30, was the best."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "best.safetensors").write_bytes(tiny_weights.read_bytes())
    recipe = CodecRecipe.from_preset("small", "mbt-paon", 0.013, ["/secret/pictures"])
    (folder / "config.json").write_text(json.dumps(asdict(recipe)))
    losses = {20: 3.0, 30: 1.0, 40: 2.0, 50: None}
    records = [
        {"step": step, "seconds": 12.0 * step, "validation_loss": loss}
        for step, loss in losses.items()
    ]
    lines = [json.dumps(record) for record in ({"step": 10, "loss": 0.5}, *records)]
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def ship(shipping, run_folder, zoo_folder, name="tiny", pictures=None, **options):
    shipment = shipping.Shipment(run_folder, zoo_folder, name, "noise", "CC0-1.0", **options)
    return shipping.ship(shipment, pictures)


def settings(**train):
    recipe = CodecRecipe.from_preset("small", "mbt-paon", 0.013, ["/secret/pictures"], **train)
    return json.loads(json.dumps(asdict(recipe)))


def test_the_zoo_finds_what_was_shipped(
    shipping, run_folder, tiny_weights, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(zoo, "FOLDER", tmp_path / "zoo")
    shipping.main([str(run_folder), "--name", "tiny", "--data-note", "noise"])
    weights = zoo.resolve("tiny")
    assert weights.path.stat().st_size < tiny_weights.stat().st_size
    assert weights.sha256 in capsys.readouterr().out
    card = weights.card
    assert (card.arch, card.lmbda, card.quality, card.steps) == ("mbt-paon", 0.013, 4.0, 30)
    assert (card.metric, card.licence, card.data) == ("mse", "BSD-3-Clause", "noise")
    assert card.minutes == 6.0  # at the best step
    assert card.config["N"] == 6
    assert card.command == f"{SMALL} --data DIR --out RUN"
    assert card.results == {}


def test_shipped_weights_are_those_of_the_run_in_half_precision(
    shipping, run_folder, tiny_weights, tmp_path
):
    ship(shipping, run_folder, tmp_path / "zoo")
    shipped, metadata = codecs.load_weights(tmp_path / "zoo" / "tiny.safetensors")
    trained, trained_metadata = codecs.load_weights(tiny_weights)
    assert metadata == trained_metadata
    state = trained.state_dict()
    for name, tensor in shipped.state_dict().items():
        assert torch.equal(tensor, state[name]) or torch.equal(tensor, state[name].half().float())


def test_no_folder_of_this_machine_reaches_the_card(shipping, run_folder, tmp_path):
    ship(shipping, run_folder, tmp_path / "zoo")
    text = (tmp_path / "zoo" / "tiny.json").read_text()
    assert "/secret" not in text
    assert str(tmp_path) not in text


def test_settings_that_differ_from_the_preset_are_in_the_command(shipping):
    command = shipping.training_command(settings(steps=123, batch_size=7))
    assert command == f"{SMALL} --steps 123 --batch-size 7 --data DIR --out RUN"


def test_weights_of_the_zoo_that_a_run_started_from_count(
    shipping, run_folder, tmp_path, monkeypatch
):
    monkeypatch.setattr(zoo, "FOLDER", tmp_path / "zoo")
    first = ship(shipping, run_folder, tmp_path / "zoo")
    start = {"start": "weights", "start_from": "/secret/file", "start_sha256": first.sha256}
    changed = {**settings(steps=90), **start}
    (run_folder / "config.json").write_text(json.dumps(changed))
    second = ship(shipping, run_folder, tmp_path / "zoo", "next")
    assert (second.steps, second.minutes) == (60, 12.0)
    assert second.command == f"{SMALL} --start-from tiny --steps 90 --data DIR --out RUN"
    (run_folder / "config.json").write_text(json.dumps({**changed, "start_sha256": "0" * 64}))
    with pytest.raises(UsageError, match="--command"):
        ship(shipping, run_folder, tmp_path / "zoo", "third")


@pytest.mark.parametrize("changed", [{**settings(), "lr_entropy": 0.5}, settings(clip=0.5)])
def test_settings_that_no_option_gives_need_the_command_told(
    shipping, run_folder, tmp_path, changed
):
    (run_folder / "config.json").write_text(json.dumps(changed))
    with pytest.raises(UsageError, match="--command"):
        ship(shipping, run_folder, tmp_path / "zoo")
    assert not (tmp_path / "zoo").exists()
    card = ship(shipping, run_folder, tmp_path / "zoo", command="python train.py")
    assert card.command == "python train.py"


def test_weights_that_are_there_are_kept_unless_forced(shipping, run_folder, tmp_path):
    ship(shipping, run_folder, tmp_path / "zoo")
    with pytest.raises(UsageError, match="--force"):
        ship(shipping, run_folder, tmp_path / "zoo")
    ship(shipping, run_folder, tmp_path / "zoo", force=True)


def test_best_weights_must_be_of_the_best_validation(shipping, run_folder, tmp_path):
    with (run_folder / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 60, "validation_loss": 0.1}) + "\n")
    with pytest.raises(UsageError, match=r"step 30.*step 60"):
        ship(shipping, run_folder, tmp_path / "zoo")


def test_a_run_that_never_validated_is_refused(shipping, run_folder, tmp_path):
    (run_folder / "metrics.jsonl").write_text(json.dumps({"step": 10, "loss": 0.5}) + "\n")
    with pytest.raises(UsageError, match="no validation"):
        ship(shipping, run_folder, tmp_path / "zoo")


def test_a_folder_without_a_run_is_refused(shipping, tmp_path):
    with pytest.raises(UsageError, match="holds no run"):
        shipping.main([str(tmp_path), "--name", "tiny", "--data-note", "noise"])


def test_a_name_that_no_file_could_carry_is_refused(shipping, run_folder, tmp_path):
    arguments = [str(run_folder), "--folder", str(tmp_path / "zoo"), "--data-note", "noise"]
    with pytest.raises(UsageError, match="Tiny One"):
        shipping.main([*arguments, "--name", "Tiny One"])
    assert not (tmp_path / "zoo").exists()


def test_tails_are_fitted_on_the_pictures_held_out(shipping, run_folder, pictures, tmp_path):
    card = ship(shipping, run_folder, tmp_path / "zoo", note="A note.", pictures=pictures)
    assert card.note.startswith("A note. Tables with tails (narrow ")
    plain = ship(shipping, run_folder, tmp_path / "plain")
    assert card.sha256 != plain.sha256


def test_half_precision_is_kept_where_no_third_digit_changes(
    shipping, run_folder, tiny_weights, pictures, tmp_path, monkeypatch
):
    half = ship(shipping, run_folder, tmp_path / "half", pictures=pictures)
    assert "Kept as float16 changes bpp held out by 0.0" in half.note
    monkeypatch.setattr(shipping, "_THIRD_DIGIT", 0.0)
    full = ship(shipping, run_folder, tmp_path / "full", pictures=pictures)
    assert "Kept as float32, as float16 changes bpp held out by 0.0" in full.note
    state = codecs.load_weights(tiny_weights)[0].state_dict()
    shipped = codecs.load_weights(tmp_path / "full" / "tiny.safetensors")[0].state_dict()
    assert torch.equal(shipped["g_a.0.numerator"], state["g_a.0.numerator"])
    large = "entropy_parameters.0.weight"
    assert torch.equal(shipped[large], state[large])


def test_what_rounding_costs_is_measured(shipping, tiny_weights):
    model, _ = codecs.load_weights(tiny_weights)
    image = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))
    content = tiny_weights.read_bytes()
    assert shipping.rounding_costs(model, content, [image], [None]) == (0, 0)
    with torch.no_grad():
        model.g_s[-1].bias.add_(0.05)
        model.entropy_parameters[-1].bias.add_(0.5)
    bpp, psnr = shipping.rounding_costs(model, content, [image], [None])
    assert bpp > 1e-3
    assert psnr > 1e-3


def test_the_card_records_what_came_of_the_test_picture(shipping, run_folder, tmp_path):
    card = ship(shipping, run_folder, tmp_path / "zoo")
    data = (tmp_path / "zoo" / "tiny.bin").read_bytes()
    facts = paoncodec.info(data)
    assert facts["model"] == "tiny"
    assert facts["weights_id"] == card.sha256[:16]
    names = ("quality", "bytes", "latents_crc")
    assert {k: v for k, v in card.check.items() if k != "psnr"} == {k: facts[k] for k in names}
    decoded = read_image(paoncodec.decode(data, model=tmp_path / "zoo" / "tiny.safetensors"))
    assert card.check["psnr"] == pytest.approx(psnr(read_image(PICTURE), decoded), abs=1e-4)


def test_a_network_of_all_qualities_has_a_card_without_one(
    shipping, run_folder, variable_weights, pictures, tmp_path
):
    model, metadata = codecs.load_weights(variable_weights)
    about = {**metadata, "step": "30"}
    del about["arch"]
    codecs.save_weights(model, run_folder / "best.safetensors", "mbt-paon", about)
    recipe = CodecRecipe.from_preset("small", "mbt-paon", "variable", ["/secret/pictures"])
    (run_folder / "config.json").write_text(json.dumps(asdict(recipe)))
    card = ship(shipping, run_folder, tmp_path / "zoo", pictures=pictures)
    assert (card.quality, card.lmbda) == (None, None)
    assert card.command.startswith(
        "paoncodec train --arch mbt-paon --preset small --lmbda variable"
    )
    assert card.check["quality"] == 4
