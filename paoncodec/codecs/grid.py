"""A run for each λ of a grid, in one directory: which there are, in what order, from what start."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from paoncodec.codecs.recipe import CodecRecipe
from paoncodec.codecs.task import CodecTask
from paoncodec.errors import UsageError
from paoncodec.training import RunDirectory
from paoncodec.training.changes import check_changes

__all__ = ["Grid"]


@dataclass(frozen=True)
class Grid:
    """Runs from the largest λ to the smallest, each from the weights of the one before it.

    Of a picture coded well a network finds more easily what to leave out than, the other way round,
    what it never kept: CompressAI's models were trained in this order too.

    Args:
        recipe: of all runs, but for λ and, after the first, the start.
        lmbdas: two or more.
        from_scratch: every run starts as the first one does.

    Raises:
        UsageError: a λ that is not positive or there twice, or fewer than two.
    """

    recipe: CodecRecipe
    lmbdas: tuple[float, ...]
    from_scratch: bool = False

    def __post_init__(self) -> None:
        folders = {_folder(lmbda) for lmbda in self.lmbdas}
        if len(self.lmbdas) < 2 or len(folders) < len(self.lmbdas):
            raise UsageError(f"lmbda {_listed(self.lmbdas)}: a grid takes two or more, none twice")
        object.__setattr__(self, "lmbdas", tuple(sorted(self.lmbdas, reverse=True)))
        for lmbda in self.lmbdas:
            replace(self.recipe, lmbda=lmbda)

    @classmethod
    def load(cls, out: Path) -> Grid | None:
        """The grid that was begun in a directory; None where there is none.

        Raises:
            UsageError: its file is damaged.
        """
        file = _file(out)
        if not file.exists():
            return None
        try:
            saved = json.loads(file.read_text(encoding="utf-8"))
            recipe = CodecRecipe.from_json(saved["recipe"])
            return cls(recipe, tuple(saved["lmbdas"]), saved["from_scratch"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(f"{file}: cannot be read ({error}); name another directory") from error

    @classmethod
    def begun(cls, out: Path, resume: bool) -> Grid | None:
        """The grid of a directory, unless it is to be begun anew and none of its runs has begun.

        Raises:
            UsageError: its file is damaged.
        """
        there = cls.load(out)
        if there is None or resume:
            return there
        runs = (RunDirectory(out / _folder(lmbda), resume=True) for lmbda in there.lmbdas)
        return there if any(run.config_file.exists() for run in runs) else None

    @classmethod
    def forget(cls, out: Path) -> None:
        """Takes a grid of which no run has begun for none: a run of one λ begins in its place."""
        if _file(out).exists() and cls.begun(out, resume=False) is None:
            _file(out).unlink()

    def check(self, out: Path, resume: bool) -> None:
        """Whether a directory is for this grid.

        Raises:
            UsageError: it holds a grid and ``resume`` is off, or runs that are no grid's, or its
                grid is another than this in a setting that a resumed run may not change, or one of
                its runs has done more steps than this one asks for.
        """
        saved = Grid.begun(out, resume)
        if saved is None:
            run = RunDirectory(out, resume=True)
            if run.config_file.exists() or run.checkpoint_file.exists():
                raise UsageError(
                    f"{out} holds a run of one λ: give --resume and no --lmbda to go on with it, "
                    "or name another"
                )
            for folder in map(_folder, self.lmbdas):
                if RunDirectory(out / folder, resume=True).config_file.exists():
                    raise UsageError(f"{out / folder} holds a run, {out} no grid: name another")
            return
        if not resume:
            raise UsageError(f"{out} holds a grid: continue it with --resume, or name another")
        changeable = {f"recipe.{name}" for name in CodecTask.may_change}
        check_changes(saved.describe(), self.describe(), changeable, str(out))
        for folder in map(_folder, self.lmbdas):
            done = _steps_done(RunDirectory(out / folder, resume=True))
            if done > self.recipe.train.steps:
                raise UsageError(
                    f"steps {self.recipe.train.steps}: {out / folder} has done {done} already; "
                    "give more"
                )

    def save(self, out: Path, resume: bool) -> None:
        """Writes the grid down, before its first run begins.

        Raises:
            UsageError: as :meth:`check`.
        """
        self.check(out, resume)
        run = RunDirectory(out, resume=True)
        run.create()
        text = json.dumps(self.describe(), indent=2) + "\n"
        run.replace(_file(out), lambda path: path.write_text(text, encoding="utf-8"))

    def describe(self) -> dict[str, Any]:
        """All settings, JSON-ready."""
        recipe = {k: v for k, v in asdict(self.recipe).items() if k != "lmbda"}
        return {
            "lmbdas": list(self.lmbdas),
            "from_scratch": self.from_scratch,
            "recipe": {**recipe, "lmbda": self.lmbdas[0]},
        }

    def runs(self, out: Path) -> Iterator[tuple[CodecRecipe, RunDirectory, bool]]:
        """What is left to do: of each run its recipe, its directory, and whether it has begun.

        Each must be carried to its end before the next is asked for.
        """
        before: RunDirectory | None = None
        for lmbda in self.lmbdas:
            run = RunDirectory(out / _folder(lmbda), resume=True)
            saved = run.load_config()
            if not self._is_complete(run):
                # Without a checkpoint it begins anew, from what its neighbour has by now.
                begun = saved if run.checkpoint_file.exists() else None
                yield self._recipe(lmbda, before, begun), run, saved is not None
            before = run

    def weights(self, out: Path) -> dict[float, Path]:
        """The best weights of each λ, largest first."""
        folders = {lmbda: RunDirectory(out / _folder(lmbda), True) for lmbda in self.lmbdas}
        return {lmbda: run.weights_file("best") for lmbda, run in folders.items()}

    def _is_complete(self, run: RunDirectory) -> bool:
        return _steps_done(run) >= self.recipe.train.steps

    def _recipe(
        self, lmbda: float, before: RunDirectory | None, saved: Mapping[str, Any] | None
    ) -> CodecRecipe:
        recipe = replace(self.recipe, lmbda=lmbda)
        if before is None or self.from_scratch:
            return recipe
        donor = str(before.weights_file("best").absolute())
        # A run that has begun keeps to the very weights it began with.
        digest = saved["start_sha256"] if saved else ""
        return replace(recipe, start="weights", start_from=donor, start_sha256=digest)


def _file(out: Path) -> Path:
    return out / "grid.json"


def _steps_done(run: RunDirectory) -> int:
    state = run.load()
    return 0 if state is None else int(state["step"])


def _folder(lmbda: float) -> str:
    return f"lmbda-{lmbda:g}"


def _listed(numbers: Sequence[float]) -> str:
    return ",".join(f"{number:g}" for number in numbers)
