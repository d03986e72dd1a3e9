"""How often the denominators of Padé neurons come near zero while they are trained.

"Padé Neurons for Efficient Neural Models", IV-A4 and Fig. 4: of the vanilla neuron, whose divisor
they are. The smooth neuron divides by Q_L² + Q_{L-1}², so that the same nearness does no harm.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from torch import Tensor, nn

from paoncodec.codecs.recipe import CodecRecipe
from paoncodec.codecs.task import CodecTask
from paoncodec.errors import UsageError
from paoncodec.layers import Kind, PadeSpec
from paoncodec.layers.base import PaLa
from paoncodec.training.learner import Learner
from paoncodec.training.loading import load
from paoncodec.training.processes import Processes

#: |Q| below this counts as near zero (IV-A4).
THRESHOLD = 0.01


class SingularityCounter:
    """Counts, layer by layer and iteration by iteration, how often \\|Q_L\\| is below a threshold.

    A context manager: the layers are watched while it is open. Only forwards in training mode
    count.

    Args:
        model: its Padé layers with a denominator are watched.
        threshold: of \\|Q_L\\|.

    Attributes:
        counts: by layer, one number for each iteration that :meth:`end_iteration` has closed.

    Raises:
        UsageError: no such layer.
    """

    def __init__(self, model: nn.Module, threshold: float = THRESHOLD) -> None:
        self._layers = dict(pade_layers(model))
        if not self._layers:
            raise UsageError(f"{type(model).__name__} has no Padé layer with a denominator")
        self.threshold = threshold
        self.counts: dict[str, list[int]] = {name: [] for name in self._layers}
        self._now = dict.fromkeys(self._layers, 0)

    def __enter__(self) -> SingularityCounter:
        self._handles = [
            layer.register_denominator_hook(self._hook(name, layer))
            for name, layer in self._layers.items()
        ]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for handle in self._handles:
            handle.remove()

    def end_iteration(self) -> None:
        """Closes an iteration: what has been counted since the last is its number."""
        for name, count in self._now.items():
            self.counts[name].append(count)
            self._now[name] = 0

    def _hook(self, name: str, layer: PaLa) -> Callable[[Tensor], None]:
        def count(q: Tensor) -> None:
            if layer.training:
                self._now[name] += int((q.abs() < self.threshold).sum())

        return count


def pade_layers(model: nn.Module) -> Iterator[tuple[str, PaLa]]:
    """The Padé layers of a model that have a denominator, by name."""
    for name, layer in model.named_modules():
        if isinstance(layer, PaLa) and layer.spec.den:
            yield name, layer


@dataclass
class Study:
    """One training.

    Args:
        kind: of its neurons.
        losses: by iteration.
        counts: by layer and iteration, how often \\|Q_L\\| was near zero.
        stopped: the iteration whose loss or gradient was not finite, which ended it, or None.
    """

    kind: Kind
    losses: list[float] = field(default_factory=list)
    counts: dict[str, list[int]] = field(default_factory=dict)
    stopped: int | None = None


def study(
    recipe: CodecRecipe,
    kind: Kind,
    threshold: float = THRESHOLD,
    listener: Callable[[int, float], None] = lambda iteration, loss: None,
) -> Study:
    """Trains a codec from a random start with all its Padé layers of one kind, and counts.

    Args:
        recipe: its start is not used: the linear one is for smooth neurons alone.
        kind: of the neurons.
        threshold: of \\|Q_L\\|.
        listener: told iteration and loss after each step.

    Returns:
        What was seen, up to the first step that is not finite.

    Raises:
        UsageError: as :class:`.CodecTask`, or the codec has no Padé layer with a denominator.
    """
    task = CodecTask(recipe)
    for _, layer in pade_layers(task.model):
        layer.spec = PadeSpec(layer.spec.num, layer.spec.den, kind)
        layer.reset_parameters()
    learner, config = Learner(task, Processes()), task.config
    samples = range(config.steps * config.batch_size)
    numbers = [samples[i : i + config.batch_size] for i in samples[:: config.batch_size]]
    found = Study(kind)
    batches = load(task.data(), numbers, config.workers)
    with SingularityCounter(task.model, threshold) as counter, closing(batches):
        found.counts = counter.counts
        for iteration, part in enumerate(zip(numbers, batches, strict=True)):
            figures = learner.step([part], config.rate_factor(iteration))
            counter.end_iteration()
            taken = "gradient_norm" in figures
            found.losses.append(figures["loss"] if taken else math.nan)
            if not taken:
                found.stopped = iteration
                break
            listener(iteration, figures["loss"])
    return found


def check_drawing(path: Path) -> None:
    """Finds out before a study whether its figure can be drawn.

    Args:
        path: of the picture; its ending says the format.

    Raises:
        UsageError: matplotlib is not installed or writes no such format, or the folder is missing.
    """
    try:
        from matplotlib.backend_bases import FigureCanvasBase
    except ImportError as error:
        raise UsageError("drawing needs matplotlib: pip install 'paoncodec[eval]'") from error
    formats = FigureCanvasBase.get_supported_filetypes()
    if path.suffix[1:].lower() not in formats:
        raise UsageError(f"{path}: no such format, choose one of {', '.join(sorted(formats))}")
    if not path.parent.is_dir():
        raise UsageError(f"{path.parent} is not a directory: make it, or name another file")


def draw(studies: Mapping[str, Study], path: Path, threshold: float = THRESHOLD) -> None:
    """The figure: the losses, and below them a panel for each layer.

    Args:
        studies: of the same codec, by the name that the legend gives them.
        path: of the picture; its ending says the format.
        threshold: that the counts were made with.

    Raises:
        UsageError: as :func:`check_drawing`.
    """
    check_drawing(path)
    from matplotlib.figure import Figure

    layers = list(next(iter(studies.values())).counts)
    rows = 1 + math.ceil(len(layers) / 2)
    figure = Figure(figsize=(9, 1.9 * rows), layout="constrained")
    grid = figure.add_gridspec(rows, 2)
    panels = [figure.add_subplot(grid[0, :])]
    panels += [figure.add_subplot(grid[1 + i // 2, i % 2]) for i in range(len(layers))]
    for name, seen in studies.items():
        end = "" if seen.stopped is None else f", not finite at {seen.stopped}"
        panels[0].plot(seen.losses, label=f"{name}{end}")
        for panel, layer in zip(panels[1:], layers, strict=True):
            panel.plot(seen.counts[layer], label=name)
    panels[0].set(yscale="log", ylabel="loss", xlabel="iteration")
    panels[0].legend()
    for panel, layer in zip(panels[1:], layers, strict=True):
        panel.set_title(layer, fontsize="small")
        panel.set(ylabel=f"|Q| < {threshold:g}", xlabel="iteration")
    figure.savefig(path, dpi=120)
