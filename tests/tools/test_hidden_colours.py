"""tools/hidden_colours.py: what is hidden, and that filling it pays."""

from __future__ import annotations

import re

import numpy as np


def test_the_disc_is_half_as_wide_and_high_as_the_picture(tool) -> None:
    alpha = tool("hidden_colours").disc(40, 80)
    rows, columns = np.nonzero(alpha)
    assert (rows.min(), rows.max()) == (10, 29)
    assert (columns.min(), columns.max()) == (20, 59)
    assert set(np.unique(alpha)) == {0, 255}
    assert abs(np.mean(alpha > 0) - np.pi / 16) < 0.01


def test_filling_pays(tool, tiny_weights, pictures, monkeypatch, capsys) -> None:
    words = ["hidden_colours.py", str(pictures / "a.png"), "--model", str(tiny_weights)]
    monkeypatch.setattr("sys.argv", words)
    tool("hidden_colours").main()
    said = capsys.readouterr().out
    assert said.startswith("80% of the pixels are hidden\n")
    as_they_are, _, filled = map(int, re.findall(r"(\d+)", said.splitlines()[1]))
    assert 0 < filled < as_they_are
