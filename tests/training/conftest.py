"""A task small enough to be followed by hand."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from paoncodec.training import TrainConfig


@dataclass
class ToyTask:
    """A line through noisy points. Its loss draws noise, as a codec's does.

    Args:
        config: settings of the loop.
        bad_steps: 0-based steps whose loss is not finite.
        rate: learning rate.
    """

    config: TrainConfig
    bad_steps: tuple[int, ...] = ()
    rate: float = 0.1
    may_change = frozenset({"train.steps", "train.workers"})
    model: nn.Module = field(init=False)
    closed: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        torch.manual_seed(self.config.seed)
        self.model = nn.Linear(3, 1)
        self._step = 0

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

    def batches(self, first_step: int) -> Generator[Tensor, None, None]:
        try:
            for step in range(first_step, self.config.steps):
                self._step = step
                yield torch.randn(4, 3, generator=torch.Generator().manual_seed(step))
        finally:
            self.closed = True

    def loss(self, batch: Tensor) -> tuple[Tensor, dict[str, float]]:
        noisy = batch + 0.1 * torch.randn(batch.shape)
        loss = (self.model(noisy) - batch.sum(1, keepdim=True)).square().mean()
        if self._step in self.bad_steps:
            loss = loss * torch.nan
        return loss, {"loss": loss.item()}

    def validate(self, model: nn.Module) -> dict[str, float]:
        held_out = torch.randn(8, 3, generator=torch.Generator().manual_seed(999))
        return {"loss": (model(held_out) - held_out.sum(1, keepdim=True)).square().mean().item()}

    def export(self, model: nn.Module, path: str, metadata: dict[str, str]) -> None:
        Path(path).write_text(f"{metadata['step']} {model.weight.tolist()}")


@pytest.fixture
def toy() -> type[ToyTask]:
    return ToyTask
