"""Recipes are compared at equal time, and each trial is the preset but for what it names."""

from __future__ import annotations

import json

import pytest

from paoncodec.codecs.recipe import CodecRecipe
from paoncodec.errors import UsageError


@pytest.fixture(scope="module")
def compare_recipes(tool):
    return tool("compare_recipes")


@pytest.fixture
def small_network(monkeypatch, compare_recipes):
    """Networks and crops that train in a moment; the trials' own settings stay."""
    whole = CodecRecipe.from_preset

    def shrunk(preset, arch, lmbda, data, **train):
        train = {**train, "batch_size": 1, "crop": 64}
        recipe = whole(preset, arch, lmbda, data, **train)
        object.__setattr__(recipe, "arch", {"N": 6, "M": 6, "shift": "none"})
        return recipe

    monkeypatch.setattr(compare_recipes.CodecRecipe, "from_preset", shrunk)


def test_every_trial_is_a_recipe(compare_recipes):
    setting = compare_recipes.Setting(0.013, "pictures", 5, 0, None)
    landed = setting.recipe({}, 400)
    for trial, parts in compare_recipes.TRIALS.items():
        for changes in parts:
            recipe = setting.recipe(changes, 400)
            own = {name: value for name, value in changes.items() if name != "optimizer"}
            assert (recipe == landed) == (trial in ("landed", landed.train.precision) or not own)
            for name, value in own.items():
                holder = recipe.train if name in compare_recipes._LOOP else recipe
                assert getattr(holder, name) == value


@pytest.mark.usefixtures("small_network")
def test_trials_of_one_and_of_two_parts_are_measured(
    compare_recipes, pictures, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(compare_recipes, "seconds_a_step", lambda *probe: 1.0)
    out = tmp_path / "found.json"
    names = [
        "landed",
        "crops of 128 first, then of 256",
        "SOAP in place of Adam",
        "Muon for kernels, Adam for the rest",
    ]
    words = [word for name in names for word in ("--trial", name)]
    words += ["--data", str(pictures), "--minutes", "0.1", "--json", str(out)]
    compare_recipes.main(words)
    found = json.loads(out.read_text())
    assert [trial["trial"] for trial in found["trials"]] == names
    assert [trial["steps"] for trial in found["trials"]] == [6, 6, 6, 6]
    assert all(trial["seconds"] > 0 for trial in found["trials"])
    losses = [trial["loss"] for trial in found["trials"]]
    assert len(set(losses)) == len(losses)  # each has gone its own way
    table = capsys.readouterr().out.splitlines()
    assert f"{min(losses):.4f}" in table[2]


def test_what_both_probes_spend_beside_their_steps_drops_out(
    compare_recipes, pictures, tmp_path, monkeypatch
):
    def fitted(recipe, folder, optimizer):
        assert optimizer is None
        assert not folder.exists()
        return {}, 7 + 0.25 * recipe.train.steps

    monkeypatch.setattr(compare_recipes, "fitted", fitted)
    recipe = compare_recipes.Setting(0.013, str(pictures), 5, 0, None).recipe({}, 2)
    assert compare_recipes.seconds_a_step(recipe, tmp_path) == 0.25


@pytest.mark.usefixtures("small_network")
def test_trials_of_a_file_stay_unless_they_are_of_another_setting(
    compare_recipes, pictures, tmp_path, monkeypatch
):
    monkeypatch.setattr(compare_recipes, "seconds_a_step", lambda *probe: 1.0)
    out = tmp_path / "found.json"
    words = ["--data", str(pictures), "--minutes", "0.05", "--json", str(out)]
    words += ["--precision", "float32"]
    compare_recipes.main([*words, "--trial", "landed"])
    first = json.loads(out.read_text())
    assert first["precision"] == "float32"
    compare_recipes.main([*words, "--trial", "random start"])
    both = json.loads(out.read_text())
    assert both["trials"][:1] == first["trials"]
    assert [trial["trial"] for trial in both["trials"]] == ["landed", "random start"]
    with pytest.raises(UsageError, match="name another"):
        compare_recipes.main([*words, "--seed", "3"])
    assert json.loads(out.read_text()) == both
