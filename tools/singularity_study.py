"""Train a small codec with vanilla and with smooth Padé neurons, and draw how near Q comes to zero.

    python tools/singularity_study.py --data photos --out singularity.png

The figure is Fig. 4 of "Padé Neurons for Efficient Neural Models" (IV-A4), on a codec: for each
layer and iteration, how often the denominator polynomial is below 0.01. Both trainings see the same
crops from random starts of the same kind, without autocast.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from _common import run

from paoncodec.cli.files import STREAM, check_output
from paoncodec.codecs.recipe import CodecRecipe
from paoncodec.evaluation.singularity import THRESHOLD, Study, check_drawing, draw, study
from paoncodec.layers import Kind

KINDS: tuple[Kind, ...] = ("vanilla", "smooth")


def summary(seen: Study) -> str:
    """One line: how often, in which layer most, and how the training ended."""
    totals = {name: sum(counts) for name, counts in seen.counts.items()}
    most = max(totals, key=lambda name: totals[name])
    steps = len(seen.losses)
    end = f"loss {seen.losses[-1]:.3f}" if seen.stopped is None else "not finite, stopped"
    return (
        f"{seen.kind}: {steps} iterations, |Q| near zero {sum(totals.values()) / steps:.1f} times "
        f"an iteration, {totals[most] / steps:.1f} of them in {most}; {end}"
    )


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, nargs="+", help="folders of pictures")
    parser.add_argument("--out", required=True, type=Path, help="the figure")
    parser.add_argument("--json", type=Path, help="the numbers")
    parser.add_argument("--preset", default="small", help="sizes of the codec (%(default)s)")
    parser.add_argument("--lmbda", type=float, default=0.013, help="λ (%(default)s)")
    parser.add_argument("--steps", type=int, default=300, help="of each training (%(default)s)")
    parser.add_argument("--batch-size", type=int, default=8, help="crops (%(default)s)")
    parser.add_argument("--crop", type=int, default=64, help="their side, pixels (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="%(default)s")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="%(default)s")
    options = parser.parse_args(argv)
    check_drawing(options.out)
    if options.json:
        check_output(str(options.json), STREAM, force=True)
    torch.set_num_threads(options.threads)
    recipe = CodecRecipe.from_preset(
        options.preset,
        "mbt-paon",
        options.lmbda,
        options.data,
        steps=options.steps,
        batch_size=options.batch_size,
        crop=options.crop,
        seed=options.seed,
        precision="float32",
        workers=0,
    )
    seen: dict[str, Study] = {}
    for kind in KINDS:
        seen[kind] = study(recipe, kind, listener=_tell(kind, options.steps))
        print(summary(seen[kind]))
    if options.json:
        numbers = {"threshold": THRESHOLD, "studies": [asdict(s) for s in seen.values()]}
        options.json.write_text(json.dumps(numbers) + "\n")
    draw(seen, options.out)


def _tell(kind: Kind, steps: int) -> Callable[[int, float], None]:
    def listener(iteration: int, loss: float) -> None:
        if (iteration + 1) % 50 == 0:
            print(f"{kind} {iteration + 1}/{steps}: loss {loss:.3f}", file=sys.stderr)

    return listener


if __name__ == "__main__":
    run(main)
