"""Time training steps beside CompressAI's own layers, in one process on the same crops.

    python tools/bench_training.py --threads 2

A step is forward, loss, backward, clipping and Adam. Beside the preset's MBT-Paon stand the same
network with CompressAI's convolutions and GDN (`mbt-2018` here: equal widths, equal entropy model),
and CompressAI's `JointAutoregressiveHierarchicalPriors` with the N and M that the preset names.
Each is timed as the preset trains it and in float32. Medians of interleaved steps.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from bench_layers import medians
from compressai.models import CompressionModel, JointAutoregressiveHierarchicalPriors
from torch import Tensor, nn

from paoncodec import codecs
from paoncodec.codecs.recipe import CodecRecipe, presets
from paoncodec.codecs.task import rate_distortion

#: Images a second of MBT-Paon over those of the same network with CompressAI's layers.
BAR = 0.75


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
        "mbt-2018, same widths": codecs.build("mbt-2018", {**recipe.arch, "shift": "none"}),
        f"CompressAI's mbt2018, N = {own.N}, M = {own.M}": own,
    }


def training_step(
    model: CompressionModel, crops: Tensor, precision: str, lmbda: float
) -> Callable[[], None]:
    """One step of training, as often as it is called."""
    parameters = [p for n, p in model.named_parameters() if not n.endswith(".quantiles")]
    optimizer = torch.optim.Adam(parameters, 1e-4, fused=True)
    dtype = getattr(torch, precision)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype, enabled=precision != "float32"):
            out = model(crops)
        widened = {name: p.float() for name, p in out["likelihoods"].items()}
        loss, _ = rate_distortion({"x_hat": out["x_hat"], "likelihoods": widened}, crops, lmbda)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()

    return step


def compare(
    recipe: CodecRecipe, crops: Tensor, precisions: Sequence[str], runs: int
) -> list[Timing]:
    """Every network in every precision; they take turns, after one round that is not counted."""
    cases = [
        (name, precision, model)
        for name, model in networks(recipe).items()
        for precision in precisions
    ]
    steps = [training_step(m.train(), crops, p, float(recipe.lmbda)) for _, p, m in cases]
    return [
        Timing(name, precision, sum(p.numel() for p in model.parameters()), seconds)
        for (name, precision, model), seconds in zip(cases, medians(steps, runs), strict=True)
    ]


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", choices=presets(), default="small")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--batch-size", type=int, help="crops a step (default: the preset's)")
    parser.add_argument("--crop", type=int, help="side of the crops (default: the preset's)")
    parser.add_argument("--runs", type=int, default=15, help="steps that are timed (%(default)s)")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    changes: dict[str, Any] = {"batch_size": arguments.batch_size, "crop": arguments.crop}
    recipe = CodecRecipe.from_preset(arguments.preset, "mbt-paon", 0.013, ["crops"], **changes)
    loop = recipe.train
    crops = torch.rand(loop.batch_size, 3, loop.crop, loop.crop)
    precisions = list(dict.fromkeys([loop.precision, "float32"]))
    timings = compare(recipe, crops, precisions, arguments.runs)
    print(f"{loop.batch_size} crops of {loop.crop}x{loop.crop}, {arguments.threads} threads")
    for timing in timings:
        print(
            f"{timing.name:<36} {timing.precision:<9} {timing.parameters / 1e6:6.2f} M "
            f"{loop.batch_size / timing.seconds:7.1f} images/s"
        )
    ours, same = timings[0], timings[len(precisions)]
    print(f"images/s over the same widths: {same.seconds / ours.seconds:.2f} (bar {BAR})")


if __name__ == "__main__":
    main()
