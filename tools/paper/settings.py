"""Write the settings of one of the paper's MBT-Paon trainings into the directory of a run.

    python tools/paper/settings.py --lmbda 0.025 --data DIR --out RUN
    paoncodec train --out RUN --resume

They are the preset `paper`, with M = 320 for the two upper λ, with GDN where --gdn asks for it, and
as many steps as 600 epochs of these pictures take.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from _paper import run

from paoncodec.codecs.recipe import CodecRecipe
from paoncodec.images.crops import find_images
from paoncodec.training import RunDirectory

# IV-B2.
EPOCHS = 600
WIDE_FROM, WIDE = 0.025, 320


def recipe_of(lmbda: float, data: Sequence[str], gdn: bool = False) -> CodecRecipe:
    """The paper's training at one λ on all pictures of some folders."""
    plain = CodecRecipe.from_preset("paper", "mbt-paon", lmbda, data)
    arch = {**plain.arch, "gdn": gdn}
    if lmbda >= WIDE_FROM:
        arch["M"] = WIDE
    steps = max(1, EPOCHS * len(find_images(data)) // plain.train.batch_size)
    return replace(plain, arch=arch, train=replace(plain.train, steps=steps))


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lmbda", type=float, required=True, help="0.0018 to 0.0483")
    parser.add_argument("--data", action="append", required=True, metavar="DIR")
    parser.add_argument("--gdn", action="store_true", help="normalisation between the stages")
    parser.add_argument("--out", type=Path, required=True, metavar="RUN")
    arguments = parser.parse_args(argv)
    places = [str(Path(place).absolute()) for place in arguments.data]
    recipe = recipe_of(arguments.lmbda, places, arguments.gdn)
    directory = RunDirectory(arguments.out)
    directory.create()
    directory.write_config(asdict(recipe))
    print(f"{recipe.train.steps} steps; to train: paoncodec train --out {arguments.out} --resume")


if __name__ == "__main__":
    run(main)
