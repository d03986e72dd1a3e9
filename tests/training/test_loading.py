from __future__ import annotations

import multiprocessing
import os
import signal
import time
import warnings

import pytest
import torch
from torch.utils.data import Dataset

from paoncodec.errors import ImageError, PictureLeftOut
from paoncodec.training.loading import listening, load


class Numbers(Dataset[dict[str, int]]):
    """Number k under k; 3 is complained of, 7 cannot be had."""

    def __getitem__(self, number: int) -> dict[str, int]:
        if number == 7:
            raise ImageError("none can be read")
        if number == 3:
            warnings.warn("3.png: damaged", PictureLeftOut, stacklevel=1)
        return {"number": number, "process": os.getpid()}


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_batches_come_in_order_with_what_was_warned_of(workers: int) -> None:
    random = torch.get_rng_state()
    loaded = list(load(Numbers(), [range(2), range(2, 5), range(5, 6)], workers))
    assert [batch["number"].tolist() for batch, _ in loaded] == [[0, 1], [2, 3, 4], [5]]
    assert [warned for _, warned in loaded] == [[], ["3.png: damaged"], []]
    assert torch.equal(torch.get_rng_state(), random)
    own = {pid for batch, _ in loaded for pid in batch["process"].tolist()} == {os.getpid()}
    assert own == (workers == 0)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_of_a_sample_is_raised_as_it_is(workers: int) -> None:
    batches = load(Numbers(), [range(2), range(6, 8)], workers)
    assert next(batches).batch["number"].tolist() == [0, 1]
    with pytest.raises(ImageError) as caught:
        next(batches)
    assert str(caught.value) == "none can be read"


def test_workers_end_with_their_batches_and_not_by_a_signal_to_the_group() -> None:
    batches = load(Numbers(), (range(k % 3, k % 3 + 1) for k in range(100)), 1)
    next(batches)
    [worker] = multiprocessing.active_children()
    assert worker.pid is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(worker.pid, number)
    time.sleep(0.1)
    for _ in range(20):
        next(batches)
    batches.close()
    assert multiprocessing.active_children() == []


def complain(other: str = "") -> None:
    warnings.warn("a.png: damaged", PictureLeftOut, stacklevel=1)
    if other:
        warnings.warn(other, RuntimeWarning, stacklevel=1)
        return
    raise ImageError("none can be read")


def test_other_warnings_go_on() -> None:
    with pytest.warns(RuntimeWarning, match="odd"), listening() as heard:
        complain("odd")
    assert heard == ["a.png: damaged"]


def test_what_was_warned_of_before_an_error_is_heard() -> None:
    with pytest.raises(ImageError), listening() as heard:
        complain()
    assert heard == ["a.png: damaged"]
