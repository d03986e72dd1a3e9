"""Number formats of a run, and what is compiled in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
import torch

from paoncodec.cli.train import train as codec_train
from paoncodec.cli.vision.train import train as vision_train
from paoncodec.layers import PadeSpec, fused, rational
from paoncodec.layers.convolutions import _GRADIENTS_ALONE
from paoncodec.training import RunDirectory, TrainConfig, Trainer, precision
from paoncodec.training import engine as engine_module
from paoncodec.training.precision import PRECISIONS, emulates_bfloat16, in_precision
from tests.training.same_run import assert_same_run
from tests.training.toy_runs import config


@pytest.mark.parametrize("name", PRECISIONS)
@pytest.mark.parametrize("emulated", [False, True])
def test_values_and_gradients(name: str, emulated: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "emulates_bfloat16", lambda device: emulated)
    assert TrainConfig(precision=name).precision == name
    reduced = {"bfloat16": torch.bfloat16, "float16": torch.float16}
    with in_precision(name, "cpu"):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
        assert product.dtype == reduced.get(name, torch.float32)
        assert _GRADIENTS_ALONE.get() == (name == "bfloat16-gradients" and not emulated)
    assert not _GRADIENTS_ALONE.get()


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_a_lower_precision_learns_and_resumes(
    toy: type[Any], tmp_path: Path, log_each_step: None, precision: str
) -> None:
    dtypes = set()

    class Task(toy):
        def loss(self, model: Callable[..., Any], batch: torch.Tensor, samples: Any) -> Any:
            def called(x: torch.Tensor) -> torch.Tensor:
                out = model(x)
                dtypes.add(out.dtype)
                return out.float()

            return super().loss(called, batch, samples)

    settings = config(steps=100, validate_every=50, precision=precision)
    whole = RunDirectory(tmp_path / "whole")
    assert Trainer(Task(settings), whole).fit()
    assert dtypes == {getattr(torch, precision)}
    assert whole.records()[-1]["validation_loss"] < 0.05
    first = Trainer(Task(settings), RunDirectory(tmp_path / "parts"))
    first.listener = lambda p: first.request_stop() if p.step == 63 else None
    first.fit()
    parts = RunDirectory(tmp_path / "parts", resume=True)
    assert Trainer(Task(settings), parts).fit()
    assert_same_run(parts, whole)


def test_float16_finds_the_scale_of_its_loss(toy: type[Any], tmp_path: Path) -> None:
    class Task(toy):
        def loss(self, *given: Any) -> tuple[torch.Tensor, dict[str, float]]:
            loss, figures = super().loss(*given)
            return loss * 1000, figures  # its gradient times 2^16 is beyond float16

    trainer = Trainer(
        Task(config(steps=30, precision="float16", patience=20)), RunDirectory(tmp_path / "run")
    )
    assert trainer.fit()
    assert 3 <= trainer.skipped < 20
    assert trainer.learner._scaler.get_scale() == 2.0 ** (16 - trainer.skipped)


@pytest.mark.parametrize(
    ("known", "emulated"),
    [
        ({"architecture": "x86_64", "avx512_bf16": False}, True),
        ({"architecture": "x86_64", "avx512_bf16": True}, False),
        ({"architecture": "x86_64", "amx_bf16": True}, False),
        ({"architecture": "aarch64"}, False),
        ({}, False),
    ],
)
def test_torch_knows_processors_without_bfloat16(
    monkeypatch: pytest.MonkeyPatch, known: dict[str, Any], emulated: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known, raising=False)
    assert emulates_bfloat16("cpu") == emulated
    assert not emulates_bfloat16("cuda")


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "bfloat16-gradients"])
def test_a_run_says_once_that_bfloat16_will_be_slow(
    toy: type[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    monkeypatch.setattr(engine_module, "emulates_bfloat16", lambda device: True)
    told: list[str] = []
    task, run = toy(config(precision=precision)), RunDirectory(tmp_path / "run")
    Trainer(task, run, tell=told.append).fit()
    said = "this processor has no bfloat16 arithmetic: steps take up to ten times as long as with "
    assert told == ([f"{said}precision float32"] if precision == "bfloat16" else [])


@pytest.mark.parametrize("wanted", [True, False])
def test_a_run_says_where_it_cannot_compile(
    toy: type[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: bool
) -> None:
    monkeypatch.setattr(engine_module, "can_compile", lambda: False)
    monkeypatch.setattr(engine_module, "is_switched_off", lambda: False)
    told: list[str] = []
    run = RunDirectory(tmp_path / "run")
    Trainer(toy(config(compile=wanted)), run, tell=told.append).fit()
    assert [text for text in told if "C++ compiler" in text] == told
    assert len(told) == wanted
    [entry] = json.loads((run.path / "provenance.json").read_text())
    assert entry["compiled"] is False


def test_a_run_that_compiles_is_fused_in_both_directions(
    toy: type[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "can_compile", lambda: True)
    monkeypatch.setattr(fused, "can_compile", lambda: True)
    spec, seen = PadeSpec(), []
    monkeypatch.setattr(fused, "value", lambda *given: seen.append("value") or given[0][0][:, :1])
    monkeypatch.setattr(
        fused, "slopes", lambda *given: seen.append("slopes") or ([given[1][0] * 0], given[2] * 0)
    )

    class Task(toy):
        def loss(self, *given: Any) -> tuple[torch.Tensor, dict[str, float]]:
            loss, figures = super().loss(*given)
            terms = torch.ones(1, 2, 1, 1, requires_grad=True)
            return loss + rational([terms], torch.zeros(1), spec).sum(), figures

    run = RunDirectory(tmp_path / "run")
    Trainer(Task(config(steps=2, compile=True)), run).fit()
    assert seen == ["value", "slopes"] * 2
    [entry] = json.loads((run.path / "provenance.json").read_text())
    assert entry["compiled"] is True
    seen.clear()
    Trainer(Task(config(steps=2)), RunDirectory(tmp_path / "plain")).fit()
    assert not seen


def test_a_compiler_that_fails_in_a_run_is_told_once(
    toy: type[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures: list[str] = []
    monkeypatch.setattr(fused, "_failures", failures)
    told: list[str] = []
    trainer = Trainer(toy(config()), RunDirectory(tmp_path / "run"), tell=told.append)
    trainer.listener = lambda progress: failures.append("OSError: no space left")
    trainer.fit()
    said = "torch's compiler failed, the run goes on without it (OSError: no space left)"
    assert told == [said]


@pytest.mark.parametrize("command", [codec_train, vision_train])
def test_commands_offer_all_precisions(command: click.Command) -> None:
    """They list them by themselves: the module that has them imports torch."""
    [option] = [p for p in command.params if p.name == "precision"]
    assert isinstance(option.type, click.Choice)
    assert tuple(option.type.choices) == PRECISIONS
