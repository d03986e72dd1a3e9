"""tools/pure_options.py: what the paper leaves open, trained alike."""

from __future__ import annotations

from tests.vision.classification.conftest import write_folders


def test_each_choice_has_a_row(tool, monkeypatch, capsys, tmp_path) -> None:
    place = write_folders(tmp_path / "two", side=8)
    words = ["pure_options.py", place, "--steps", 2, "--batch-size", 3, "--held-out", 6]
    monkeypatch.setattr("sys.argv", [str(word) for word in words])
    tool("pure_options").main()
    heads, _, *rows = capsys.readouterr().out.splitlines()
    assert heads.startswith("| batch norms | outer ReLU | parameters |")
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert [row[:2] for row in cells] == [
        ["yes", "yes"],
        ["yes", "no"],
        ["no", "yes"],
        ["no", "no"],
    ]
    assert cells[0][2] == cells[1][2] != cells[2][2]
    assert all(row[3].endswith("%") and row[6] == "0" for row in cells)
