"""tools/vision_seeds.py: all seeds, and the table of them."""

from __future__ import annotations

import pytest

from paoncodec.errors import UsageError
from tests.vision.classification.conftest import write_galaxies


def test_a_network_comes_with_its_recipe(tool, monkeypatch, tmp_path) -> None:
    words = ["vision_seeds.py", str(tmp_path), "--data", "a", "--network", "resnet20"]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(UsageError, match="give NAME=PRESET"):
        tool("vision_seeds").main()


@pytest.mark.slow
def test_a_study_goes_on_where_it_was(tool, monkeypatch, capfd, tmp_path) -> None:
    pytest.importorskip("h5py")
    data = write_galaxies(tmp_path / "galaxies.h5", 60)
    words = ["vision_seeds.py", tmp_path / "out", "--data", data, "--photons", 255, "--seeds", 2]
    words += ["--network", "pure-resnet20=pure-galaxy10", "--threads", 1]
    words += ["--epochs", 1, "--batch-size", 28, "--workers", 0]
    monkeypatch.setattr("sys.argv", [str(word) for word in words])
    tool("vision_seeds").main()
    first, said = capfd.readouterr()
    assert said.count("$ paoncodec vision eval") == 4
    [row] = [line for line in first.splitlines() if line.startswith("| pure-resnet20")]
    assert "| galaxies.h5 | 2 |" in row
    (tmp_path / "out" / "pure-resnet20-1" / "result.json").unlink()
    tool("vision_seeds").main()
    again, said = capfd.readouterr()
    assert said.count("$ paoncodec vision eval") == 1
    assert "--resume" in said
    columns = slice(0, 8)  # times are others
    [other] = [line for line in again.splitlines() if line.startswith("| pure-resnet20")]
    assert other.split("|")[columns] == row.split("|")[columns]
