"""One directory per run: config, metrics, checkpoint, weights. Every file is replaced at once."""

from __future__ import annotations

import io
import json
import math
import os
import pickle
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from paoncodec.errors import PaonError, UsageError, WeightsError

if sys.platform != "win32":
    import fcntl


class TrainingStopped(PaonError):
    """The run cannot go on; it can be resumed from its last checkpoint once the cause is gone."""

    exit_code = 1


class RunDirectory:
    """Names and atomic writes of a run's files.

    ``config.json`` (all settings), ``provenance.json`` (what it was made with, an entry for each
    start), ``metrics.jsonl`` (a JSON object a line), ``last.pt`` (state to resume from),
    ``best.safetensors`` and ``last.safetensors`` (averaged weights, ready to use), ``tensorboard``
    (event files). ``lock`` keeps a second process out while one trains.

    Args:
        path: the directory; made by :meth:`create`.
        resume: continue the run in it; otherwise it must not hold one.

    Raises:
        UsageError: the directory holds a run and ``resume`` is off, or it is not a directory.
    """

    def __init__(self, path: str | os.PathLike[str], resume: bool = False) -> None:
        self.path = Path(path)
        if self.path.exists() and not self.path.is_dir():
            raise UsageError(f"{self.path}: not a directory; give a new one for the run")
        if not resume and (self.config_file.exists() or self.checkpoint_file.exists()):
            raise UsageError(f"{self.path} holds a run: continue it with --resume, or name another")

    @property
    def config_file(self) -> Path:
        return self.path / "config.json"

    @property
    def provenance_file(self) -> Path:
        return self.path / "provenance.json"

    @property
    def checkpoint_file(self) -> Path:
        return self.path / "last.pt"

    @property
    def metrics_file(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def lock_file(self) -> Path:
        return self.path / "lock"

    @property
    def board_folder(self) -> Path:
        return self.path / "tensorboard"

    def weights_file(self, which: str) -> Path:
        """``which`` is ``"best"`` or ``"last"``."""
        return self.path / f"{which}.safetensors"

    def create(self) -> None:
        """Makes the directory where there is none.

        Raises:
            UsageError: it cannot be made.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"{self.path}: cannot make this directory ({error.strerror}); name another"
            ) from error

    @contextmanager
    def writer(self) -> Iterator[None]:
        """Makes this process the only one that writes the run (where the system has locks).

        Raises:
            UsageError: another process trains in this directory.
        """
        if sys.platform == "win32":
            yield
            return
        with writing(self.lock_file):
            lock = self.lock_file.open("a")
        with lock:
            try:
                # Of this process alone: workers that outlive a killed run do not hold it.
                fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UsageError(
                    f"{self.path}: another process trains here; wait for it or name another"
                ) from error
            yield

    def load_config(self) -> dict[str, Any] | None:
        """The settings of the run in here, or None where there is none yet.

        Raises:
            UsageError: the file cannot be read.
        """
        config = _load_json(self.config_file)
        if config is not None and not isinstance(config, dict):
            raise UsageError(f"{self.config_file}: not the settings of a run; name another --out")
        return config

    def write_config(self, config: Mapping[str, Any]) -> None:
        self._write_json(self.config_file, config)

    def add_provenance(self, entry: Mapping[str, Any]) -> None:
        """Adds ``entry`` to those of earlier starts of this run."""
        entries = _load_json(self.provenance_file) or []
        self._write_json(self.provenance_file, [*entries, entry])

    def log(self, record: Mapping[str, Any]) -> None:
        """Appends a line to the metrics; numbers that are not finite become null.

        Raises:
            TrainingStopped: the line cannot be written.
        """
        plain = {k: None if _not_finite(v) else v for k, v in record.items()}
        with writing(self.metrics_file), self.metrics_file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(plain, allow_nan=False) + "\n")

    def records(self) -> list[dict[str, Any]]:
        """The metrics so far."""
        return [json.loads(line) for line in self._lines()]

    def forget_after(self, step: int) -> None:
        """Drops metrics of steps past ``step``: a resumed run writes them again."""
        if not self.metrics_file.exists():
            return
        kept = [line for line in self._lines() if json.loads(line)["step"] <= step]
        self.replace(self.metrics_file, lambda p: p.write_text("".join(kept), encoding="utf-8"))

    def save(self, state: Mapping[str, Any]) -> None:
        """Writes the state to resume from; what was logged before it is on the disk first."""
        if self.metrics_file.exists():
            with writing(self.metrics_file):
                _flush(self.metrics_file)
        # By way of memory: torch reports a full disk as an internal error of its zip writer.
        packed = io.BytesIO()
        torch.save(dict(state), packed)
        self.replace(self.checkpoint_file, lambda p: p.write_bytes(packed.getbuffer()))

    def load(self) -> dict[str, Any] | None:
        """The last checkpoint, or None where there is none yet.

        Raises:
            WeightsError: the file is damaged.
        """
        if not self.checkpoint_file.exists():
            return None
        fault = f"{self.checkpoint_file}: not a checkpoint of a run, or damaged; begin a new run"
        try:
            with zipfile.ZipFile(self.checkpoint_file) as archive:
                whole = archive.testzip() is None  # which torch does not look at
            state = torch.load(self.checkpoint_file, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
            raise WeightsError(fault) from error
        if not whole or not isinstance(state, dict) or not isinstance(state.get("step"), int):
            raise WeightsError(fault)
        return state

    @staticmethod
    def replace(path: Path, write: Callable[[Path], Any]) -> None:
        """Writes beside ``path``, then renames: a crash leaves the old file or the new one.

        Raises:
            TrainingStopped: the disk is full, or the directory cannot be written.
        """
        beside = path.with_name(f".{path.name}.part")
        try:
            with writing(path):
                beside.touch()
                mode = beside.stat().st_mode
                write(beside)
                beside.chmod(mode)  # safetensors makes files that only their owner can read
                # On the disk before its name is: else a power cut leaves an empty file.
                _flush(beside)
                beside.replace(path)
                _flush(path.parent)
        finally:
            beside.unlink(missing_ok=True)

    def _write_json(self, path: Path, value: Any) -> None:
        text = json.dumps(value, indent=2) + "\n"
        self.replace(path, lambda p: p.write_text(text, encoding="utf-8"))

    def _lines(self) -> list[str]:
        """Whole lines of the metrics: a crash may have torn the last one."""
        if not self.metrics_file.exists():
            return []
        text = self.metrics_file.read_text(encoding="utf-8", errors="replace")
        return [line for line in text.splitlines(keepends=True) if _is_record(line)]


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Says of what the system refuses inside that ``path`` cannot be written.

    Raises:
        TrainingStopped: it was refused.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise TrainingStopped(
            f"{path}: cannot be written ({reason}); free the disk or make the directory writable, "
            "then continue with --resume"
        ) from error


def _flush(path: Path) -> None:
    """Makes the system write a file, or a directory's names, to the disk."""
    if sys.platform == "win32":  # which cannot open directories
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _load_json(path: Path) -> Any:
    if not path.exists():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read ({error}); name another directory") from error


def _is_record(line: str) -> bool:
    if not line.endswith("\n"):
        return False
    try:
        return "step" in json.loads(line)
    except (TypeError, ValueError):
        return False


def _not_finite(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)
