"""What is made stands between two comments of a document, and only that changes."""

from __future__ import annotations

import pytest

TEXT = "a\n<!-- kodak -->\nold\n<!-- /kodak -->\nb\n"


@pytest.fixture(scope="module")
def documents(tool):
    return tool("_documents")


def test_only_what_is_between_the_markers_changes(documents):
    assert documents.with_part(TEXT, "kodak", "new\n") == TEXT.replace("old", "new")


@pytest.mark.parametrize("text", ["a\n", "<!-- /kodak -->\n<!-- kodak -->\n"])
def test_a_document_without_the_markers_is_refused(documents, text):
    with pytest.raises(ValueError, match="markers"):
        documents.with_part(text, "kodak", "new\n")


def test_a_stale_document_is_written_or_named(documents, tmp_path, capsys):
    document = tmp_path / "a.md"
    document.write_text(TEXT)
    assert documents.settle(document, TEXT, check=True) == 0
    assert documents.settle(document, "fresh\n", check=True) == 1
    assert "a.md: stale" in capsys.readouterr().err
    assert document.read_text() == TEXT
    assert documents.settle(document, "fresh\n", check=False) == 0
    assert document.read_text() == "fresh\n"


def test_a_table_has_a_line_under_its_head(documents):
    assert (
        documents.markdown_table(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"
    )
