from __future__ import annotations

from pathlib import Path

import pytest

from paoncodec.errors import UsageError
from paoncodec.images.sources import Source, parse_sources


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("a", "b c", "x=2", "sub/d"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_folders_with_and_without_a_weight(place: Path) -> None:
    assert parse_sources(["a", "b c=2.5", str(place / "sub" / "d")]) == [
        Source(place / "a", 1.0),
        Source(place / "b c", 2.5),
        Source(place / "sub" / "d", 1.0),
    ]


def test_a_name_that_exists_is_taken_as_it_stands(place: Path) -> None:
    assert parse_sources(["x=2", "x=2=3"]) == [Source(place / "x=2"), Source(place / "x=2", 3.0)]


def test_a_list_has_a_line_for_each(place: Path) -> None:
    (place / "sub" / "list.txt").write_text(
        f"# path weight\n\n  d\t0.5 \n../b c\n../b c 3\n{place / 'a'} 1e1\n"
    )
    assert parse_sources(["sub/list.txt"]) == [
        Source(place / "sub" / "d", 0.5),
        Source(place / "sub" / ".." / "b c", 1.0),
        Source(place / "sub" / ".." / "b c", 3.0),
        Source(place / "a", 10.0),
    ]


@pytest.mark.parametrize("weight", ["0", "-1", "nan", "inf", "much", ""])
def test_a_weight_that_is_none_is_named(place: Path, weight: str) -> None:
    with pytest.raises(UsageError, match=rf"a={weight}: weight '{weight}' must be a number above"):
        parse_sources([f"a={weight}"])


@pytest.mark.parametrize(
    ("text", "fault"),
    [("a 1\nb c twice", "line 2: weight 'twice'"), ("# nothing\n", "names no folder")],
)
def test_a_list_at_fault_is_named(place: Path, text: str, fault: str) -> None:
    (place / "list.txt").write_text(text)
    with pytest.raises(UsageError, match=fault):
        parse_sources(["list.txt"])


def test_a_list_that_is_no_text_is_named(place: Path) -> None:
    (place / "list.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match=r"list\.txt: cannot be read as a list"):
        parse_sources(["list.txt"])
