"""`paoncodec train --dry-run`: whether a run would go, found out within a minute."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paoncodec.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from paoncodec.codecs.recipe import CodecRecipe
    from paoncodec.training import RunDirectory

__all__ = ["describe", "dry_run"]

#: Pictures are read for so long, in a random order.
_READ_SECONDS = 15.0
#: Of so many held-out pictures the validation is.
_VALIDATED = 8


def dry_run(
    recipe: CodecRecipe,
    out: Path,
    tell: Callable[[str], None],
    left: Sequence[tuple[CodecRecipe, RunDirectory, bool]],
) -> dict[str, Any]:
    """Reads the checkpoint to go on with, if there is one, then pictures, builds and starts the
    model, takes a step, validates, writes a checkpoint and weights and reads both; in a temporary
    directory, of which nothing stays.

    Args:
        recipe: as of the run.
        out: the run's directory, which is left alone.
        tell: called with each sentence for the user.
        left: the runs that are left to do, each with its directory and whether it has begun.

    Returns:
        What was found, JSON-ready.

    Raises:
        PaonError: what would end the run.
    """
    from paoncodec.codecs import load_weights
    from paoncodec.codecs.task import CodecTask
    from paoncodec.images.crops import find_unreadable
    from paoncodec.training import Trainer, TrainingStopped, rehearse

    place = _writable_ancestor(out)
    for settings, run, begun in left:
        if begun and run.checkpoint_file.exists():
            Trainer(CodecTask(settings), run, tell=tell)  # reads it, and compares the settings
    # A run goes on where nothing can be compiled; to try that takes half of the minute.
    once = replace(recipe.train, validate_every=1, compile=False)
    task = CodecTask(replace(recipe, train=once))
    pictures = [*task.training, *task.validation]
    read, faults = find_unreadable(pictures, _READ_SECONDS)
    for fault in faults:
        tell(f"picture left out: {fault}")
    held_out = len(task.validation)
    del task.validation[_VALIDATED:]
    found = rehearse(task, load_weights, lambda text: None if _said(text, faults) else tell(text))
    # Files are written beside the ones that they replace.
    each = found.checkpoint_bytes + 2 * found.weights_bytes
    needed = max(1, len(left)) * each + found.checkpoint_bytes + found.weights_bytes
    free = shutil.disk_usage(place).free
    if free < needed:
        raise TrainingStopped(
            f"{place}: {_mega(free)} free, a run takes {_mega(needed)} and its event files: free "
            "the disk or name another directory"
        )
    return {
        "arch": recipe.arch_name,
        "parameters": sum(p.numel() for p in task.model.parameters()),
        "training_pictures": len(task.training),
        "validation_pictures": held_out,
        "read": read,
        "left_out": faults,
        "start": recipe.start,
        "start_seconds": round(found.start_seconds, 1),
        "step": found.figures,
        "validation": found.validation,
        "validated": min(held_out, _VALIDATED),
        "step_seconds": round(found.step_seconds, 1),
        "checkpoint_bytes": found.checkpoint_bytes,
        "needed_bytes": needed,
        "free_bytes": free,
    }


def describe(found: dict[str, Any]) -> str:
    """The result of :func:`dry_run` in lines for a person."""
    pictures = found["training_pictures"] + found["validation_pictures"]
    step, validation = found["step"], found["validation"]
    return "\n".join(
        [
            f"model       {found['arch']}, {found['parameters'] / 1e6:.2f} M parameters",
            f"pictures    {found['training_pictures']} to train on, "
            f"{found['validation_pictures']} to validate on; "
            f"{found['read']} of {pictures} read, {len(found['left_out'])} of them left out",
            f"start       {found['start']}, {found['start_seconds']} s",
            f"step        loss {step['loss']:.4f}, {step['bpp']:.4f} bpp, {step['psnr']:.2f} dB",
            f"validation  loss {validation['loss']:.4f}, {validation['bpp']:.4f} bpp, "
            f"{validation['psnr']:.2f} dB, {found['validated']} crops",
            f"checkpoint  {_mega(found['checkpoint_bytes'])}, read back, and weights with it; "
            f"{_mega(found['free_bytes'])} free, {_mega(found['needed_bytes'])} needed",
            "The run can begin.",
        ]
    )


def _writable_ancestor(out: Path) -> Path:
    """The first of ``out`` and the folders around it that exists.

    Raises:
        UsageError: nothing can be made in it.
    """
    place = next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        raise UsageError(f"{out}: cannot make this directory ({place}); name another")
    return place


def _said(text: str, faults: list[str]) -> bool:
    return any(fault in text for fault in faults)


def _mega(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"
