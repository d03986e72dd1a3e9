from __future__ import annotations

import pytest

from paoncodec.errors import UsageError
from paoncodec.training.changes import Change, check_changes, find_changes

SAVED = {"lmbda": 0.01, "data": ["a"], "train": {"steps": 10, "shrink": [0.5, 0.8]}}


def test_equal_settings_have_no_changes_be_they_tuples_or_lists() -> None:
    now = {"lmbda": 0.01, "data": ("a",), "train": {"steps": 10, "shrink": (0.5, 0.8)}}
    assert find_changes(SAVED, now) == []


def test_changes_are_named_by_their_place() -> None:
    now = {"lmbda": 0.02, "data": ["a"], "train": {"steps": 20, "shrink": None}}
    assert find_changes(SAVED, now) == [
        Change("lmbda", 0.01, 0.02),
        Change("train.shrink", [0.5, 0.8], None),
        Change("train.steps", 10, 20),
    ]


def test_a_setting_newer_than_the_run_is_no_change_and_one_that_went_is() -> None:
    now = {"lmbda": 0.01, "train": {"steps": 10, "shrink": [0.5, 0.8], "new": 1}}
    assert find_changes(SAVED, now) == [Change("data", ["a"], None)]


def test_allowed_changes_are_given_back() -> None:
    now = {**SAVED, "data": ["b"]}
    assert check_changes(SAVED, now, {"data"}, "RUN") == [Change("data", ["a"], ["b"])]


def test_a_forbidden_change_says_which_and_what_may_change() -> None:
    now = {**SAVED, "data": ["b"], "lmbda": 0.02}
    with pytest.raises(UsageError) as caught:
        check_changes(SAVED, now, {"data"}, "RUN")
    assert "lmbda was 0.01, now 0.02;" in str(caught.value)
    assert "change only data:" in str(caught.value)
    assert '"b"' not in str(caught.value)
