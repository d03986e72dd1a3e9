"""Train PURe-ResUNet and ResUNet, measure both and draw it: the whole of segmentation.

Every step is a command of `paoncodec vision`, and printed before it runs: phantoms are made where
no data are given, both networks trained alike (same cases, steps, batches and seed; learning rates
are the preset's), and measured on the validation cases, the second against the first.

    python tools/segmentation_study.py OUT --threads 1
    python tools/segmentation_study.py OUT --data amos22 --preset paper --surfaces

OUT then has `resunet.json` and `pure-resunet.json`, the pictures of both in `pictures`, and
`seconds.json`, how long each step took; a table of both is printed.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

from _common import run, write_whole

from paoncodec.errors import UsageError

NETWORKS = ("resunet", "pure-resunet")
#: Optimiser steps on phantoms, and the side of their voxels in mm.
PHANTOM_STEPS = 1500
PHANTOM_VOXEL = 5.0


def main() -> None:
    """Do what the command line says."""
    words = parser().parse_args()
    out = Path(words.out)
    if out.exists():
        raise UsageError(f"{out} is there already: name a new folder")
    out.mkdir(parents=True)
    seconds = {}
    for name, command in steps(words):
        print("$ " + shlex.join(["paoncodec", "vision", *command]), flush=True)
        begun = perf_counter()
        done = subprocess.run([sys.executable, "-m", "paoncodec", "vision", *command], cwd=out)
        if done.returncode:
            raise UsageError(f"the command ended with the code {done.returncode}")
        seconds[name] = round(perf_counter() - begun, 1)
    seconds["all"] = round(sum(seconds.values()), 1)
    write_whole(out / "seconds.json", (json.dumps(seconds, indent=1) + "\n").encode())
    print("seconds: " + ", ".join(f"{name} {value}" for name, value in seconds.items()))
    print("\n".join(table(*(json.loads((out / f"{name}.json").read_text()) for name in NETWORKS))))


def steps(words: argparse.Namespace) -> list[tuple[str, list[str]]]:
    """What each step is called, and its words."""
    found, length = [], ["--preset", words.preset]
    if words.data is None:
        data, usual = "phantoms", {"steps": PHANTOM_STEPS, "tolerance": PHANTOM_VOXEL}
        made = ["phantoms", data]
        for name in ("training", "validation", "size", "seed"):
            made += [f"--{name}", str(getattr(words, name))]
        found.append(("phantoms", made))
        length += ["--crop", str(words.size)]
    else:
        data, usual = str(Path(words.data).resolve()), {}
    steps, tolerance = (getattr(words, name) or usual.get(name) for name in ("steps", "tolerance"))
    length += ["--steps", str(steps)] if steps else []
    task, threads = ["--task", "segmentation"], ["--threads", str(words.threads)]
    for network in NETWORKS:
        train = ["train", *task, "--network", network, "--data", data, "--out", network]
        if network == "pure-resunet":
            train += [word for option in words.option for word in ("--option", option)]
        found.append((f"train {network}", [*train, *length, "--seed", str(words.seed), *threads]))
    for network in NETWORKS:
        measure = ["eval", *task, "--model", f"{network}/best.safetensors", "--images", data]
        measure += ["--name", network, "--json", f"{network}.json", *threads]
        measure += ["--pictures", f"pictures/{network}"]
        measure += ["--surfaces"] if words.surfaces else []
        measure += ["--tolerance", str(tolerance)] if words.surfaces and tolerance else []
        measure += ["--against", "resunet.json"] if network != "resunet" else []
        found.append((f"eval {network}", measure))
    return found


def table(first: dict[str, Any], second: dict[str, Any]) -> Iterator[str]:
    """Both networks' Dice and what the second has over the first, as Markdown."""
    yield f"| Dice, % | {first['name']} | {second['name']} | difference, points | p | q |"
    yield "| --- | --- | --- | --- | --- | --- |"
    against = second["against"]
    for name in ("mean", *first["classes"]):
        figures, tested = [r["results"]["mdice"] for r in (first, second)], against["mdice"]
        if name != "mean":
            figures, tested = (
                [r["results"]["dice"][name] for r in (first, second)],
                against["dice"][name],
            )
        cells = [name, *map(_spread, figures), _spread(tested["difference"], "+")]
        cells += [_chance(tested["p"]), _chance(tested.get("q"))]
        yield "| " + " | ".join(cells) + " |"


def _spread(figure: dict[str, float | None], sign: str = "") -> str:
    mean, low, high = (figure[key] for key in ("mean", "low", "high"))
    if mean is None or low is None or high is None:
        return "-" if mean is None else f"{100 * mean:{sign}.1f}"
    return f"{100 * mean:{sign}.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def _chance(value: float | None) -> str:
    return "" if value is None else f"{value:.2g}"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    made.add_argument("out", help="folder to make")
    made.add_argument("--data", help="folder with a dataset.json (default: phantoms, made anew)")
    made.add_argument("--training", type=int, default=24, help="phantoms (default: 24)")
    made.add_argument("--validation", type=int, default=16, help="phantoms (default: 16)")
    made.add_argument("--size", type=int, default=64, help="of phantoms, voxels (default: 64)")
    made.add_argument("--preset", default="small", help="of the trainings (default: small)")
    made.add_argument(
        "--steps",
        type=int,
        help=f"of each network (default: {PHANTOM_STEPS} of phantoms, otherwise the preset's)",
    )
    made.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="of PURe-ResUNet, such as outer_relu=true, repeatable",
    )
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--threads", type=int, default=1)
    made.add_argument("--surfaces", action="store_true", help="HD95 and surface Dice, by MONAI")
    made.add_argument(
        "--tolerance", type=float, help="mm (default: a voxel of phantoms, otherwise eval's)"
    )
    return made


if __name__ == "__main__":
    run(main)
