"""What the engine asks of a task."""

from __future__ import annotations

from collections.abc import Generator
from collections.abc import Set as AbstractSet
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from paoncodec.training.config import TrainConfig


class Task(Protocol):
    """A model with its data and loss; everything the engine does not know."""

    config: TrainConfig
    model: nn.Module
    may_change: AbstractSet[str]
    """Settings of :meth:`describe`, by dotted name, that a resumed run may change."""

    def describe(self) -> dict[str, Any]:
        """All settings, JSON-ready: with the code, they determine the run."""
        ...

    def start(self) -> None:
        """Sets the weights of a new run (not called on a resume)."""
        ...

    def optimizers(self) -> list[torch.optim.Optimizer]:
        """The optimisers; the engine scales each group's ``initial_lr`` by the schedule."""
        ...

    def batches(self, first_step: int) -> Generator[Tensor, None, None]:
        """One batch for each step from ``first_step`` on: a pure function of config and step.

        It takes nothing from torch's default generator, whose state belongs to the steps, and frees
        what it holds when it is closed.
        """
        ...

    def loss(self, batch: Tensor) -> tuple[Tensor, dict[str, float]]:
        """The loss to differentiate and the figures to log."""
        ...

    def validate(self, model: nn.Module) -> dict[str, float]:
        """Figures on held-out data, ``"loss"`` (smaller is better) among them."""
        ...

    def export(self, model: nn.Module, path: str, metadata: dict[str, str]) -> None:
        """Writes ready-to-use weights; leaves ``model`` as it is.

        Raises:
            OSError: the file cannot be written.
            RuntimeError, ValueError, ArithmeticError, WeightsError: no file can be made of the
                weights; the run has diverged.
        """
        ...
