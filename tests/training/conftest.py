"""A task small enough to be followed by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from paoncodec.training import Samples, TrainConfig


class Points(Dataset[Tensor]):
    """Random points, each a function of its number."""

    def __getitem__(self, number: int) -> Tensor:
        return torch.randn(3, generator=torch.Generator().manual_seed(number))


@dataclass
class ToyTask:
    """A line through noisy points. Its loss draws noise, as a codec's does.

    Args:
        config: settings of the loop.
        bad_steps: 0-based steps whose loss is not finite.
        rate: learning rate.
        dropout: how much noise of torch's default generator there is beside the samples' own.
    """

    config: TrainConfig
    bad_steps: tuple[int, ...] = ()
    rate: float = 0.1
    dropout: float = 0.1
    counts: ClassVar[frozenset[str]] = frozenset()
    may_change = frozenset({"train.steps", "train.workers"})
    model: nn.Module = field(init=False)

    def __post_init__(self) -> None:
        torch.manual_seed(self.config.seed)
        self.model = nn.Linear(3, 1)

    def describe(self) -> dict[str, Any]:
        return {"rate": self.rate, "train": asdict(self.config)}

    def start(self) -> None:
        nn.init.normal_(self.model.weight)

    def optimizers(self) -> list[torch.optim.Optimizer]:
        groups = [
            {"params": [p], "lr": self.rate, "initial_lr": self.rate}
            for p in self.model.parameters()
        ]
        return [torch.optim.Adam([group]) for group in groups]

    def data(self) -> Dataset[Tensor]:
        return Points()

    def loss(
        self, model: Callable[..., Any], batch: Tensor, samples: Samples
    ) -> tuple[Tensor, dict[str, float]]:
        noisy = batch + 0.1 * samples.uniform(3) + self.dropout * torch.randn(len(batch), 3)
        loss = (model(noisy) - batch.sum(1, keepdim=True)).square().mean()
        if samples.numbers.start // self.config.batch_size in self.bad_steps:
            loss = loss * torch.nan
        return loss, {"loss": loss.item()}

    def validate(self, model: nn.Module) -> dict[str, float]:
        held_out = torch.randn(8, 3, generator=torch.Generator().manual_seed(999))
        return {"loss": (model(held_out) - held_out.sum(1, keepdim=True)).square().mean().item()}

    def pictures(self, model: nn.Module) -> Mapping[str, Tensor]:
        return {"weights": model.weight.expand(3, 1, 3).sigmoid()}

    def export(self, model: nn.Module, path: str, metadata: dict[str, str]) -> None:
        Path(path).write_text(f"{metadata['step']} {model.weight.tolist()}")


@pytest.fixture(scope="session")
def toy() -> type[ToyTask]:
    return ToyTask


@pytest.fixture(autouse=True)
def _quick_provenance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Versions of all packages take longer than the toy runs."""
    monkeypatch.setattr("paoncodec.training.engine.provenance", dict)


@pytest.fixture
def log_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("paoncodec.training.engine.LOG_EVERY", 1)
