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
    setting = compare_recipes.Setting(0.013, "pictures", 5, None)
    landed = setting.recipe({}, 400)
    for trial, parts in compare_recipes.TRIALS.items():
        for changes in parts:
            recipe = setting.recipe(changes, 400)
            own = {name: value for name, value in changes.items() if name != "optimizer"}
            assert (recipe == landed) == (trial in ("landed", landed.train.precision) or not own)
            for name, value in own.items():
                holder = recipe.train if name in compare_recipes._LOOP else recipe
                assert getattr(holder, name) == value


@pytest.fixture
def each_step_takes_a_second(monkeypatch, compare_recipes):
    def step_seconds(trials, setting, known):
        return {trial: [1.0 for _ in compare_recipes.TRIALS[trial]] for trial in trials}

    monkeypatch.setattr(compare_recipes, "step_seconds", step_seconds)


@pytest.mark.usefixtures("small_network", "each_step_takes_a_second")
def test_trials_of_one_and_of_two_parts_are_measured(compare_recipes, pictures, tmp_path, capsys):
    out = tmp_path / "found.json"
    names = [
        "landed",
        "crops of 128 first, then of 256",
        "SOAP in place of Adam",
        "Muon for kernels, Adam for the rest",
    ]
    words = [word for name in names for word in ("--trial", name)]
    words += ["--data", str(pictures), "--minutes", "0.1", "--json", str(out)]
    compare_recipes.main([*words, "--seeds", "4"])
    runs = json.loads(out.read_text())["runs"]
    assert [(run["trial"], run["seed"], run["steps"]) for run in runs] == [(n, 4, 6) for n in names]
    losses = [run["loss"] for run in runs]
    assert len(set(losses)) == len(losses)  # each has gone its own way
    table = capsys.readouterr().out.splitlines()
    assert f"{min(losses):.3f}" in table[2]


@pytest.mark.usefixtures("small_network")
def test_steps_are_timed_in_turns(compare_recipes, pictures, monkeypatch):
    taken = []
    step = compare_recipes.Stepper.step

    def noted(self):
        taken.append(self)
        return step(self)

    monkeypatch.setattr(compare_recipes.Stepper, "step", noted)
    monkeypatch.setattr(compare_recipes, "_TURNS", 1)
    setting = compare_recipes.Setting(0.013, str(pictures), 5, None)
    trials = ["landed", "crops of 128 first, then of 256"]
    found = compare_recipes.step_seconds(trials, setting, {})
    assert {trial: len(seconds) for trial, seconds in found.items()} == dict(
        zip(trials, (1, 2), strict=True)
    )
    assert all(each > 0 for seconds in found.values() for each in seconds)
    assert found[trials[0]] == found[trials[1]][1:]  # the same work
    assert len(taken) == 6
    assert taken[:2] == taken[2:4] == taken[4:]
    again = compare_recipes.step_seconds(["learning rates doubled"], setting, found)
    assert again == {"learning rates doubled": found["landed"]}
    assert len(taken) == 6


@pytest.mark.usefixtures("small_network", "each_step_takes_a_second")
def test_runs_of_a_file_stay_unless_they_are_of_another_setting(
    compare_recipes, pictures, tmp_path, capsys
):
    out = tmp_path / "found.json"
    words = ["--data", str(pictures), "--minutes", "0.05", "--json", str(out)]
    words += ["--precision", "float32"]
    compare_recipes.main([*words, "--trial", "landed"])
    first = json.loads(out.read_text())
    assert first["setting"]["precision"] == "float32"
    assert [run["seed"] for run in first["runs"]] == [0, 1]
    compare_recipes.main([*words, "--trial", "random start", "--seeds", "1"])
    both = json.loads(out.read_text())
    assert both["runs"][:2] == first["runs"]
    assert [run["trial"] for run in both["runs"][2:]] == ["random start"]
    one, two = (run["loss"] for run in first["runs"])
    cells = f"| 3, 3 | {(one + two) / 2:.3f} | {abs(one - two):.3f} |"
    assert cells in capsys.readouterr().out
    with pytest.raises(UsageError, match="runs of"):
        compare_recipes.main([*words, "--lmbda", "0.05"])
    assert json.loads(out.read_text()) == both
