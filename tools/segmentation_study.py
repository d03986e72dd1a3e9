"""Train PURe-ResUNet and ResUNet on phantoms, measure both and draw it: the whole of segmentation.

Every step is a command of `paoncodec vision`, and printed before it runs: phantoms are made, both
networks trained alike (same cases, steps, batches and seed; learning rates are the preset's), and
measured on the validation cases, the second against the first.

    python tools/phantom_study.py OUT --threads 1

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
    made = ["phantoms", "phantoms"]
    for name in ("training", "validation", "size", "seed"):
        made += [f"--{name}", str(getattr(words, name))]
    found = [("phantoms", made)]
    task, threads = ["--task", "segmentation"], ["--threads", str(words.threads)]
    for network in NETWORKS:
        train = ["train", *task, "--network", network, "--data", "phantoms", "--out", network]
        train += ["--steps", str(words.steps), "--crop", str(words.size), "--seed", str(words.seed)]
        found.append((f"train {network}", [*train, *threads]))
    for network in NETWORKS:
        measure = ["eval", *task, "--model", f"{network}/best.safetensors", "--images", "phantoms"]
        measure += ["--name", network, "--json", f"{network}.json", *threads]
        measure += ["--pictures", f"pictures/{network}"]
        measure += ["--surfaces", "--tolerance", str(words.tolerance)] if words.surfaces else []
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
    made.add_argument("--training", type=int, default=24, help="cases (default: 24)")
    made.add_argument("--validation", type=int, default=16, help="cases (default: 16)")
    made.add_argument("--size", type=int, default=64, help="of a side, voxels (default: 64)")
    made.add_argument("--steps", type=int, default=1500, help="of each network (default: 1500)")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--threads", type=int, default=1)
    made.add_argument("--surfaces", action="store_true", help="HD95 and surface Dice, by MONAI")
    made.add_argument("--tolerance", type=float, default=5.0, help="mm, a voxel (default: 5)")
    return made


if __name__ == "__main__":
    run(main)
