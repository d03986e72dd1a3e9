"""The processes that train together, by way of Hugging Face Accelerate; mostly there is one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from paoncodec.errors import PaonError, UsageError

if TYPE_CHECKING:
    from accelerate import Accelerator

# While the main process validates and writes, the others wait for it.
_PATIENCE = timedelta(hours=1)


class Processes:
    """This process among those that were launched together, and the device that it computes on.

    `accelerate launch`, torchrun or mpirun say through the environment how many there are; without
    them there is one, on a GPU where there is one. Precision is not Accelerate's business here: its
    state is one for the whole process, and could not differ between two trainings in it.

    Raises:
        UsageError: Accelerate is not installed.
    """

    def __init__(self) -> None:
        self._accelerator = _accelerator()

    @property
    def index(self) -> int:
        """From 0, the main one's, to ``count`` − 1."""
        return self._accelerator.process_index

    @property
    def count(self) -> int:
        return self._accelerator.num_processes

    @property
    def is_main(self) -> bool:
        """Whether it is this process that writes and talks."""
        return self._accelerator.is_main_process

    @property
    def device(self) -> torch.device:
        return self._accelerator.device

    def prepare(self, model: nn.Module) -> nn.Module:
        """Puts ``model`` on the device, with the main process's weights.

        Returns:
            What to call in its place: its backward pass averages the gradients of all processes.
        """
        prepared: nn.Module = self._accelerator.prepare_model(model)
        return prepared

    def apart(self, prepared: nn.Module) -> AbstractContextManager[Any]:
        """Backward passes inside keep their gradients to this process, to be added to."""
        return nullcontext() if self.count == 1 else self._accelerator.no_sync(prepared)

    def move(self, batch: Any) -> Any:
        """A batch's tensors on the device, however they are nested."""
        from accelerate.utils import send_to_device

        return send_to_device(batch, self.device, non_blocking=True)

    def mean(self, figures: Mapping[str, float]) -> dict[str, float]:
        """Each figure's mean over the processes, all of which must give the same names."""
        if self.count == 1:
            return dict(figures)
        values = torch.tensor(list(figures.values()), dtype=torch.float64, device=self.device)
        means = self._accelerator.reduce(values, "mean").tolist()
        return dict(zip(figures, means, strict=True))

    def any(self, flag: bool) -> bool:
        """Whether it is so in one process at least."""
        return self.mean({"flag": float(flag)})["flag"] > 0

    def gather(self, value: Any) -> list[Any]:
        """``value`` of every process, in their order; pickled."""
        if self.count == 1:
            return [value]
        from accelerate.utils import gather_object

        return gather_object([value])

    @contextmanager
    def together(self) -> Iterator[None]:
        """A stretch that all leave together: a :class:`PaonError` of one is raised by all.

        Otherwise the others would wait for ever for one that has gone.
        """
        error: PaonError | None = None
        try:
            yield
        except PaonError as own:
            if self.count == 1:
                raise
            error = own
        if self.any(error is not None):
            raise next(e for e in self.gather(error) if e is not None)

    def describe(self) -> dict[str, Any]:
        """For the provenance; JSON-ready. All processes must call it."""
        return {
            "processes": self.count,
            "kind": str(self._accelerator.distributed_type).rpartition(".")[2],
            "devices": self.gather(_name_of(self.device)),
        }

    def end(self) -> None:
        """Takes leave of the others, after the last training of this process."""
        self._accelerator.end_training()


def _accelerator() -> Accelerator:
    try:
        from accelerate import Accelerator
        from accelerate.utils import InitProcessGroupKwargs
    except ImportError as error:
        raise UsageError(
            "training needs the package accelerate: pip install 'paoncodec[train]'"
        ) from error
    return Accelerator(
        mixed_precision="no", kwargs_handlers=[InitProcessGroupKwargs(timeout=_PATIENCE)]
    )


def _name_of(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
