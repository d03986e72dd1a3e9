"""Time training steps beside CompressAI's own layers, in one process on the same crops.

    python tools/bench_training.py --threads 2
    python tools/bench_training.py --threads 1 --precision float32 --ways

A step is forward, loss, backward, clipping and Adam. Beside the preset's MBT-Paon stands
CompressAI's `JointAutoregressiveHierarchicalPriors`, with the same widths as ours (convolutions and
GDN, its own masked convolution) and with the N and M that the preset names. Each is timed in the
preset's precision, in bfloat16 and in float32, or in the one that is named. CompressAI's layers
know nothing of bfloat16-gradients: they are in float32 then. In bfloat16 all of its network is, and
of ours the transforms alone. Medians of interleaved steps.

At the end stand the products of a step and how many a second that makes, all else that a step does
included; beside them, those of large matrices.

With --ways: MBT-Paon's step in parts, and as a whole beside other ways to compute it: with nothing
compiled, and with all of the network compiled.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from bench_layers import medians
from compressai.entropy_models import EntropyBottleneck
from compressai.layers import MaskedConv2d
from compressai.models import CompressionModel, JointAutoregressiveHierarchicalPriors
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from paoncodec import codecs
from paoncodec.codecs.recipe import CodecRecipe, presets
from paoncodec.codecs.task import rate_distortion
from paoncodec.layers.fused import fused_quotients
from paoncodec.training.precision import PRECISIONS, in_precision

#: Images a second of MBT-Paon over those of CompressAI's network of the same widths.
BAR = 0.75
SAME_WIDTHS = "CompressAI's mbt2018, same widths"
#: Side of the matrices that tell how fast the processor multiplies.
_SIDE = 1024


@dataclass(frozen=True)
class Timing:
    """A network's name and precision, its parameters, and the median step in seconds."""

    name: str
    precision: str
    parameters: int
    seconds: float


def networks(recipe: CodecRecipe) -> dict[str, CompressionModel]:
    """By name, ours first."""
    own = JointAutoregressiveHierarchicalPriors(recipe.arch["N"], recipe.arch["M"])
    return {
        "mbt-paon": codecs.build("mbt-paon", recipe.arch),
        SAME_WIDTHS: of_same_widths(recipe),
        f"CompressAI's mbt2018, N = {own.N}, M = {own.M}": own,
    }


def of_same_widths(recipe: CodecRecipe) -> JointAutoregressiveHierarchicalPriors:
    """CompressAI's model with all its own layers, as wide as the recipe's."""
    sizes = recipe.arch
    ours = codecs.build("mbt-2018", {**sizes, "shift": "none"})
    model = JointAutoregressiveHierarchicalPriors(sizes["N"], sizes["M"])
    for name in ("g_a", "g_s", "h_a", "h_s", "entropy_parameters"):
        setattr(model, name, getattr(ours, name))
    model.context_prediction = MaskedConv2d(sizes["M"], sizes["context_width"], 5, padding=2)
    model.entropy_bottleneck = EntropyBottleneck(sizes["hyper_width"])
    return model


class TrainingStep:
    """One step of training, as often as it is called; its parts in order are methods too.

    Args:
        model: its parameters are what learns.
        crops: (B, 3, H, W) in [0, 1].
        precision: of the networks.
        lmbda: of the loss.
        compiles: whether quotients are compiled, as in training.
        forward: what computes the model's forward; None: the model.
    """

    def __init__(
        self,
        model: CompressionModel,
        crops: Tensor,
        precision: str,
        lmbda: float,
        compiles: bool = False,
        forward: Callable[[Tensor], Any] | None = None,
    ) -> None:
        self._parameters = [p for n, p in model.named_parameters() if not n.endswith(".quantiles")]
        self._optimizer = torch.optim.Adam(self._parameters, 1e-4, fused=True)
        self._crops, self._precision, self._lmbda = crops, precision, lmbda
        self._compiles = compiles
        self._forward = model if forward is None else forward

    def __call__(self) -> None:
        self.forward()
        self.backward()
        self.update()

    def forward(self) -> None:
        """The networks, and the loss."""
        self._optimizer.zero_grad()
        with fused_quotients(self._compiles), in_precision(self._precision, "cpu"):
            out = self._forward(self._crops)
        widened = {name: p.float() for name, p in out["likelihoods"].items()}
        both = {"x_hat": out["x_hat"], "likelihoods": widened}
        self._loss, _ = rate_distortion(both, self._crops, self._lmbda)

    def backward(self) -> None:
        """Its gradients."""
        self._loss.backward()

    def update(self) -> None:
        """Clipping, and Adam."""
        nn.utils.clip_grad_norm_(self._parameters, 1.0)
        self._optimizer.step()


def parts_of(step: TrainingStep, runs: int) -> dict[str, float]:
    """Median seconds of each part of a step."""
    parts = {
        "forward and loss": step.forward,
        "backward": step.backward,
        "clipping and Adam": step.update,
    }
    return dict(zip(parts, medians(list(parts.values()), runs), strict=True))


def ways(
    recipe: CodecRecipe, crops: Tensor, precision: str, runs: int
) -> tuple[dict[str, float], dict[str, str]]:
    """Median seconds of MBT-Paon's step, computed in several ways that take turns.

    And, by name, why a way does not work: what torch compiles may fail as it runs.
    """
    fused, plain, compiled = (codecs.build("mbt-paon", recipe.arch).train() for _ in range(3))
    given = (crops, precision, float(recipe.lmbda))
    steps = {
        "as it trains": TrainingStep(fused, *given, recipe.train.compile),
        "nothing compiled": TrainingStep(plain, *given),
        "all compiled": TrainingStep(compiled, *given, forward=torch.compile(compiled)),
    }
    faults = {}
    for name, step in list(steps.items()):
        try:
            step()
        except Exception as error:  # noqa: BLE001 - the compiler has all kinds
            faults[name] = f"{type(error).__name__}: {str(error).splitlines()[0]}"
            del steps[name]
    return dict(zip(steps, medians(list(steps.values()), runs), strict=True)), faults


def compare(
    recipe: CodecRecipe, crops: Tensor, precisions: Sequence[str], runs: int
) -> list[Timing]:
    """Every network in every precision; they take turns, after one round that is not counted."""
    cases = [
        (name, precision, model)
        for name, model in networks(recipe).items()
        for precision in precisions
    ]
    compiles = recipe.train.compile
    steps = [TrainingStep(m.train(), crops, p, float(recipe.lmbda), compiles) for _, p, m in cases]
    return [
        Timing(name, precision, sum(p.numel() for p in model.parameters()), seconds)
        for (name, precision, model), seconds in zip(cases, medians(steps, runs), strict=True)
    ]


def products(model: CompressionModel, crops: Tensor, lmbda: float) -> float:
    """Multiplications of a step's forward and backward, in units of 1e9."""
    step = TrainingStep(model.train(), crops, "float32", lmbda)
    with FlopCounterMode(display=False) as counter:
        step.forward()
        step.backward()
    return counter.get_total_flops() / 2e9


def products_a_second(precision: str, runs: int) -> float:
    """Of large matrices in a precision, in units of 1e9; median."""
    a, b = torch.rand(2, _SIDE, _SIDE, dtype=getattr(torch, precision))

    def multiply() -> None:
        torch.mm(a, b)

    return _SIDE**3 / 1e9 / medians([multiply], runs)[0]


def _print_products(
    recipe: CodecRecipe, crops: Tensor, runs: int, ours: Timing, same: Timing
) -> None:
    lmbda = float(recipe.lmbda)
    # A padded map's ring counts as if all of it were multiplied: hence zeros.
    models = (codecs.build("mbt-paon", {**recipe.arch, "padding": "zeros"}), of_same_widths(recipe))
    for timing, model in zip((ours, same), models, strict=True):
        counted = products(model, crops, lmbda)
        speed = counted / timing.seconds
        print(f"{timing.name}: {counted:.3g} GMAC a step, {speed:.3g} a second")
    for precision in ("bfloat16", "float32"):
        speed = products_a_second(precision, runs)
        print(f"large matrices, {precision}: {speed:.3g} GMAC a second")


def _print_ways(recipe: CodecRecipe, crops: Tensor, precision: str, runs: int) -> None:
    model = codecs.build("mbt-paon", recipe.arch).train()
    step = TrainingStep(model, crops, precision, float(recipe.lmbda), recipe.train.compile)
    parts = parts_of(step, runs)
    times, faults = ways(recipe, crops, precision, runs)
    for name, seconds in {**parts, **times}.items():
        print(f"{name:<20} {precision:<18} {seconds:.3f} s")
    for name, fault in faults.items():
        print(f"{name:<20} {precision:<18} fails: {fault}")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", choices=presets(), default="small")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--batch-size", type=int, help="crops a step (default: the preset's)")
    parser.add_argument("--crop", type=int, help="side of the crops (default: the preset's)")
    parser.add_argument("--precision", choices=PRECISIONS, help="this one alone")
    parser.add_argument("--ways", action="store_true", help="MBT-Paon's step in detail instead")
    parser.add_argument("--runs", type=int, default=15, help="steps that are timed (%(default)s)")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    changes: dict[str, Any] = {"batch_size": arguments.batch_size, "crop": arguments.crop}
    recipe = CodecRecipe.from_preset(arguments.preset, "mbt-paon", 0.013, ["crops"], **changes)
    loop = recipe.train
    crops = torch.rand(loop.batch_size, 3, loop.crop, loop.crop)
    precisions = list(dict.fromkeys([loop.precision, "bfloat16", "float32"]))
    if arguments.precision:
        precisions = [arguments.precision]
    print(f"{loop.batch_size} crops of {loop.crop}x{loop.crop}, {arguments.threads} threads")
    if arguments.ways:
        _print_ways(recipe, crops, precisions[0], arguments.runs)
        return
    timings = compare(recipe, crops, precisions, arguments.runs)
    for timing in timings:
        print(
            f"{timing.name:<36} {timing.precision:<18} {timing.parameters / 1e6:6.2f} M "
            f"{loop.batch_size / timing.seconds:7.1f} images/s"
        )
    ours, same = timings[: len(precisions)], timings[len(precisions) : 2 * len(precisions)]
    for one, other in zip(ours, same, strict=True):
        ratio = other.seconds / one.seconds
        print(f"images/s over the same widths, {one.precision}: {ratio:.2f} (bar {BAR})")
    _print_products(recipe, crops, arguments.runs, ours[0], same[0])


if __name__ == "__main__":
    main()
