"""What a first picture costs beside `import torch`: cold starts of encode and decode.

python tools/bench_start.py
python tools/bench_start.py --rounds 9 --model mbt-paon-small --image KODIM01

Each round starts a process that only imports torch, and processes that encode and decode a picture,
by the functions and by the commands. These do it twice: the second time is the work itself, and is
taken off. What is left, divided by `import torch` of the same round, is printed as the median
of the rounds. Times are those of the processor (user and system, one thread), so that a busy
machine matters less; Python keeps the modules that it has compiled, as it usually does. The bar is
what the ratios should stay under.
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
from paoncodec.api import DEFAULT_MODEL

PHOTO = Path(paoncodec.__file__).parent / "demo" / "photo.png"

_IMPORT = "import torch"
# Each prints how much of the process's time is to be taken off.
_TWICE = """
work()
start = time.process_time()
work()
print(2 * (time.process_time() - start))
"""
_FUNCTION = (
    """
import sys, time
import paoncodec
work = lambda: paoncodec.{}(sys.argv[1], model=sys.argv[2])
"""
    + _TWICE
)
_COMMAND = (
    """
import sys, time
from paoncodec.cli import main
words = ["{}", sys.argv[1], "--model", sys.argv[2], "-o", sys.argv[3], "--force"]
work = lambda: main(words, standalone_mode=False)
"""
    + _TWICE
)

#: Of the ratios.
BAR = 1.3


def processor_time(code: str, *arguments: str) -> float:
    """Seconds that a new interpreter takes for `code`, less those that it prints."""
    threads = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS")}
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    before = os.times()
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *arguments],
        env={**kept, **threads},
        capture_output=True,
        text=True,
        check=True,
    )
    after = os.times()
    spent = after.children_user - before.children_user
    spent += after.children_system - before.children_system
    return spent - float(run.stdout or 0)


def measure(model: str, rounds: int, image: Path = PHOTO) -> Mapping[str, list[float]]:
    """Seconds of each round: of `import torch`, and of what encode and decode add to their work."""
    with tempfile.TemporaryDirectory() as folder:
        coded, decoded = Path(folder) / "photo.bin", Path(folder) / "photo.png"
        coded.write_bytes(paoncodec.encode(image, model=model))
        inputs = {"encode": (image, coded), "decode": (coded, decoded)}
        programs: dict[str, tuple[str, ...]] = {"import torch": (_IMPORT,)}
        for kind, code in (("paoncodec.", _FUNCTION), ("paoncodec ", _COMMAND)):
            for name, (given, made) in inputs.items():
                programs[kind + name] = (code.format(name), str(given), model, str(made))
        for program in programs.values():
            processor_time(*program)  # modules are compiled, files are in memory
        seconds: dict[str, list[float]] = {name: [] for name in programs}
        for _ in range(rounds):
            for name, program in programs.items():
                seconds[name].append(processor_time(*program))
    return seconds


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--image", type=Path, default=PHOTO, help="default: the bundled one")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    arguments = parser.parse_args(argv)
    seconds = dict(measure(arguments.model, arguments.rounds, arguments.image))
    torch = seconds.pop("import torch")
    print(f"import torch: {median(torch):.2f} s of the processor, median of {len(torch)}")
    for name, taken in seconds.items():
        ratios = [one / base for one, base in zip(taken, torch, strict=True)]
        print(
            f"{name}: start {median(ratios):.2f} times as long, the work itself not counted "
            f"(bar {BAR:g})"
        )


if __name__ == "__main__":
    main()
