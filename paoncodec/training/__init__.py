"""An engine that trains, and knows no task: config, run directory, loop, checkpoints."""

from paoncodec.training.changes import Change
from paoncodec.training.config import RESUMABLE, TrainConfig
from paoncodec.training.engine import Progress, Trainer, TrainingDiverged
from paoncodec.training.rehearsal import Rehearsal, rehearse
from paoncodec.training.run_directory import RunDirectory, TrainingStopped
from paoncodec.training.samples import Samples
from paoncodec.training.task import Task

__all__ = [
    "RESUMABLE",
    "Change",
    "Progress",
    "Rehearsal",
    "RunDirectory",
    "Samples",
    "Task",
    "TrainConfig",
    "Trainer",
    "TrainingDiverged",
    "TrainingStopped",
    "rehearse",
]
