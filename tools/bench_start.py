"""What a first picture costs beside `import torch`: cold starts of encode and decode.

python tools/bench_start.py
python tools/bench_start.py --rounds 9 --model mbt-paon-small

Each round starts a process that only imports torch, one that encodes the bundled photograph and
one that decodes it. Encoding and decoding are done twice there: the second time is the work itself,
and is taken off. What is left over, divided by `import torch` of the same round, is printed as the
median of the rounds. Times are those of the processor (user and system, one thread), so that a busy
machine matters less.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import paoncodec

PHOTO = Path(paoncodec.__file__).parent / "demo" / "photo.png"

_IMPORT = "import torch"
# Prints how much of the process's time is to be taken off.
_WORK = """
import sys, time
import paoncodec
work = lambda: paoncodec.{function}(sys.argv[1], model=sys.argv[2])
work()
start = time.process_time()
work()
print(2 * (time.process_time() - start))
"""


def processor_time(code: str, *arguments: str) -> float:
    """Seconds that a new interpreter takes for `code`, less those that it prints."""
    threads = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS")}
    before = os.times()
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *arguments],
        env={**os.environ, **threads},
        capture_output=True,
        text=True,
        check=True,
    )
    after = os.times()
    spent = after.children_user - before.children_user
    spent += after.children_system - before.children_system
    return spent - float(run.stdout or 0)


def measure(model: str, rounds: int) -> Mapping[str, list[float]]:
    """Seconds of each round: of `import torch`, and of what encode and decode add to their work."""
    with tempfile.TemporaryDirectory() as folder:
        coded = Path(folder) / "photo.bin"
        coded.write_bytes(paoncodec.encode(PHOTO, model=model))
        programs = {
            "import torch": (_IMPORT,),
            "encode": (_WORK.format(function="encode"), str(PHOTO), model),
            "decode": (_WORK.format(function="decode"), str(coded), model),
        }
        seconds: dict[str, list[float]] = {name: [] for name in programs}
        for _ in range(rounds):
            for name, program in programs.items():
                seconds[name].append(processor_time(*program))
    return seconds


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="mbt-paon-small", help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    arguments = parser.parse_args(argv)
    seconds = dict(measure(arguments.model, arguments.rounds))
    torch = seconds.pop("import torch")
    print(f"import torch: {median(torch):.2f} s of the processor, median of {len(torch)}")
    for name, taken in seconds.items():
        ratios = [one / base for one, base in zip(taken, torch, strict=True)]
        print(f"{name}: start {median(ratios):.2f} times as long, the work itself not counted")


if __name__ == "__main__":
    main()
