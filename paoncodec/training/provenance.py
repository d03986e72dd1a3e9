"""What a run was made with: versions, machine, command, and the state of the source tree."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import subprocess
import sys
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import Any

import torch

_PACKAGE = Path(__file__).resolve().parents[1]


def provenance() -> dict[str, Any]:
    """The state of things now, JSON-ready."""
    return {
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": sys.argv,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "platform": platform.platform(),
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "git": git_state(_PACKAGE),
        "packages": dict(_versions()),
    }


@cache
def _versions() -> dict[str, str]:
    """Of all packages, by name. Read once: a grid begins many runs, and it takes a while."""
    found = (d.metadata for d in importlib.metadata.distributions())
    versions = {metadata["Name"]: metadata["Version"] for metadata in found}
    return dict(sorted(versions.items(), key=lambda item: item[0].lower()))


def git_state(folder: Path) -> dict[str, str] | None:
    """The commit that the sources in ``folder`` are at and what differs from it, as a patch.

    None where git does not keep them, as in an installed package.
    """
    git = shutil.which("git")
    if git is None or not _git(git, folder, "ls-files", "."):
        return None
    commit = _git(git, folder, "rev-parse", "--verify", "--quiet", "HEAD")
    if not commit:
        return None
    return {
        "commit": commit.strip(),
        "changes": _git(git, folder, "diff", "--no-ext-diff", "HEAD", "--", "."),
        "untracked": _git(git, folder, "ls-files", "--others", "--exclude-standard", "."),
    }


def _git(git: str, folder: Path, *arguments: str) -> str:
    """What git answers, or nothing where it refuses."""
    try:
        done = subprocess.run(  # noqa: S603 - the program found above, arguments of our own
            [git, "-C", str(folder), *arguments],
            capture_output=True,
            check=True,
            encoding="utf-8",
            errors="replace",
            timeout=30,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout
