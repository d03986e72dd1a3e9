"""What a run writes of its course: JSON lines, and event files for TensorBoard."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress

from torch import Tensor

from paoncodec.training.board import Board
from paoncodec.training.run_directory import RunDirectory, writing


class Record:
    """Keeps the record of a run, in the process that writes it.

    Args:
        run: where the metrics and the event files are.
        step: steps done; what was recorded of later ones is forgotten.

    Its methods raise :class:`.TrainingStopped` where a file cannot be written.

    Attributes:
        has_board: whether TensorBoard is installed, and event files are written.
    """

    def __init__(self, run: RunDirectory, step: int) -> None:
        self._run = run
        run.forget_after(step)
        self._left_out = {text for r in run.records() for text in r.get("left_out", [])}
        with writing(run.board_folder):
            self._board = Board(run.board_folder, step)
        self.has_board = self._board.installed

    def training(
        self, step: int, seconds: float, figures: Mapping[str, float], rate: float
    ) -> None:
        """Figures of a step, and what the learning rates were multiplied by."""
        self._run.log({"step": step, "seconds": round(seconds, 1), **figures})
        with writing(self._run.board_folder):
            self._board.figures("training", step, {**figures, "rate_factor": rate})

    def skipped(self, step: int, skipped: int, counted: Mapping[str, float]) -> None:
        """A step that changed nothing; ``skipped`` counts those so far."""
        self._run.log({"step": step, "skipped": skipped, **counted})

    def validation(
        self,
        step: int,
        seconds: float,
        figures: Mapping[str, float],
        pictures: Mapping[str, Tensor],
    ) -> None:
        """Figures on held-out data, and pictures of it."""
        named = {f"validation_{name}": value for name, value in figures.items()}
        self._run.log({"step": step, "seconds": round(seconds, 1), **named})
        with writing(self._run.board_folder):
            self._board.figures("validation", step, figures)
            self._board.pictures("validation", step, pictures)

    def left_out(self, step: int, texts: Iterable[str]) -> None:
        """What was told of pictures that cannot be used by now; each is written once a run."""
        new = [text for text in texts if text not in self._left_out]
        if new:
            self._left_out.update(new)
            self._run.log({"step": step, "left_out": new})

    def flush(self) -> None:
        """Brings the record to the disk, ahead of a checkpoint.

        Raises:
            TrainingStopped: it cannot be written.
        """
        with writing(self._run.board_folder):
            self._board.flush()

    def close(self) -> None:
        """Ends the event files; what matters was flushed ahead of the last checkpoint."""
        with suppress(OSError):
            self._board.close()
