from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from paoncodec.training.provenance import git_state, provenance


def test_versions_are_those_of_this_process() -> None:
    found = provenance()
    assert found["torch"] == torch.__version__
    assert found["torch"].startswith(found["packages"]["torch"])
    assert found["threads"] == torch.get_num_threads()
    assert json.loads(json.dumps(found)) == found


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_the_state_of_a_work_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "someone")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "someone@example.org")

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(tmp_path), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    git("init", "-q")
    source = tmp_path / "source.py"
    source.write_text("one\n")
    assert git_state(tmp_path) is None  # a repository that does not keep these files
    git("add", ".")
    git("commit", "-q", "-m", "one")
    clean = {"commit": git("rev-parse", "HEAD").strip(), "changes": "", "untracked": ""}
    assert git_state(tmp_path) == clean
    source.write_text("two\n")
    (tmp_path / "new.py").write_text("three\n")
    state = git_state(tmp_path)
    assert state is not None
    assert "-one\n+two\n" in state["changes"]
    assert state["untracked"] == "new.py\n"


def test_a_folder_outside_of_git_has_no_state(tmp_path: Path) -> None:
    assert git_state(tmp_path) is None
