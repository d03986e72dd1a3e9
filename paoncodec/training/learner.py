"""One optimiser step, whatever the precision and however a batch is parted."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from paoncodec.layers.fused import fused_quotients
from paoncodec.training.loading import Loaded
from paoncodec.training.precision import in_precision
from paoncodec.training.processes import Processes
from paoncodec.training.samples import Samples
from paoncodec.training.task import Task

_Tensors = tuple[Tensor, ...] | list[Tensor]


class Learner:
    """A task's model with all that changes when it learns.

    Args:
        task: its model begins with the weights that it has in the main process.
        processes: that share each batch.

    Attributes:
        optimizers: the task's.
        average: exponential moving average of the model.
    """

    def __init__(self, task: Task, processes: Processes) -> None:
        self._task, self._config, self._processes = task, task.config, processes
        self._device = processes.device
        self._scaler = torch.amp.GradScaler(
            self._device.type, enabled=self._config.precision == "float16"
        )
        self._prepared = processes.prepare(task.model)
        self.optimizers = task.optimizers()
        self.average = AveragedModel(
            task.model, multi_avg_fn=_warmed_up(self._config.ema), use_buffers=True
        )

    def state(self) -> dict[str, Any]:
        """All of it, for :meth:`restore`."""
        return {
            "model": self._task.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "scaler": self._scaler.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from a state.

        Raises:
            RuntimeError, ValueError: it is of another model, or of other optimisers.
        """
        self._task.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        if state.get("scaler"):
            self._scaler.load_state_dict(state["scaler"])

    def step(self, parts: list[tuple[range, Loaded]], factor: float) -> dict[str, float]:
        """Learns from this process's micro-batches, together with the others.

        Where loss or gradient is not finite, nothing sees the step: no optimiser, nor the average,
        nor what the model keeps of its batches, as batch normalisation does.

        Args:
            parts: numbers of the samples of each micro-batch, and what was loaded for them.
            factor: what the learning rates are multiplied by.

        Returns:
            Figures of the whole batch; the norm of the gradient, ``gradient_norm``, is among them
            where the step was taken.
        """
        for optimizer in self.optimizers:
            optimizer.zero_grad()
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor
        kept = [buffer.detach().clone() for buffer in self._task.model.buffers()]
        with fused_quotients(self._config.compile):
            loss, figures = self._backward(parts)
        norms = [self._clip(optimizer) for optimizer in self.optimizers]
        if all(map(math.isfinite, (loss, *norms))):
            for optimizer in self.optimizers:
                self._scaler.step(optimizer)
            self.average.update_parameters(self._task.model)
            figures["gradient_norm"] = norms[0]
        else:
            with torch.no_grad():
                for buffer, value in zip(self._task.model.buffers(), kept, strict=True):
                    buffer.copy_(value)
        self._scaler.update()
        return figures

    def _backward(self, parts: list[tuple[range, Loaded]]) -> tuple[float, dict[str, float]]:
        """Leaves the batch's gradients; its loss and figures, over all processes."""
        self._task.model.train()
        totals: dict[str, float] = {}
        for place, (numbers, loaded) in enumerate(parts):
            samples = Samples(numbers, self._config.batch_size, self._config.seed, self._device)
            samples.seed_torch()
            batch = self._processes.move(loaded.batch)
            last = place == len(parts) - 1
            with nullcontext() if last else self._processes.apart(self._prepared):
                loss, figures = self._task.loss(self._forward, batch, samples)
                self._scaler.scale(loss / len(parts)).backward()
            for name, value in {**figures, "": float(loss.detach())}.items():
                totals[name] = totals.get(name, 0.0) + value
        means = self._processes.mean(totals)
        whole = {
            name: value * self._processes.count if name in self._task.counts else value / len(parts)
            for name, value in means.items()
        }
        return whole.pop(""), whole

    def _forward(self, *arguments: Any, **named: Any) -> Any:
        """The model, in the run's precision."""
        with in_precision(self._config.precision, self._device.type):
            return self._prepared(*arguments, **named)

    def _clip(self, optimizer: torch.optim.Optimizer) -> float:
        """The norm that the gradient had.

        Each optimiser's parameters by themselves: a large auxiliary gradient must not shrink the
        others.
        """
        self._scaler.unscale_(optimizer)
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        return float(torch.nn.utils.clip_grad_norm_(parameters, self._config.clip))


def _warmed_up(decay: float) -> Callable[[_Tensors, _Tensors, Tensor | int], None]:
    """An exponential moving average whose decay rises to ``decay``: (1 + n) / (10 + n) after n.

    With a constant decay of 0.999 half of the first weights would be left after 700 updates.
    """

    def update(averages: _Tensors, weights: _Tensors, count: Tensor | int) -> None:
        updates = int(count)
        risen = min(decay, (1 + updates) / (10 + updates))
        get_ema_multi_avg_fn(risen)(averages, weights, count)

    return update
