"""Padé neurons beside CompressAI's layers: the same network, data, steps and schedule, one λ.

    python tools/compare_neurons.py --data DIR --kodak DIR --runs runs/neurons
    python tools/compare_neurons.py --data DIR --kodak DIR --runs runs/neurons --only mbt-2018
    python tools/compare_neurons.py --data DIR --kodak DIR --runs runs/longer --only mbt-2018 \\
        --steps 11500 --precision float32

Trains what is not trained yet (a run that was stopped goes on), then measures real files, and at
the end training steps, which take turns. With --json, points of other networks that are in the file
stay there, and their steps are timed again with the rest: runs may be made one by one.

Networks are of the `small` preset and start linear: convolutions with GDN (`mbt-2018`), Padé layers
with GDN, Padé layers alone; and ELIC of CompressAI's layers with three residual blocks a stage,
beside ELIC-Paon with one, and with its attention blocks of Padé layers too.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from _common import run
from _documents import markdown_table
from bench_layers import medians
from bench_training import TrainingStep
from measure_model import report

from paoncodec import codecs
from paoncodec.codecs.recipe import CodecRecipe
from paoncodec.codecs.task import CodecTask
from paoncodec.errors import UsageError
from paoncodec.images.crops import find_images
from paoncodec.training import RunDirectory, Trainer
from paoncodec.training.precision import PRECISIONS

PRESET = "small"
LMBDA = 0.013

#: Name → architecture, and what its options are beside the preset's.
NETWORKS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "mbt-2018": ("mbt-2018", {}),
    "mbt-paon with GDN": ("mbt-paon", {"gdn": True}),
    "mbt-paon": ("mbt-paon", {}),
    "elic-2022, 3 blocks": ("elic-2022", {"blocks": 3}),
    "elic-paon, 1 block": ("elic-paon", {"blocks": 1}),
    "elic-paon, 1 block, Padé attention": ("elic-paon", {"blocks": 1, "attention": True}),
}


@dataclass(frozen=True)
class Point:
    """What a network came to.

    Attributes:
        network: its name.
        parameters: of it.
        steps: of its training.
        precision: of its networks in training.
        step_seconds: median wall time of a training step, the networks taking turns; the loading
            of pictures, which goes on beside it, is not in it.
        validation_loss: the best, on held-out crops of the training pictures.
        loss: λ·255²·MSE + bpp of real files of the test pictures, mean.
        bpp: of the same files, mean.
        psnr: of the same, dB.
        jpeg_gain_db: above Pillow's JPEG at that bpp.
    """

    network: str
    parameters: int
    steps: int
    precision: str
    step_seconds: float
    validation_loss: float
    loss: float
    bpp: float
    psnr: float
    jpeg_gain_db: float


def recipe_of(
    network: str, lmbda: float, data: str, steps: int, precision: str | None = None
) -> CodecRecipe:
    """The preset's recipe for a network, in its precision unless another is named."""
    arch, options = NETWORKS[network]
    changes = {"steps": steps, **({"precision": precision} if precision else {})}
    recipe = CodecRecipe.from_preset(PRESET, arch, lmbda, [data], **changes)
    return replace(recipe, arch={**recipe.arch, **options})


def trained(recipe: CodecRecipe, folder: Path) -> None:
    """Trains to the end, from where an earlier start was stopped.

    Raises:
        TrainingStopped: a file cannot be written.
    """
    run_directory = RunDirectory(folder, resume=folder.exists())
    Trainer(CodecTask(recipe), run_directory).fit()


def step_seconds(recipes: Sequence[CodecRecipe], runs: int = 15) -> list[float]:
    """Median of a step of each, as it is trained."""
    steps = []
    for recipe in recipes:
        loop = recipe.train
        crops = torch.rand(loop.batch_size, 3, loop.crop, loop.crop)
        model = codecs.build(recipe.arch_name, recipe.arch).train()
        step = TrainingStep(model, crops, loop.precision, float(recipe.lmbda), loop.compile)
        steps.append(step)
    return medians(steps, runs)


def point_of(network: str, recipe: CodecRecipe, folder: Path, kodak: Path) -> Point:
    """The figures of a finished run, but for the time of a step."""
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    losses = [r["validation_loss"] for r in records if "validation_loss" in r]
    result = report(find_images(kodak), str(folder / "best.safetensors"), "kodak")
    model = codecs.build(recipe.arch_name, recipe.arch)
    weight = float(recipe.lmbda) * 255**2
    costs = [weight * 10 ** (-one["psnr"] / 10) + one["bpp"] for one in result["pictures"]]
    return Point(
        network=network,
        parameters=sum(p.numel() for p in model.parameters()),
        steps=recipe.train.steps,
        precision=recipe.train.precision,
        step_seconds=math.nan,
        validation_loss=min(losses),
        loss=sum(costs) / len(costs),
        bpp=result["bpp"],
        psnr=result["psnr"],
        jpeg_gain_db=result["peers"]["jpeg"]["gain_db"],
    )


def timed(points: Sequence[Point], lmbda: float, data: str) -> list[Point]:
    """The points in the order of :data:`NETWORKS`, with times of steps that took turns."""
    ordered = sorted(points, key=lambda point: list(NETWORKS).index(point.network))
    recipes = [recipe_of(p.network, lmbda, data, p.steps, p.precision) for p in ordered]
    times = step_seconds(recipes)
    return [replace(p, step_seconds=t) for p, t in zip(ordered, times, strict=True)]


def points_in(path: Path | None, lmbda: float = LMBDA) -> list[Point]:
    """Those that --json has written into a file; none if there is no file.

    Raises:
        UsageError: they are of another λ.
    """
    if path is None or not path.exists():
        return []
    content = json.loads(path.read_text(encoding="utf-8"))
    if content["lmbda"] != lmbda:
        raise UsageError(f"{path}: points of λ = {content['lmbda']}, not {lmbda}; name another")
    return [Point(**point) for point in content["points"]]


def table(points: Sequence[Point]) -> str:
    """A line a network.

    Minutes are of its steps, and leave out the loading of pictures and validation.
    """
    head = ["network", "parameters", "steps", "s a step", "minutes", "held-out loss"]
    head += ["Kodak: loss", "bpp", "PSNR, dB", "dB over JPEG"]
    rows = [
        [
            p.network,
            f"{p.parameters / 1e6:.2f} M",
            str(p.steps),
            f"{p.step_seconds:.3f}",
            f"{p.steps * p.step_seconds / 60:.0f}",
            f"{p.validation_loss:.4f}",
            f"{p.loss:.4f}",
            f"{p.bpp:.4f}",
            f"{p.psnr:.2f}",
            f"{p.jpeg_gain_db:+.2f}",
        ]
        for p in points
    ]
    return markdown_table(head, rows)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="folder of training pictures")
    parser.add_argument("--kodak", type=Path, required=True, help="folder of the test pictures")
    parser.add_argument("--runs", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--lmbda", type=float, default=LMBDA)
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--precision", choices=PRECISIONS, help="not the preset's")
    parser.add_argument("--threads", type=int, default=1, help="of torch while training")
    parser.add_argument("--only", action="append", choices=list(NETWORKS))
    parser.add_argument("--times", action="store_true", help="time steps in turns, train nothing")
    parser.add_argument("--json", type=Path, help="file to write the points into")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(arguments.threads)
    names = arguments.only or list(NETWORKS)
    kept = [p for p in points_in(arguments.json, arguments.lmbda) if p.network not in names]
    settings = (arguments.lmbda, arguments.data, arguments.steps, arguments.precision)
    recipes = [recipe_of(name, *settings) for name in names]
    folders = [arguments.runs / n.replace(",", "").replace(" ", "-").lower() for n in names]
    if arguments.times:
        for name, seconds in zip(names, step_seconds(recipes), strict=True):
            print(f"{name}: {seconds:.3f} s a step")
        return
    runs = list(zip(names, recipes, folders, strict=True))
    for network, recipe, folder in runs:
        print(network, file=sys.stderr)
        trained(recipe, folder)
    points = [point_of(*each, arguments.kodak) for each in runs]
    points = timed([*points, *kept], arguments.lmbda, arguments.data)
    if arguments.json:
        found = {"preset": PRESET, "lmbda": arguments.lmbda, "points": [asdict(p) for p in points]}
        arguments.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(table(points))


if __name__ == "__main__":
    run(main)
