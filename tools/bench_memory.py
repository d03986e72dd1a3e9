"""What a large picture costs: peak memory of the commands, and time beside a Kodak-size picture.

python tools/bench_memory.py                           6000x4000, the default model
python tools/bench_memory.py --size 3000x2000 --json   another size, for a script
python tools/bench_memory.py --max-memory 1.5GiB       with the commands' own option

The pictures are the bundled photograph, mirrored and repeated. Memory is the largest resident set
of `paoncodec encode` and `decode`, each in a process of its own, PNG in and out included. Times are
of the codec alone, in this process: processor seconds of one thread for the large picture, once,
and for 768x512, several times before and after it; printed is the ratio of those a pixel. For POSIX
systems.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

import paoncodec
from paoncodec import api
from paoncodec.images import read_image, write_image

PHOTO = Path(paoncodec.__file__).parent / "demo" / "photo.png"
KODAK = (768, 512)

Pixels = npt.NDArray[np.uint8]


def tiled(photo: Pixels, width: int, height: int) -> Pixels:
    """(height, width, 3): the photograph and its mirror images, side by side without a seam."""
    pair = np.concatenate([photo, photo[:, ::-1]], axis=1)
    four = np.concatenate([pair, pair[::-1]])
    rows, columns = -(-height // four.shape[0]), -(-width // four.shape[1])
    return np.tile(four, (rows, columns, 1))[:height, :width]


def peak(words: list[str]) -> int:
    """Bytes of the largest resident set of a command.

    Raises:
        CalledProcessError: it failed; what it said has gone to stderr.
    """
    process = subprocess.Popen([sys.executable, "-m", "paoncodec", *words])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    # Linux counts kilobytes, macOS bytes.
    return int(usage.ru_maxrss) * (1 if sys.platform == "darwin" else 1024)


def peaks(picture: Pixels, options: list[str]) -> dict[str, int]:
    """Of encode and decode."""
    with tempfile.TemporaryDirectory() as folder:
        source, coded, out = (str(Path(folder) / name) for name in ("a.png", "a.bin", "b.png"))
        write_image(picture, source)
        return {
            "encode": peak(["encode", source, "-o", coded, *options]),
            "decode": peak(["decode", coded, "-o", out, *options]),
        }


def seconds(work: Callable[[Pixels], object], pixels: Pixels) -> float:
    """Processor seconds that it takes."""
    start = process_time()
    work(pixels)
    return process_time() - start


def ratios(large: Pixels, small: Pixels, model: str, runs: int) -> dict[str, float]:
    """Times a pixel of the large picture over those of the small one, for encode and decode."""
    files: dict[tuple[int, ...], bytes] = {}

    def encode(pixels: Pixels) -> None:
        files[pixels.shape] = api.encode(pixels, model=model)

    def decode(pixels: Pixels) -> None:
        api.decode_picture(files[pixels.shape], model=model)

    encode(small)  # loads the model
    found = {}
    for work in (encode, decode):
        before = [seconds(work, small) for _ in range(runs)]
        taken = seconds(work, large)
        after = [seconds(work, small) for _ in range(runs)]
        each = statistics.median(before + after) / small.size
        found[work.__name__] = taken / large.size / each
    return found


def size(text: str) -> tuple[int, int]:
    """WIDTHxHEIGHT."""
    width, height = (int(side) for side in text.split("x"))
    return width, height


def main(words: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure what a large picture costs.")
    parser.add_argument("--size", type=size, default=(6000, 4000), metavar="WIDTHxHEIGHT")
    parser.add_argument("--model", default=api.DEFAULT_MODEL)
    parser.add_argument("--max-memory", help="handed to the commands")
    parser.add_argument(
        "--runs", type=int, default=5, help="of the small picture, before and after"
    )
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args(words)
    torch.set_num_threads(1)
    photo = read_image(PHOTO)
    large, small = tiled(photo, *arguments.size), tiled(photo, *KODAK)
    options = ["--model", arguments.model]
    if arguments.max_memory:
        options += ["--max-memory", arguments.max_memory]
    record: dict[str, Any] = {
        "width": large.shape[1],
        "height": large.shape[0],
        "peak_bytes": peaks(large, options),
        "time_ratio": ratios(large, small, arguments.model, arguments.runs),
    }
    if arguments.json:
        print(json.dumps(record))
        return
    print(f"{record['width']}x{record['height']}, times of one thread")
    for name in ("encode", "decode"):
        memory, ratio = record["peak_bytes"][name] / 2**30, record["time_ratio"][name]
        print(f"{name}: peak {memory:.2f} GiB, time a pixel {ratio:.2f} x that of 768x512")


if __name__ == "__main__":
    main()
