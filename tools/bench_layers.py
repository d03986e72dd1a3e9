"""Time Padé layers beside plain convolutions of the same products, in one process.

    python tools/bench_layers.py --threads 2

Forward and backward of a PaLaConv2d [1/1], and of a convolution with twice the output channels, on
one batch of square maps. Medians of interleaved runs; the ratio should stay under its bar.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from paoncodec.layers import PaLaConv2d

#: Seconds of the Padé layer over seconds of the convolution, for the default sizes.
BAR = 1.25


def training_step(layer: nn.Module, x: Tensor) -> Callable[[], None]:
    """Forward and backward with fresh gradients, as a step of training does them."""
    gradient = torch.randn_like(layer(x))

    def step() -> None:
        x.grad = None
        layer.zero_grad()
        layer(x).backward(gradient)

    return step


def medians(steps: Sequence[Callable[[], None]], runs: int) -> list[float]:
    """Median seconds of each step; they take turns, after one round that is not counted."""
    seconds: list[list[float]] = [[] for _ in steps]
    for turn in range(runs + 1):
        for step, taken in zip(steps, seconds, strict=True):
            start = time.perf_counter()
            step()
            if turn:
                taken.append(time.perf_counter() - start)
    return [statistics.median(taken) for taken in seconds]


def compare(channels: int, kernel: int, side: int, runs: int) -> tuple[float, float]:
    """Seconds of the Padé layer and of the convolution.

    Args:
        channels: of input and output; the convolution has twice as many outputs.
        kernel: side of the kernels, odd.
        side: of the square maps, pixels.
        runs: how often each is timed.
    """
    torch.manual_seed(0)
    x = torch.randn(1, channels, side, side, requires_grad=True)
    pade = PaLaConv2d(channels, channels, kernel)
    plain = nn.Conv2d(channels, 2 * channels, kernel, padding=kernel // 2)
    ours, peer = medians([training_step(pade, x), training_step(plain, x)], runs)
    return ours, peer


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="%(default)s")
    parser.add_argument("--runs", type=int, default=5, help="of each layer (%(default)s)")
    parser.add_argument("--channels", type=int, default=192, help="in and out (%(default)s)")
    parser.add_argument("--side", type=int, default=64, help="of the maps, pixels (%(default)s)")
    options = parser.parse_args(argv)
    for name, value in vars(options).items():
        if value < 1:
            parser.error(f"--{name} {value}: must be >= 1")
    torch.set_num_threads(options.threads)
    print(
        f"forward + backward, {options.channels} channels, {options.side}x{options.side}, batch 1, "
        f"{options.threads} thread(s), median of {options.runs}, torch {torch.__version__}"
    )
    for kernel in (5, 3):
        ours, peer = compare(options.channels, kernel, options.side, options.runs)
        verdict = "kept" if ours / peer <= BAR else "missed"
        print(
            f"kernel {kernel}: PaLaConv2d [1/1] {ours:.4f} s, convolution {peer:.4f} s, "
            f"ratio {ours / peer:.3f}, bar {BAR} {verdict}"
        )


if __name__ == "__main__":
    main()
