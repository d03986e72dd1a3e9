"""A folder of files, one after the other or several at once: a bad one stops none of the others."""

from __future__ import annotations

import multiprocessing
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import NoReturn

import click

from paoncodec.cli.errors import noting
from paoncodec.cli.files import write_output
from paoncodec.cli.progress import progress
from paoncodec.errors import PaonError, UsageError

__all__ = ["Item", "Made", "find_items", "require_folder_options", "run_batch"]


@dataclass(frozen=True)
class Item:
    """A file to work on.

    Attributes:
        name: its path below the folder.
        source, target: paths.
        replace: whether an existing target is to be replaced.
    """

    name: str
    source: Path
    target: Path
    replace: bool


@dataclass(frozen=True)
class Made:
    """What has become of a file: its bytes, the pixels in it, and what should be said of it."""

    content: bytes
    pixels: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Outcome:
    name: str
    bytes_in: int = 0
    bytes_out: int = 0
    pixels: int = 0
    notes: tuple[str, ...] = ()
    error: str | None = None
    exit_code: int = 0


@dataclass
class _Sums:
    """What all files come to, the further the more."""

    bytes_in: int = 0
    bytes_out: int = 0
    pixels: int = 0
    done: int = 0
    failures: list[_Outcome] = field(default_factory=list)

    def add(self, outcome: _Outcome) -> None:
        if outcome.error is not None:
            self.failures.append(outcome)
            return
        self.done += 1
        self.bytes_in += outcome.bytes_in
        self.bytes_out += outcome.bytes_out
        self.pixels += outcome.pixels

    def __str__(self) -> str:
        share = f", {self.bytes_out / self.bytes_in - 1:+.1%}" if self.bytes_in else ""
        return f"{_size(self.bytes_in)} -> {_size(self.bytes_out)}{share}"


def require_folder_options(given: dict[str, bool]) -> None:
    """UsageError if options of folders are given with a file.

    Args:
        given: flag → whether it was.
    """
    if flags := [flag for flag, there in given.items() if there]:
        raise UsageError(f"{', '.join(flags)}: for a folder only; leave it out with a file")


def find_items(
    folder: Path,
    output: str | None,
    suffixes: frozenset[str],
    new_suffix: str,
    *,
    recursive: bool,
    resume: bool,
    force: bool,
) -> tuple[list[Item], int]:
    """The files of a folder to work on, by name, and how many are done already.

    Outputs mirror the folder. Files whose outputs would have the same name keep their suffixes,
    before the new one.

    Args:
        folder: to search; hidden files are passed over.
        output: folder for the results, made when it is needed.
        suffixes: of the files to take, with the dot, in lower case.
        new_suffix: of the outputs, with the dot.
        recursive: search folders in it too.
        resume: leave out files whose output is there and no older than they are.
        force: replace existing outputs.

    Raises:
        UsageError: no output folder, no such files, or outputs exist and neither `resume` nor
            `force` is set.
    """
    if output is None or (Path(output).exists() and not Path(output).is_dir()):
        raise UsageError(f"{folder} is a folder: name another one for the results with -o")
    names = _names(folder, suffixes, recursive)
    if not names:
        hint = "" if recursive else "; --recursive searches the folders in it too"
        raise UsageError(f"{folder} holds no files to take ({', '.join(sorted(suffixes))}){hint}")
    items, done, existing = [], 0, 0
    for name, short in _outputs(names, new_suffix).items():
        target = Path(output) / short
        source, there = folder / name, target.exists()
        existing += there
        if there and resume and target.stat().st_mtime >= source.stat().st_mtime:
            done += 1
            continue
        items.append(Item(name.as_posix(), source, target, force or resume))
    if existing and not (resume or force):
        raise UsageError(
            f"{existing} of {len(names)} outputs exist and are kept: give --resume to leave out "
            "what is done, or --force"
        )
    return items, done


def run_batch(
    items: Sequence[Item],
    make: Callable[[Path], Made],
    jobs: int,
    *,
    skipped: int = 0,
    fatal: tuple[type[PaonError], ...] = (),
) -> None:
    """Work on all files, tell how far it is, and sum up on standard output.

    Args:
        items: by `find_items`.
        make: what to do with a file; it is sent to other processes if there are several jobs.
        jobs: processes; torch's threads are shared out among them.
        skipped: files that were done before, for the summary.
        fatal: errors that would meet every file: they end the run.

    Raises:
        SystemExit: some files failed; they are named on stderr, and the exit code is that of the
            first of them by name.
        PaonError: one of `fatal`, or a process has ended.
    """
    start, sums = perf_counter(), _Sums()
    with progress(len(items)) as bar:
        for outcome in _outcomes([_Task(item, make, fatal) for item in items], jobs):
            sums.add(outcome)
            for note in outcome.notes:
                named = outcome.name in note
                bar.say(f"note: {note}" if named else f"note: {outcome.name}: {note}")
            bar.step(f"{outcome.name} ({sums})")
    click.echo(_summary(sums, skipped, perf_counter() - start))
    if sums.failures:
        _end(sums.failures, len(items))


@dataclass(frozen=True)
class _Task:
    item: Item
    make: Callable[[Path], Made]
    fatal: tuple[type[PaonError], ...]


def _outcomes(tasks: Sequence[_Task], jobs: int) -> Iterator[_Outcome]:
    jobs = min(jobs, len(tasks))
    if jobs <= 1:
        yield from map(_work, tasks)
        return
    # Not forked: torch's and OpenMP's threads do not survive that.
    context = multiprocessing.get_context("spawn")
    threads = max(1, (os.cpu_count() or 1) // jobs)
    pool = ProcessPoolExecutor(jobs, context, _begin, (threads,))
    try:
        for done in as_completed([pool.submit(_work, task) for task in tasks]):
            yield done.result()
    except BrokenProcessPool as error:
        raise UsageError(
            "a process was ended from outside, perhaps for want of memory: give fewer --jobs, and "
            "--resume to go on"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)


def _work(task: _Task) -> _Outcome:
    item = task.item
    try:
        with noting() as notes:
            made = task.make(item.source)
        item.target.parent.mkdir(parents=True, exist_ok=True)
        write_output(str(item.target), made.content, item.replace)
        size = item.source.stat().st_size
        notes += made.notes
        return _Outcome(item.name, size, len(made.content), made.pixels, tuple(notes))
    except task.fatal:
        raise
    # One file, whatever is the matter with it, must not end a run of hours.
    except Exception as error:  # noqa: BLE001
        ours = isinstance(error, PaonError)
        said = str(error) if ours else f"{type(error).__name__}: {error}"
        code = error.exit_code if isinstance(error, PaonError) else PaonError.exit_code
        return _Outcome(item.name, error=" ".join(said.split()), exit_code=code)


def _outputs(names: Sequence[Path], new_suffix: str) -> dict[Path, Path]:
    """Each file's output, no two alike."""
    outputs = {name: name.with_suffix(new_suffix) for name in names}
    while True:
        shared = Counter(outputs.values())
        alike = [name for name in names if shared[outputs[name]] > 1]
        if not alike:
            return outputs
        for name in alike:  # their new ones may be what another file's was
            outputs[name] = name.with_name(name.name + new_suffix)


def _names(folder: Path, suffixes: frozenset[str], recursive: bool) -> list[Path]:
    found = folder.rglob("*") if recursive else folder.iterdir()
    names = (path.relative_to(folder) for path in found if path.is_file())
    return sorted(
        name
        for name in names
        if name.suffix.lower() in suffixes and not any(p.startswith(".") for p in name.parts)
    )


def _summary(sums: _Sums, skipped: int, seconds: float) -> str:
    rows = [("files", f"{sums.done} done, {skipped} done before, {len(sums.failures)} failed")]
    if sums.done:
        rows.append(("bytes", f"{sums.bytes_in} -> {sums.bytes_out} ({sums})"))
        rows.append(("pixels", f"{sums.pixels}, {seconds / sums.pixels * 1e6:.2f} s a megapixel"))
    rows.append(("time", f"{seconds:.1f} s"))
    return "\n".join(f"{name:<7} {value}" for name, value in rows)


def _end(failures: Sequence[_Outcome], count: int) -> NoReturn:
    ordered = sorted(failures, key=lambda outcome: outcome.name)
    click.echo(f"paoncodec: {len(ordered)} of {count} files failed:", err=True)
    for outcome in ordered:
        click.echo(f"  {outcome.name}: {outcome.error}", err=True)
    raise SystemExit(ordered[0].exit_code)


def _size(count: int) -> str:
    value, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
