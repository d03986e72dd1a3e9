"""Time Padé layers in one process: beside plain convolutions, and beside their formulas.

    python tools/bench_layers.py --threads 2
    python tools/bench_layers.py --threads 1 --compile

First forward and backward of a PaLaConv2d [1/1] and of a convolution with twice the output
channels, on one map. Then of PaLaConv2d and PaLaDeformConv2d and of the published formulas written
down plainly: a convolution for each term, powers taken anew, autograd for the rest. Medians of
interleaved runs; memory is the most that torch's allocator holds at once in a step, beyond inputs
and weights, as its profiler records it. Each ratio should stay within its bar.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import deform_conv2d

from paoncodec.evaluation.complexity import peak_allocation
from paoncodec.layers import PaLaConv2d, PaLaDeformConv2d, fused_quotients

#: Seconds of the Padé layer over seconds of the convolution, for the default sizes.
BAR = 1.25


class PlainPaLa(nn.Module):
    """Smooth [K/L] Padé layer without shift as eq. 4 writes it; K, L ≥ 1, |K - L| ≤ 1."""

    def __init__(self, channels: int, kernel: int, stride: int, degrees: tuple[int, int]) -> None:
        super().__init__()
        self.num, self.den = (
            nn.ModuleList(
                nn.Conv2d(
                    channels,
                    channels,
                    kernel,
                    stride,
                    padding=kernel // 2,
                    padding_mode="replicate",
                    bias=False,
                )
                for _ in range(degree)
            )
            for degree in degrees
        )
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))

    def terms(self, x: Tensor, layers: nn.ModuleList) -> list[Tensor]:
        return [layer(x**k) for k, layer in enumerate(layers, 1)]

    def forward(self, x: Tensor) -> Tensor:
        num, den = self.terms(x, self.num), self.terms(x, self.den)
        p, p_low = (self.bias + sum(terms) for terms in (num, num[:-1]))
        q, q_low = (1 + sum(terms) for terms in (den, den[:-1]))
        return (q * p + q_low * p_low) / (q**2 + q_low**2)


class PlainDeformPaLa(PlainPaLa):
    """The same with element-wise shifts (III-C), offsets from a 1×1 convolution."""

    def __init__(self, channels: int, kernel: int, stride: int, degrees: tuple[int, int]) -> None:
        super().__init__(channels, kernel, stride, degrees)
        self.predict = nn.Conv2d(channels, 2 * kernel**2, 1, stride)
        self.padding, self.stride = kernel // 2, stride

    def terms(self, x: Tensor, layers: nn.ModuleList) -> list[Tensor]:
        bound = max(x.shape[2:]) / 4
        offset = bound * torch.tanh(self.predict(x) / bound)
        return [
            deform_conv2d(
                F.pad(x**k, (self.padding,) * 4, mode="replicate"),
                offset,
                layer.weight,
                stride=self.stride,
            )
            for k, layer in enumerate(layers, 1)
        ]


@dataclass(frozen=True)
class Case:
    """A layer, its input, and what it should reach against the plain one.

    Args:
        name: for the report.
        build: the layer and the plain one.
        channels, side, batch: of the input.
        speed: least seconds of the plain layer over seconds of ours.
        memory: largest peak memory of ours over that of the plain layer.
    """

    name: str
    build: Callable[[], tuple[nn.Module, nn.Module]]
    channels: int
    side: int
    batch: int
    speed: float
    memory: float


def cases(channels: tuple[int, int], side: int, batch: tuple[int, int]) -> Iterator[Case]:
    """The bars of the project: 3×3 on many small maps, and a codec's 5×5 with stride 2."""
    few, many = channels
    pairs = ((PaLaConv2d, PlainPaLa), (PaLaDeformConv2d, PlainDeformPaLa))
    for ours, plain in pairs:
        for degrees in ((1, 1), (2, 1)):

            def small(
                ours: type = ours, plain: type = plain, degrees: tuple[int, int] = degrees
            ) -> tuple[nn.Module, nn.Module]:
                return ours(few, few, 3, degrees=degrees), plain(few, 3, 1, degrees)

            name = f"{ours.__name__} [{degrees[0]}/{degrees[1]}] 3x3 {few}->{few}"
            yield Case(name, small, few, side, batch[0], 1.3, 0.7)

        def large(ours: type = ours, plain: type = plain) -> tuple[nn.Module, nn.Module]:
            return ours(many, many, 5, 2), plain(many, 5, 2, (1, 1))

        name = f"{ours.__name__} [1/1] 5x5 stride 2 {many}->{many}"
        yield Case(name, large, many, side, batch[1], 1.0, 0.8)


def training_step(layer: nn.Module, x: Tensor) -> Callable[[], None]:
    """Forward and backward with fresh gradients, as a step of training does them."""
    gradient = torch.randn_like(layer(x))

    def step() -> None:
        x.grad = None
        layer.zero_grad()
        layer(x).backward(gradient)

    return step


def medians(
    steps: Sequence[Callable[[], None]], runs: int, clock: Callable[[], float] = time.perf_counter
) -> list[float]:
    """Median seconds of each step; they take turns, after one round that is not counted."""
    seconds: list[list[float]] = [[] for _ in steps]
    for turn in range(runs + 1):
        for step, taken in zip(steps, seconds, strict=True):
            start = clock()
            step()
            if turn:
                taken.append(clock() - start)
    return [statistics.median(taken) for taken in seconds]


def step_memory(layer: nn.Module, x: Tensor) -> int:
    """Peak bytes of a training step, gradients of the weights and of the input included."""
    step = training_step(layer, x)
    x.grad = None
    layer.zero_grad()
    return peak_allocation(step)


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


def measure(case: Case, runs: int) -> tuple[float, float]:
    """How many times faster our layer is than the plain one, and its share of the memory."""
    torch.manual_seed(0)
    x = torch.randn(case.batch, case.channels, case.side, case.side, requires_grad=True)
    layers = case.build()
    memory = [step_memory(layer, x) for layer in layers]
    seconds = medians([training_step(layer, x) for layer in layers], runs)
    return seconds[1] / seconds[0], memory[0] / memory[1]


def verdict(kept: bool) -> str:
    return "kept" if kept else "missed"


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="%(default)s")
    parser.add_argument("--runs", type=int, default=5, help="of each layer (%(default)s)")
    parser.add_argument("--channels", type=int, default=192, help="many of them (%(default)s)")
    parser.add_argument("--few", type=int, default=48, help="few of them (%(default)s)")
    parser.add_argument("--side", type=int, default=64, help="of the maps, pixels (%(default)s)")
    parser.add_argument("--batch", type=int, default=25, help="with few channels (%(default)s)")
    parser.add_argument("--large-batch", type=int, default=4, help="with many (%(default)s)")
    parser.add_argument("--compile", action="store_true", help="quotients in one loop")
    options = parser.parse_args(argv)
    for name, value in vars(options).items():
        if value < 1 and value is not False:
            parser.error(f"--{name.replace('_', '-')} {value}: must be >= 1")
    torch.set_num_threads(options.threads)
    with fused_quotients(options.compile):
        _report(options)


def _report(options: argparse.Namespace) -> None:
    print(
        f"forward + backward, {options.side}x{options.side}, {options.threads} thread(s), "
        f"median of {options.runs}, torch {torch.__version__}"
    )
    for kernel in (5, 3):
        ours, peer = compare(options.channels, kernel, options.side, options.runs)
        print(
            f"kernel {kernel}, {options.channels} channels, batch 1: PaLaConv2d [1/1] {ours:.4f} s,"
            f" convolution {peer:.4f} s, ratio {ours / peer:.3f}, bar {BAR} "
            f"{verdict(ours / peer <= BAR)}"
        )
    sizes = (options.few, options.channels), options.side, (options.batch, options.large_batch)
    for case in cases(*sizes):
        speed, memory = measure(case, options.runs)
        print(
            f"{case.name}, batch {case.batch}: {speed:.2f} times as fast as the formulas, "
            f"bar {case.speed} {verdict(speed >= case.speed)}; {memory:.2f} of the memory, "
            f"bar {case.memory} {verdict(memory <= case.memory)}"
        )


if __name__ == "__main__":
    main()
