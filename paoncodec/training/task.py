"""What the engine asks of a task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from paoncodec.training.config import TrainConfig
from paoncodec.training.samples import Samples


class Task(Protocol):
    """A model with its data and loss; everything the engine does not know.

    A task knows nothing of processes, devices, precision or steps: it is given samples.
    """

    config: TrainConfig
    model: nn.Module
    may_change: AbstractSet[str]
    """Settings of :meth:`describe`, by dotted name, that a resumed run may change."""
    counts: AbstractSet[str]
    """Figures of :meth:`loss` that are numbers of events: of a batch their sum, and in a line of
    the record their sum since the line before."""

    def describe(self) -> dict[str, Any]:
        """All settings, JSON-ready: with the code, they determine the run."""
        ...

    def start(self) -> None:
        """Sets the weights of a new run (not called on a resume), in the main process."""
        ...

    def optimizers(self) -> list[torch.optim.Optimizer]:
        """The optimisers; the engine scales each group's ``initial_lr`` by the schedule."""
        ...

    def data(self) -> Dataset[Any]:
        """The run's samples by number, 0 to steps·batch_size − 1: pure functions of config and
        number, as ``default_collate`` takes them.

        A picture that cannot be used is warned of by :class:`.PictureLeftOut`, and replaced.
        """
        ...

    def loss(
        self, model: Callable[..., Any], batch: Any, samples: Samples
    ) -> tuple[Tensor, dict[str, float]]:
        """The loss to differentiate and the figures to log, means over the samples.

        So the means over several parts of a batch are those of the batch. Terms that depend on the
        weights alone may be added. What :attr:`counts` names is added up instead.

        Args:
            model: calls :attr:`model`, in the run's precision and for all processes.
            batch: collated samples, on the device.
            samples: whose they are; random numbers come from here.
        """
        ...

    def validate(self, model: nn.Module) -> dict[str, float]:
        """Figures on held-out data, ``"loss"`` (smaller is better) among them, on its device."""
        ...

    def pictures(self, model: nn.Module) -> Mapping[str, Tensor]:
        """What to look at beside them: a few pictures by name, each (3, H, W) in [0, 1]."""
        ...

    def export(self, model: nn.Module, path: str, metadata: dict[str, str]) -> None:
        """Writes ready-to-use weights of ``model``, on the CPU; leaves it as it is.

        Raises:
            OSError: the file cannot be written.
            RuntimeError, ValueError, ArithmeticError, WeightsError: no file can be made of the
                weights; the run has diverged.
        """
        ...
