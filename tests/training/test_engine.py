from __future__ import annotations

import math
import multiprocessing
import re
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from paoncodec.errors import PictureLeftOut, UsageError, WeightsError
from paoncodec.training import (
    Progress,
    RunDirectory,
    Trainer,
    TrainingDiverged,
    TrainingStopped,
)
from tests.training.same_run import assert_same_run, without_time
from tests.training.toy_runs import config


class Killed(Exception):
    """Ends a run as a power cut would: nothing is written any more."""


def kill_at(step: int) -> Callable[[Progress], None]:
    def listener(progress: Progress) -> None:
        if progress.step == step:
            raise Killed

    return listener


@pytest.fixture
def unbroken(toy: type[Any], tmp_path: Path, log_each_step: None) -> RunDirectory:
    run = RunDirectory(tmp_path / "unbroken")
    assert Trainer(toy(config(), bad_steps=(2, 6)), run).fit()
    return run


@pytest.mark.parametrize("stop", [1, 3, 4, 9])
def test_a_stopped_run_goes_on_bit_for_bit(
    toy: type[Any], tmp_path: Path, unbroken: RunDirectory, stop: int
) -> None:
    first = Trainer(toy(config(), bad_steps=(2, 6)), RunDirectory(tmp_path / "run"))
    first.listener = lambda p: first.request_stop() if p.step == stop else None
    assert not first.fit()
    run = RunDirectory(tmp_path / "run", resume=True)
    second = Trainer(toy(config(), bad_steps=(2, 6)), run)
    assert second.step == stop
    assert second.fit()
    assert_same_run(run, unbroken)
    assert second.skipped == 2


@pytest.mark.parametrize("killed", [1, 3, 4, 7])
def test_a_killed_run_repeats_what_it_lost(
    toy: type[Any], tmp_path: Path, unbroken: RunDirectory, killed: int
) -> None:
    run = RunDirectory(tmp_path / "run")
    task = toy(config(), bad_steps=(2, 6))
    with pytest.raises(Killed):
        Trainer(task, run, kill_at(killed)).fit()
    assert multiprocessing.active_children() == []
    assert len(run.records()) >= killed  # more than the checkpoint knows
    run = RunDirectory(tmp_path / "run", resume=True)
    again = Trainer(toy(config(), bad_steps=(2, 6)), run)
    assert again.step == (4 if killed > 4 else 0)
    assert again.fit()
    assert_same_run(run, unbroken)


def test_a_checkpoint_follows_each_interval(toy: type[Any], tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    often = config(checkpoint_minutes=0, validate_every=100)
    with pytest.raises(Killed):
        Trainer(toy(often), run, kill_at(6)).fit()
    state = run.load()
    assert state is not None
    assert state["step"] == 5


def test_the_average_is_exponential_and_forgets_its_start(toy: type[Any], tmp_path: Path) -> None:
    task = toy(config(ema=0.4))
    seen: list[torch.Tensor] = []
    trainer = Trainer(task, RunDirectory(tmp_path / "run"))
    trainer.listener = lambda p: seen.append(task.model.weight.detach().clone())
    trainer.fit()
    # The first step's weights begin it; the decay rises from 2/11 to 6/15, and stays there.
    decays = [2 / 11, 3 / 12, 4 / 13, 5 / 14, 0.4, 0.4, 0.4, 0.4, 0.4]
    wanted = seen[0]
    for decay, weights in zip(decays, seen[1:], strict=True):
        wanted = decay * wanted + (1 - decay) * weights
    torch.testing.assert_close(trainer.learner.average.module.weight, wanted)


def test_learning_rates_follow_the_schedule(toy: type[Any], tmp_path: Path) -> None:
    settings = config(warmup=4, hold=0.5)
    trainer = Trainer(toy(settings, rate=0.2), RunDirectory(tmp_path / "run"))
    rates: list[float] = []
    trainer.listener = lambda p: rates.append(trainer.learner.optimizers[1].param_groups[0]["lr"])
    trainer.fit()
    assert rates == pytest.approx([0.2 * settings.rate_factor(s) for s in range(10)])


def test_a_non_finite_step_changes_nothing_and_is_counted(toy: type[Any], tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    task = toy(config(), bad_steps=(0, 5))
    trainer = Trainer(task, run)
    states: list[list[torch.Tensor]] = []
    counts: list[int] = []

    def listen(progress: Progress) -> None:
        tensors = [
            *task.model.state_dict().values(),
            *trainer.learner.average.state_dict().values(),
        ]
        for optimizer in trainer.learner.optimizers:
            tensors += [v for s in optimizer.state.values() for v in s.values()]
        states.append([t.clone() for t in tensors])
        counts.append(progress.skipped)

    started = [t.clone() for t in task.model.state_dict().values()]
    trainer.listener = listen
    assert trainer.fit()
    assert counts == [1, 1, 1, 1, 1, 2, 2, 2, 2, 2]
    torch.testing.assert_close(states[0][: len(started)], started, rtol=0, atol=0)
    torch.testing.assert_close(states[5], states[4], rtol=0, atol=0)
    assert not torch.equal(states[4][0], states[3][0])
    skips = [r for r in run.records() if "skipped" in r]
    assert skips == [{"step": 1, "skipped": 1}, {"step": 6, "skipped": 2}]


def test_a_non_finite_gradient_behind_a_finite_loss_is_skipped_too(
    toy: type[Any], tmp_path: Path
) -> None:
    class Task(toy):
        def loss(self, *given: Any) -> tuple[torch.Tensor, dict[str, float]]:
            loss, figures = super().loss(*given)
            return loss + (self.model.bias * 0).sqrt().sum(), figures  # gradient 0 · inf

    trainer = Trainer(Task(config(patience=100)), RunDirectory(tmp_path / "run"))
    trainer.fit()
    assert trainer.skipped == 10
    assert all(torch.isfinite(p).all() for p in trainer.task.model.parameters())


def test_running_statistics_do_not_see_a_skipped_step(toy: type[Any], tmp_path: Path) -> None:
    """Once not finite they would stay so."""

    class Task(toy):
        def __post_init__(self) -> None:
            super().__post_init__()
            self.model = torch.nn.Sequential(torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 1))

        def start(self) -> None:
            """Whatever it was made with."""

        def loss(
            self, model: Any, batch: torch.Tensor, samples: Any
        ) -> tuple[torch.Tensor, dict[str, float]]:
            bad = samples.numbers.start // self.config.batch_size in self.bad_steps
            loss = model(batch * torch.inf if bad else batch).square().mean()
            return loss, {"loss": loss.item()}

        def pictures(self, model: Any) -> dict[str, torch.Tensor]:
            return {}

        def export(self, model: Any, path: str, metadata: dict[str, str]) -> None:
            Path(path).write_text(metadata["step"])

    task = Task(config(), bad_steps=(2,))
    norm, seen = task.model[0], []
    trainer = Trainer(task, RunDirectory(tmp_path / "run"))
    trainer.listener = lambda progress: seen.append(
        (norm.running_mean.clone(), int(norm.num_batches_tracked))
    )
    trainer.fit()
    assert trainer.skipped == 1
    assert torch.equal(seen[2][0], seen[1][0])
    assert [count for _, count in seen[:4]] == [1, 2, 2, 3]
    assert torch.isfinite(seen[-1][0]).all()
    assert not torch.equal(seen[3][0], seen[2][0])


def test_a_loss_that_stays_non_finite_stops_with_the_step(toy: type[Any], tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    task = toy(config(checkpoint_minutes=0), bad_steps=(1, 4, 5, 6))
    with pytest.raises(TrainingDiverged, match=r"^step 7: .* 3 times in a row") as caught:
        Trainer(task, run).fit()
    assert caught.value.exit_code == 1
    assert multiprocessing.active_children() == []
    state = run.load()
    assert state is not None
    assert (state["step"], state["skipped"]) == (4, 1)  # from before they began


def test_a_count_in_a_row_is_kept_over_a_resume(toy: type[Any], tmp_path: Path) -> None:
    first = Trainer(toy(config(), bad_steps=(3, 4, 5)), RunDirectory(tmp_path / "run"))
    first.listener = lambda p: first.request_stop() if p.step == 5 else None
    first.fit()
    again = Trainer(toy(config(), bad_steps=(3, 4, 5)), RunDirectory(tmp_path / "run", resume=True))
    with pytest.raises(TrainingDiverged, match=r"^step 6:"):
        again.fit()


def test_the_best_weights_are_those_of_the_best_validation(toy: type[Any], tmp_path: Path) -> None:
    class Task(toy):
        losses = iter([3.0, 1.0, math.nan, 2.0, 1.0])

        def validate(self, model: torch.nn.Module) -> dict[str, float]:
            assert not model.training
            return {"loss": next(self.losses), "psnr": 30.0}

    run = RunDirectory(tmp_path / "run")
    trainer = Trainer(Task(config(validate_every=2)), run)
    assert trainer.best_validation() == {}
    trainer.fit()
    assert trainer.best_validation() == {"step": 4, "loss": 1.0, "psnr": 30.0}
    assert run.weights_file("best").read_text().split()[0] == "4"
    assert run.weights_file("last").read_text().split()[0] == "10"


def test_the_best_is_kept_over_a_resume(toy: type[Any], tmp_path: Path) -> None:
    class Task(toy):
        losses = iter([1.0, 2.0, 3.0])

        def validate(self, model: torch.nn.Module) -> dict[str, float]:
            return {"loss": next(self.losses)}

    first = Trainer(Task(config()), RunDirectory(tmp_path / "run"))
    first.listener = lambda p: first.request_stop() if p.step == 5 else None
    first.fit()
    run = RunDirectory(tmp_path / "run", resume=True)
    second = Trainer(Task(config()), run)
    second.fit()
    assert run.weights_file("best").read_text().split()[0] == "4"
    assert second.best_validation() == {"step": 4, "loss": 1.0}


def test_rates_drop_where_validations_get_no_better(
    toy: type[Any], tmp_path: Path, log_each_step: None
) -> None:
    """After two in a row that are no better than the best; a resumed run goes on counting."""
    losses = [1.0, 2.0, 1.0, 0.5, 0.5, 0.7, 0.6, 0.9]

    class Task(toy):
        def validate(self, model: torch.nn.Module) -> dict[str, float]:
            return {"loss": losses[len(rates)]}

    wanted = config(steps=8, validate_every=1, schedule="plateau", plateau=2)
    rates: list[float] = []

    def begin(stop: int, resume: bool) -> Trainer:
        trainer = Trainer(Task(wanted), RunDirectory(tmp_path / "run", resume=resume))

        def hear(progress: Progress) -> None:
            group = trainer.learner.optimizers[0].param_groups[0]
            rates.append(group["lr"] / group["initial_lr"])
            if progress.step == stop:
                trainer.request_stop()

        trainer.listener = hear
        return trainer

    assert not begin(5, resume=False).fit()
    resumed = begin(0, resume=True)
    assert resumed.fit()
    assert rates == pytest.approx([1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01])
    assert resumed.drops == 3


def test_the_last_step_is_validated(toy: type[Any], tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    Trainer(toy(config(steps=6)), run).fit()
    assert [r["step"] for r in run.records() if "validation_loss" in r] == [4, 6]


def test_training_lowers_the_loss(toy: type[Any], tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    Trainer(toy(config(steps=200, validate_every=100)), run).fit()
    assert [r["step"] for r in run.records() if "loss" in r] == [50, 100, 150, 200]
    assert run.records()[-1]["validation_loss"] < 0.05


def test_metrics_come_every_fifty_steps_with_the_gradient(toy: type[Any], tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    Trainer(toy(config(steps=60, validate_every=60)), run).fit()
    first, last, _ = run.records()
    assert (first["step"], last["step"]) == (50, 60)
    assert first.keys() == last.keys() == {"step", "seconds", "loss", "gradient_norm"}


@pytest.mark.parametrize(("accumulate", "stop"), [(1, None), (2, None), (4, None), (2, 5)])
def test_what_is_counted_is_added_up_from_line_to_line(
    toy: type[Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    accumulate: int,
    stop: int | None,
) -> None:
    """Over the parts of a batch, over skipped steps and over a resume."""

    class Task(toy):
        counts = frozenset({"seen"})

        def loss(
            self, model: Callable[..., Any], batch: torch.Tensor, samples: Any
        ) -> tuple[torch.Tensor, dict[str, float]]:
            loss, figures = super().loss(model, batch, samples)
            return loss, {**figures, "seen": float(len(batch))}

    monkeypatch.setattr("paoncodec.training.engine.LOG_EVERY", 4)
    task = Task(config(accumulate=accumulate), bad_steps=(1, 7))
    run = RunDirectory(tmp_path / "run")
    heard: list[float] = []
    trainer = Trainer(task, run)

    def listen(progress: Progress) -> None:
        heard.append(progress.figures["seen"])
        if progress.step == stop:
            trainer.request_stop()

    trainer.listener = listen
    trainer.fit()
    if stop is not None:
        again = Trainer(task, RunDirectory(tmp_path / "run", resume=True), listen)
        assert again.fit()
    assert heard == [4] * 10
    # Steps 2 and 8 are skipped, and have lines that say so.
    lines = {r["step"]: r["seen"] for r in run.records() if "seen" in r}
    assert lines == {2: 8, 4: 8, 8: 16, 10: 8}


def test_a_longer_run_stretches_the_schedule(toy: type[Any], tmp_path: Path) -> None:
    Trainer(toy(config()), RunDirectory(tmp_path / "run")).fit()
    longer = Trainer(toy(config(steps=20)), RunDirectory(tmp_path / "run", resume=True))
    assert [str(c) for c in longer.changes] == ["train.steps was 10, now 20"]
    assert longer.fit()
    assert longer.step == 20
    saved = longer.run.load_config()
    assert saved is not None
    assert saved["train"]["steps"] == 20


def test_a_run_that_has_gone_further_is_refused(toy: type[Any], tmp_path: Path) -> None:
    Trainer(toy(config()), RunDirectory(tmp_path / "run")).fit()
    with pytest.raises(UsageError, match="steps 9: the run has done 10"):
        Trainer(toy(config(steps=9)), RunDirectory(tmp_path / "run", resume=True))


def test_a_complete_run_resumes_to_nothing(toy: type[Any], tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    Trainer(toy(config()), run).fit()
    before = without_time(run)
    again = Trainer(toy(config()), RunDirectory(tmp_path / "run", resume=True))
    assert again.fit()
    assert without_time(run) == before


def test_other_settings_are_refused_and_the_run_is_left_alone(
    toy: type[Any], tmp_path: Path
) -> None:
    run = RunDirectory(tmp_path / "run")
    Trainer(toy(config()), run).fit()
    before = {p: p.read_bytes() for p in run.path.rglob("*") if p.is_file()}
    with pytest.raises(UsageError, match=r"rate was 0.1, now 0.2; train\.seed was 0, now 1;"):
        Trainer(toy(config(seed=1), rate=0.2), RunDirectory(run.path, resume=True))
    assert {p: p.read_bytes() for p in run.path.rglob("*") if p.is_file()} == before


def test_a_network_of_another_form_is_refused(toy: type[Any], tmp_path: Path) -> None:
    """Options that settings leave out, and that change no weight's shape."""

    def begun(relu: bool) -> Any:
        task = toy(config())
        task.model.config = {"relu": relu, "widths": (1, 2)}
        return task

    Trainer(begun(True), RunDirectory(tmp_path / "run")).fit()
    again = RunDirectory(tmp_path / "run", resume=True)
    assert Trainer(begun(True), again).step == 10
    with pytest.raises(UsageError, match="another network: relu was true, now false; begin a new"):
        Trainer(begun(False), again)


def test_settings_are_free_until_there_is_a_checkpoint(toy: type[Any], tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    with pytest.raises(Killed):
        Trainer(toy(config()), run, kill_at(2)).fit()
    again = Trainer(toy(config(), rate=0.2), RunDirectory(run.path, resume=True))
    assert again.step == 0
    assert again.fit()


def test_provenance_is_kept_for_each_start(toy: type[Any], tmp_path: Path) -> None:
    first = Trainer(toy(config()), RunDirectory(tmp_path / "run"))
    first.listener = lambda p: first.request_stop() if p.step == 3 else None
    first.fit()
    run = RunDirectory(tmp_path / "run", resume=True)
    Trainer(toy(config()), run).fit()
    text = run.provenance_file.read_text()
    assert text.count('"first_step": 0') == 1
    assert text.count('"first_step": 3') == 1


def test_a_full_disk_at_a_checkpoint_keeps_the_last_one(toy: type[Any], tmp_path: Path) -> None:
    class Task(toy):
        def export(self, model: torch.nn.Module, path: str, metadata: dict[str, str]) -> None:
            if metadata["step"] == "8":
                raise OSError(28, "No space left on device")
            super().export(model, path, metadata)

    run = RunDirectory(tmp_path / "run")
    task = Task(config())
    with pytest.raises(TrainingStopped, match="No space left"):
        Trainer(task, run).fit()
    assert multiprocessing.active_children() == []
    state = run.load()
    assert state is not None
    assert state["step"] == 4
    assert not list(run.path.glob(".*"))


@pytest.mark.parametrize("kind", [RuntimeError, ValueError, OverflowError, WeightsError])
def test_weights_that_cannot_be_exported_stop_with_the_step_and_keep_the_checkpoint(
    toy: type[Any], tmp_path: Path, kind: type[Exception]
) -> None:
    class Task(toy):
        losses = iter([1.0, 2.0])  # the second is not the best: only the checkpoint is exported

        def validate(self, model: torch.nn.Module) -> dict[str, float]:
            return {"loss": next(self.losses)}

        def export(self, model: torch.nn.Module, path: str, metadata: dict[str, str]) -> None:
            if metadata["step"] == "8":
                raise kind("Invalid pmf")
            super().export(model, path, metadata)

    run = RunDirectory(tmp_path / "run")
    task = Task(config())
    with pytest.raises(TrainingDiverged, match=r"^step 8: .*Invalid pmf") as caught:
        Trainer(task, run).fit()
    assert caught.value.exit_code == 1
    assert multiprocessing.active_children() == []
    state = run.load()
    assert state is not None
    assert state["step"] == 4
    assert run.weights_file("last").read_text().split()[0] == "4"
    assert not list(run.path.glob(".*"))


def test_exported_files_do_not_tell_the_time(toy: type[Any], tmp_path: Path) -> None:
    told: list[dict[str, str]] = []

    class Task(toy):
        def export(self, model: torch.nn.Module, path: str, metadata: dict[str, str]) -> None:
            told.append(metadata)
            super().export(model, path, metadata)

    Trainer(Task(config(steps=4)), RunDirectory(tmp_path / "run")).fit()
    assert told
    assert all(metadata == {"step": "4"} for metadata in told)


@pytest.mark.parametrize("accumulate", [2, 4])
def test_micro_batches_are_the_whole_batch(
    toy: type[Any], tmp_path: Path, log_each_step: None, accumulate: int
) -> None:
    runs = []
    for parts in (1, accumulate):
        run = RunDirectory(tmp_path / f"{parts}")
        settings = config(batch_size=8, accumulate=parts)
        assert Trainer(toy(settings, dropout=0), run).fit()
        runs.append(run)
    for one, other in zip(*(without_time(run) for run in runs), strict=True):
        assert one == pytest.approx(other, rel=1e-5)
    whole, parted = (run.load() for run in runs)
    assert whole is not None
    assert parted is not None
    torch.testing.assert_close(parted["average"], whole["average"], rtol=1e-5, atol=1e-6)


class Incomplete(torch.utils.data.Dataset[torch.Tensor]):
    """Points of which every fifth is another's, its picture being damaged."""

    def __getitem__(self, number: int) -> torch.Tensor:
        if number % 5 == 0:
            text = f"picture left out: {number % 3}.png: damaged"
            warnings.warn(text, PictureLeftOut, stacklevel=1)
        return torch.randn(3, generator=torch.Generator().manual_seed(number))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_picture_left_out_is_told_once_and_recorded(
    toy: type[Any], tmp_path: Path, workers: int
) -> None:
    class Task(toy):
        def data(self) -> Incomplete:
            return Incomplete()

        def start(self) -> None:
            super().start()
            warnings.warn("picture left out: first.png: damaged", PictureLeftOut, stacklevel=1)

        def validate(self, model: torch.nn.Module) -> dict[str, float]:
            warnings.warn("picture left out: held.png: damaged", PictureLeftOut, stacklevel=1)
            return super().validate(model)

    told: list[str] = []
    run = RunDirectory(tmp_path / "run")
    trainer = Trainer(Task(config(workers=workers)), run, tell=told.append)
    trainer.fit()
    names = ["first", "0", "2", "1", "held"]
    assert [re.findall(r"out: (\w+)\.png", text) for text in told] == [[name] for name in names]
    assert trainer.left_out == told
    records = [r["left_out"] for r in run.records() if "left_out" in r]
    assert sorted(text for texts in records for text in texts) == sorted(told)


def test_a_user_of_python_is_warned(toy: type[Any], tmp_path: Path) -> None:
    class Task(toy):
        def data(self) -> Incomplete:
            return Incomplete()

    with pytest.warns(UserWarning, match=r"0\.png"):
        Trainer(Task(config(steps=1)), RunDirectory(tmp_path / "run")).fit()


def test_without_tensorboard_a_run_says_so_once(
    toy: type[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    told: list[str] = []
    run = RunDirectory(tmp_path / "run")
    Trainer(toy(config()), run, tell=told.append).fit()
    assert told == ["TensorBoard is not installed: metrics go to metrics.jsonl alone"]
    assert [r["step"] for r in run.records() if "validation_loss" in r] == [4, 8, 10]


def test_a_checkpoint_without_its_parts_is_named(toy: type[Any], tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    Trainer(toy(config()), run).fit()
    state = run.load()
    assert state is not None
    for name in ("skipped", "average", "optimizers"):
        run.save({key: value for key, value in state.items() if key != name})
        with pytest.raises(WeightsError, match=r"last\.pt: its model or optimisers are not"):
            Trainer(toy(config()), RunDirectory(run.path, resume=True))


def test_a_checkpoint_of_another_model_is_named(toy: type[Any], tmp_path: Path) -> None:
    class Wider(toy):
        def __post_init__(self) -> None:
            super().__post_init__()
            self.model = torch.nn.Linear(3, 2)

    run = RunDirectory(tmp_path / "run")
    Trainer(toy(config()), run).fit()
    with pytest.raises(WeightsError, match=r"last\.pt: its model or optimisers are not") as caught:
        Trainer(Wider(config()), RunDirectory(run.path, resume=True))
    assert "\n" not in str(caught.value)
