"""Sizes as people write them, and what may be taken."""

from __future__ import annotations

from types import SimpleNamespace

import psutil
import pytest

from paoncodec.errors import UsageError
from paoncodec.memory import FREE_SHARE, Budget, parse_size, size_text

GIB = 2**30


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1000", 1000),
        ("1000B", 1000),
        ("1k", 1024),
        ("2.5GiB", 5 * GIB // 2),
        ("2.5 gb", 5 * GIB // 2),
        ("800M", 800 * 2**20),
        ("1T", 1024 * GIB),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "G", "-1", "0", "0.2", "2 apples", "nan", "inf", "1e30"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(ValueError, match=r"size|float"):
        parse_size(text)


def test_sizes_are_told_in_binary_units() -> None:
    assert size_text(5 * GIB / 2) == "2.50 GiB"
    assert size_text(830 * 2**20) == "830 MiB"


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """1 GiB is held, 8 GiB are free."""
    held = SimpleNamespace(memory_info=lambda: SimpleNamespace(rss=GIB))
    monkeypatch.setattr(psutil, "Process", lambda: held)
    free = SimpleNamespace(available=8 * GIB)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)


@pytest.mark.usefixtures("machine")
def test_a_limit_counts_what_is_held() -> None:
    budget = Budget.of(3 * GIB)
    assert (budget.room, budget.held) == (2 * GIB, GIB)
    budget.require(2 * GIB, "this")
    with pytest.raises(UsageError) as caught:
        budget.require(2.5 * GIB, "this")
    assert str(caught.value).startswith(
        "this takes about 3.50 GiB of memory, 3.00 GiB are allowed: raise --max-memory"
    )


@pytest.mark.usefixtures("machine")
def test_without_a_limit_a_share_of_what_is_free_is_taken_and_nothing_refused() -> None:
    budget = Budget.of(None)
    assert budget.room == FREE_SHARE * 8 * GIB
    budget.require(7 * GIB, "this")
    with pytest.raises(UsageError, match=r"8.00 GiB of memory, 5.00 GiB are allowed"):
        budget.require(7 * GIB, "this", firm=True)


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_is_positive(limit: int) -> None:
    with pytest.raises(UsageError, match=f"max_memory {limit}: must be at least 1"):
        Budget.of(limit)
