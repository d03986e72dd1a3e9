"""Train networks of classification with several seeds, and make the table of means and deviations.

PURe's protocol: each network is trained with each seed, measured on the test part, with --photons
also on noisy pictures, and summed up with T80, the seconds to 80 % validation accuracy. Every step
is a command of `paoncodec vision`, and printed before it runs; what is there already is not done
again, so a broken study goes on where it was.

    python tools/vision_seeds.py OUT --data Galaxy10_DECals.h5 --photons 255 \\
        --network pure-resnet18=pure-galaxy10 --network resnet18=resnet-galaxy10
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from _common import run

from paoncodec.errors import UsageError

TASK = ("--task", "classification")


def main() -> None:
    """Do what the command line says."""
    words, rest = parser().parse_known_args()
    out = Path(words.out)
    out.mkdir(parents=True, exist_ok=True)
    results, runs = [], []
    for network, preset in map(_parted, words.network):
        for seed in range(words.seeds):
            run_of = out / f"{network}-{seed}"
            _train(run_of, [*_training(words, network, preset, seed), *rest])
            results += [str(file) for file in _measured(words, network, run_of)]
            runs += ["--run", str(run_of)]
    _do(["table", *results, *runs])


def _parted(text: str) -> tuple[str, str]:
    network, _, preset = text.partition("=")
    if not preset:
        raise UsageError(f"--network {text}: give NAME=PRESET, e.g. pure-resnet18=pure-galaxy10")
    return network, preset


def _training(words: argparse.Namespace, network: str, preset: str, seed: int) -> list[str]:
    given = ["--network", network, "--preset", preset, "--data", words.data, "--seed", str(seed)]
    return [*given, *_threads(words)]


def _train(run_of: Path, given: list[str]) -> None:
    """Begin a training, or go on with it; one that is complete is over at once."""
    if (run_of / "last.pt").exists():
        given = ["--resume"]
    _do(["train", *TASK, "--out", str(run_of), *given])


def _measured(words: argparse.Namespace, network: str, run_of: Path) -> Iterator[Path]:
    """The result files of a training, which are made where they are missing."""
    for photons in [None, *words.photons]:
        tail = "" if photons is None else f"-{photons:g}-photons"
        file = run_of / f"result{tail}.json"
        if not file.exists():
            measure = ["eval", *TASK, "--model", str(run_of / "best.safetensors")]
            measure += ["--images", words.data, "--name", network, "--json", str(file)]
            measure += [] if photons is None else ["--photons", f"{photons:g}"]
            _do([*measure, *_threads(words)])
        yield file


def _threads(words: argparse.Namespace) -> list[str]:
    return [] if words.threads is None else ["--threads", str(words.threads)]


def _do(command: list[str]) -> None:
    print("$ " + shlex.join(["paoncodec", "vision", *command]), file=sys.stderr, flush=True)
    done = subprocess.run([sys.executable, "-m", "paoncodec", "vision", *command])
    if done.returncode:
        raise UsageError(f"the command ended with the code {done.returncode}")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        description=__doc__.split("\n")[0],
        epilog="What it does not know is given to the trainings, such as --epochs 10.",
    )
    made.add_argument("out", help="folder of the runs and results")
    made.add_argument("--data", required=True, help="as of `paoncodec vision train`")
    made.add_argument(
        "--network", action="append", required=True, metavar="NAME=PRESET", help="repeatable"
    )
    made.add_argument("--seeds", type=int, default=5, help="number of them (default: 5)")
    made.add_argument(
        "--photons", action="append", type=float, default=[], help="of white, repeatable"
    )
    made.add_argument("--threads", type=int)
    return made


if __name__ == "__main__":
    run(main)
