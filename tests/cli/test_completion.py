"""What a shell is told when a word is to be completed."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from click.shell_completion import ShellComplete

from paoncodec import zoo
from paoncodec.cli import main


def completed(*words: str) -> list[tuple[str, str]]:
    """Kind and value of all that the last word may become."""
    complete = ShellComplete(main, {}, "paoncodec", "_PAONCODEC_COMPLETE")
    found = complete.get_completions(list(words[:-1]), words[-1])
    return [(item.type, item.value) for item in found]


def test_commands_and_options() -> None:
    assert completed("enc") == [("plain", "encode")]
    assert completed("vision", "pre") == [("plain", "predict")]
    assert ("plain", "--target-bpp") in completed("encode", "--target")


@pytest.mark.parametrize("command", ["encode", "decode", "info"])
def test_files(command: str) -> None:
    assert completed(command, "pho") == [("file", "pho")]


@pytest.mark.parametrize("command", ["encode", "decode"])
def test_outputs_and_models(command: str) -> None:
    assert completed(command, "a", "-o", "out/pho") == [("file", "out/pho")]
    assert ("plain", "mbt-paon-small") in completed(command, "a", "--model", "mbt-paon-s")
    assert completed(command, "a", "--model", "mbt-paon-small-v") == [
        ("plain", "mbt-paon-small-variable-v2"),
        ("plain", "mbt-paon-small-variable-v3"),
        ("plain", "mbt-paon-small-variable-v4"),
        ("plain", "mbt-paon-small-variable-v5"),
        ("plain", "mbt-paon-small-variable"),
    ]
    assert completed(command, "a", "--model", "runs/") == [("file", "runs/")]


def test_a_damaged_zoo_completes_to_files(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    (tmp_path / "x.json").write_text("{")
    monkeypatch.setattr(zoo, "FOLDER", tmp_path)
    assert completed("encode", "a", "--model", "") == [("file", "")]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_that_the_help_speaks_of(shell: str) -> None:
    assert f"_PAONCODEC_COMPLETE={shell}_source paoncodec" in main.get_help(
        main.make_context("paoncodec", [], resilient_parsing=True)
    )
    code = "import sys; sys.argv[0] = 'paoncodec'; from paoncodec.cli import main; main()"
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "_PAONCODEC_COMPLETE": f"{shell}_source"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "_PAONCODEC_COMPLETE" in run.stdout
    assert run.returncode == 0, run.stderr
