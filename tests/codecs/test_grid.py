"""A grid of λ: the order of its runs, what each starts from, and what is left to do."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from paoncodec.codecs import load_weights
from paoncodec.codecs.grid import Grid
from paoncodec.codecs.recipe import CodecRecipe
from paoncodec.codecs.task import CodecTask
from paoncodec.errors import UsageError, WeightsError
from paoncodec.training import RunDirectory, TrainConfig, Trainer

LMBDAS = (0.01, 0.04, 0.02)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for number in range(4):
        ramp = np.linspace(30, 200, 80)[:, None, None] + rng.normal(0, 8, (80, 72, 3))
        Image.fromarray(ramp.clip(0, 255).astype(np.uint8)).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def recipe(pictures: Path) -> CodecRecipe:
    loop: dict[str, Any] = {"steps": 2, "batch_size": 2, "crop": 64, "validation_crop": 64}
    train = TrainConfig(**loop, validate_every=2, workers=0, validation_fraction=0.3)
    arch = {"N": 8, "M": 12, "shift": "none"}
    return CodecRecipe("mbt-paon", arch, 0.04, (str(pictures),), train=train)


def carry_out(grid: Grid, out: Path) -> list[CodecRecipe]:
    """Trains all that is left; the recipes of what was."""
    done = []
    for recipe, run, _ in grid.runs(out):
        assert Trainer(CodecTask(recipe), run, tell=lambda text: None).fit()
        done.append(recipe)
    return done


@pytest.fixture(scope="module")
def unbroken(
    recipe: CodecRecipe, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[CodecRecipe]]:
    """A grid of LMBDAS that was never stopped: its directory, and its runs in their order."""
    out = tmp_path_factory.mktemp("grids") / "unbroken"
    grid = Grid(recipe, LMBDAS)
    grid.save(out, resume=False)
    return out, carry_out(grid, out)


def test_each_lambda_starts_from_the_weights_of_the_next_larger(
    recipe: CodecRecipe, unbroken: tuple[Path, list[CodecRecipe]]
) -> None:
    grid, (out, done) = Grid(recipe, LMBDAS), unbroken
    assert [r.lmbda for r in done] == [0.04, 0.02, 0.01]
    assert [r.start for r in done] == ["linear", "weights", "weights"]
    weights = grid.weights(out)
    assert [Path(r.start_from) for r in done[1:]] == [weights[0.04], weights[0.02]]
    assert [float(load_weights(p)[1]["lmbda"]) for p in weights.values()] == [0.04, 0.02, 0.01]
    assert carry_out(grid, out) == []


def test_from_scratch_all_start_alike(recipe: CodecRecipe, tmp_path: Path) -> None:
    grid = Grid(recipe, (0.01, 0.04), from_scratch=True)
    grid.save(tmp_path, resume=False)
    assert [r.start for r in carry_out(grid, tmp_path)] == ["linear", "linear"]


def test_a_stopped_grid_goes_on_where_it_was(
    recipe: CodecRecipe, unbroken: tuple[Path, list[CodecRecipe]], tmp_path: Path
) -> None:
    grid = Grid(recipe, LMBDAS)
    grid.save(tmp_path / "grid", resume=False)
    runs = grid.runs(tmp_path / "grid")
    first, run, begun = next(runs)
    assert not begun
    assert Trainer(CodecTask(first), run).fit()
    second, run, begun = next(runs)
    trainer = Trainer(CodecTask(second), run)
    trainer.listener = lambda progress: trainer.request_stop()
    assert not trainer.fit()

    again = Grid.load(tmp_path / "grid")
    assert again is not None
    again.save(tmp_path / "grid", resume=True)
    left = [(r.lmbda, begun) for r, _, begun in again.runs(tmp_path / "grid")]
    assert left == [(0.02, True), (0.01, False)]
    carry_out(again, tmp_path / "grid")
    for lmbda, path in again.weights(tmp_path / "grid").items():
        assert path.read_bytes() == again.weights(unbroken[0])[lmbda].read_bytes()


def test_a_run_that_has_begun_keeps_to_its_start(recipe: CodecRecipe, tmp_path: Path) -> None:
    grid = Grid(recipe, (0.04, 0.02))
    grid.save(tmp_path, resume=False)
    runs = grid.runs(tmp_path)
    first, run, _ = next(runs)
    Trainer(CodecTask(first), run).fit()
    second, run, _ = next(runs)
    trainer = Trainer(CodecTask(second), run)
    trainer.listener = lambda progress: trainer.request_stop()
    trainer.fit()
    digest = run.load_config()["start_sha256"]
    donor = grid.weights(tmp_path)[0.04]
    donor.write_bytes(donor.read_bytes() + b" ")
    [(again, _, _)] = grid.runs(tmp_path)
    assert again.start_sha256 == digest
    run.checkpoint_file.unlink()  # from the beginning: the donor is needed, and is another
    with pytest.raises(WeightsError, match="the run was to start from"):
        Trainer(CodecTask(again), run)
    [(anew, _, _)] = grid.runs(tmp_path)
    assert anew.start_sha256 == ""  # whatever the donor is by now


def test_a_start_from_another_lambda_has_latents_of_its_own_scale(
    recipe: CodecRecipe, tmp_path: Path
) -> None:
    run = RunDirectory(tmp_path / "run")
    Trainer(CodecTask(recipe), run).fit()
    donor, _ = load_weights(run.weights_file("best"))
    x = torch.rand(1, 3, 64, 64)
    for lmbda, factor in ((0.01, 0.5), ("variable", math.sqrt(0.013 / 0.04))):
        start = {"start": "weights", "start_from": str(run.weights_file("best"))}
        task = CodecTask(dataclasses.replace(recipe, lmbda=lmbda, **start))
        task.start()
        torch.testing.assert_close(task.model.analysis(x), factor * donor.analysis(x))
        assert (task.model.gain is not None) == (lmbda == "variable")


@pytest.mark.parametrize("lmbdas", [(0.01,), (0.01, 0.02, 0.01), (), (0.013, 0.01300001)])
def test_what_is_no_grid(recipe: CodecRecipe, lmbdas: tuple[float, ...]) -> None:
    with pytest.raises(UsageError, match="a grid takes two or more, none twice"):
        Grid(recipe, lmbdas)


def test_an_impossible_lambda(recipe: CodecRecipe) -> None:
    with pytest.raises(UsageError, match=r"lmbda -0\.01: must be > 0"):
        Grid(recipe, (0.01, -0.01))


def test_a_grid_is_not_begun_over_the_runs_of_another(recipe: CodecRecipe, tmp_path: Path) -> None:
    grid = Grid(recipe, LMBDAS)
    grid.save(tmp_path, resume=False)
    carry_out(grid, tmp_path)
    (tmp_path / "grid.json").unlink()
    for resume in (False, True):
        with pytest.raises(UsageError, match=r"lmbda-0\.04 holds a run, .* no grid: name another"):
            grid.save(tmp_path, resume=resume)
    assert not (tmp_path / "grid.json").exists()


def test_directories_that_hold_something_else(recipe: CodecRecipe, tmp_path: Path) -> None:
    grid = Grid(recipe, LMBDAS)
    grid.save(tmp_path / "grid", resume=False)
    grid.save(tmp_path / "grid", resume=False)  # none of its runs has begun
    (tmp_path / "grid" / "lmbda-0.02").mkdir()
    (tmp_path / "grid" / "lmbda-0.02" / "config.json").write_text("{}")
    with pytest.raises(UsageError, match="holds a grid: continue it with --resume"):
        grid.save(tmp_path / "grid", resume=False)
    (tmp_path / "single").mkdir()
    (tmp_path / "single" / "config.json").write_text("{}")
    for resume in (False, True):
        with pytest.raises(UsageError, match="holds a run of one λ: give --resume and no --lmbda"):
            grid.save(tmp_path / "single", resume)
    other = Grid(dataclasses.replace(recipe, lr_entropy=0.5), LMBDAS)
    with pytest.raises(UsageError, match=r"recipe\.lr_entropy was 0\.0001, now 0\.5"):
        other.save(tmp_path / "grid", resume=True)
    fewer = Grid(recipe, LMBDAS[:2])
    with pytest.raises(UsageError, match="lmbdas was"):
        fewer.save(tmp_path / "grid", resume=True)
    more = dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, steps=9))
    Grid(more, LMBDAS).save(tmp_path / "grid", resume=True)
    assert Grid.load(tmp_path / "grid") == Grid(more, LMBDAS)


@pytest.mark.parametrize("text", ["{", "[]", json.dumps({"lmbdas": [1]})])
def test_a_damaged_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "grid.json").write_text(text)
    with pytest.raises(UsageError, match=r"grid\.json: cannot be read"):
        Grid.load(tmp_path)
