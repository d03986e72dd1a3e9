"""Batches for one process: loaded ahead by workers, with what they had to say."""

from __future__ import annotations

import signal
import warnings
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch.utils.data import DataLoader, Dataset, default_collate

from paoncodec.errors import PaonError, PictureLeftOut


class Loaded(NamedTuple):
    """A micro-batch, and the warnings of :class:`.PictureLeftOut` that came with it."""

    batch: Any
    warned: list[str]


def load(
    data: Dataset[Any], batches: Iterable[range], workers: int, pin: bool = False
) -> Generator[Loaded, None, None]:
    """The samples of ``data`` by number, collated; ends its workers when it is closed.

    Args:
        data: sample k under index k, the same in every process.
        batches: numbers of the samples of each.
        workers: processes that load ahead; 0 loads in this one.
        pin: into memory that a GPU reads fast.

    Raises:
        PaonError: as loading a sample raised it, in whatever process.
    """
    loader = DataLoader(
        _Reporting(data),
        batch_sampler=map(list, batches),
        num_workers=workers,
        collate_fn=_collate,
        pin_memory=pin,
        worker_init_fn=_ignore_signals,
        # A loader draws a number as it starts: not from the default generator, which is others'.
        generator=torch.Generator().manual_seed(0),
    )
    for batch, warned, error in loader:
        if error is not None:
            raise error
        yield Loaded(batch, warned)


@contextmanager
def listening() -> Iterator[list[str]]:
    """Yields a list that gets the texts of all :class:`.PictureLeftOut` warned of inside.

    Other warnings go on as if nobody had listened.
    """
    texts: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", PictureLeftOut)
        try:
            yield texts
        finally:
            texts += [str(w.message) for w in caught if issubclass(w.category, PictureLeftOut)]
    for other in caught:
        if not issubclass(other.category, PictureLeftOut):
            warnings.warn_explicit(other.message, other.category, other.filename, other.lineno)


class _Reporting(Dataset[tuple[Any, list[str], PaonError | None]]):
    """Samples with what was warned of on the way, or the error in place of one.

    A loader would wrap an error in the traceback of its worker.
    """

    def __init__(self, data: Dataset[Any]) -> None:
        self._data = data

    def __getitem__(self, number: int) -> tuple[Any, list[str], PaonError | None]:
        with listening() as warned:
            try:
                return self._data[number], warned, None
            except PaonError as error:
                return None, warned, error


def _collate(
    items: list[tuple[Any, list[str], PaonError | None]],
) -> tuple[Any, list[str], PaonError | None]:
    samples, warned, errors = zip(*items, strict=True)
    error = next((e for e in errors if e is not None), None)
    batch = default_collate(list(samples)) if error is None else None
    return batch, [text for texts in warned for text in texts], error


def _ignore_signals(worker: int) -> None:
    """Ctrl-C, or a launcher's signal, reaches the whole group; the training process says when its
    workers end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
