"""Write the settings of one of the paper's compression trainings into the directory of a run.

    python tools/paper/settings.py --lmbda 0.025 --data DIR --out RUN
    paoncodec train --out RUN --resume

They are the preset `paper`, and as many steps as 600 epochs of these pictures take. MBT-Paon has
M = 320 for the two upper λ, and GDN where --gdn asks for it; ELIC-Paon (`--arch elic-paon`) is the
same at every λ.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from _paper import run

from paoncodec.codecs.recipe import CodecRecipe
from paoncodec.errors import UsageError
from paoncodec.images.crops import find_images
from paoncodec.training import RunDirectory

# IV-B2.
EPOCHS = 600
WIDE_FROM, WIDE = 0.025, 320


def recipe_of(
    lmbda: float, data: Sequence[str], gdn: bool = False, arch_name: str = "mbt-paon"
) -> CodecRecipe:
    """The paper's training at one λ on all pictures of some folders.

    Raises:
        UsageError: GDN for another architecture than MBT-Paon.
    """
    plain = CodecRecipe.from_preset("paper", arch_name, lmbda, data)
    arch = dict(plain.arch)
    if arch_name == "mbt-paon":
        arch["gdn"] = gdn
        if lmbda >= WIDE_FROM:
            arch["M"] = WIDE
    elif gdn:
        raise UsageError(f"--gdn with {arch_name}: MBT-Paon alone has it as an option")
    steps = max(1, EPOCHS * len(find_images(data)) // plain.train.batch_size)
    return replace(plain, arch=arch, train=replace(plain.train, steps=steps))


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lmbda", type=float, required=True, help="0.0018 to 0.0483")
    parser.add_argument("--data", action="append", required=True, metavar="DIR")
    parser.add_argument("--gdn", action="store_true", help="normalisation between the stages")
    parser.add_argument("--arch", choices=["mbt-paon", "elic-paon"], default="mbt-paon")
    parser.add_argument("--out", type=Path, required=True, metavar="RUN")
    arguments = parser.parse_args(argv)
    places = [str(Path(place).absolute()) for place in arguments.data]
    recipe = recipe_of(arguments.lmbda, places, arguments.gdn, arguments.arch)
    directory = RunDirectory(arguments.out)
    directory.create()
    directory.write_config(asdict(recipe))
    print(f"{recipe.train.steps} steps; to train: paoncodec train --out {arguments.out} --resume")


if __name__ == "__main__":
    run(main)
