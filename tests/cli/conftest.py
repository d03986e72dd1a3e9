"""Commands run in this process, as from a shell."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import pytest

from paoncodec.cli import main


@dataclass(frozen=True)
class Outcome:
    """What a shell sees of a command."""

    exit_code: int
    stdout: bytes
    stderr: str

    @property
    def line(self) -> str:
        """The only line on stderr."""
        [line] = self.stderr.splitlines()
        return line


Run: TypeAlias = Callable[..., Outcome]


@pytest.fixture
def run(capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> Run:
    """`run("info", path, stdin=b"...")`."""

    def run(*arguments: object, stdin: bytes = b"") -> Outcome:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capsysbinary.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments], prog_name="paoncodec")
        captured = capsysbinary.readouterr()
        return Outcome(ended.value.code, captured.out, captured.err.decode())

    return run
