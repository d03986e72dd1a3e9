"""Time training steps of vision networks beside each other, in one process and one thread.

    python tools/bench_vision.py superres resnet self-onn padenet-id
    python tools/bench_vision.py classification pure-resnet20 resnet20 --batch-size 128

A step is forward, loss, backward and the optimiser's part: of 8 patches of 16×16 enlarged by
--scale with Adan, or of pictures of 32×32 with what a network's own recipe takes, AdamW for Padé's
paper and SGD with momentum for PURe's. Medians of interleaved steps, of processor time, which other
jobs on the machine change less than they change a clock's. An epoch is of CIFAR-10's 45,000
training pictures.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence

import torch
from bench_layers import medians
from torch import nn
from torch.nn import functional as F

from paoncodec.vision import classification, superres

#: Training pictures of CIFAR-10 without those that validate.
EPOCH = 45_000


def enlarging_step(network: str, scale: int, batch: int, precision: str) -> Callable[[], None]:
    """One step of super-resolution, as often as it is called."""
    from pytorch_optimizer import Adan

    model = superres.build(network, {"scale": scale}).train()
    patches = torch.rand(batch, 3, 16, 16) * 2 - 1
    optimizer = Adan(model.parameters(), lr=1e-4)
    return _step(model, patches, lambda out: out.square().mean(), optimizer, precision)


def naming_step(network: str, batch: int, precision: str) -> Callable[[], None]:
    """One step of classification, as often as it is called."""
    model = classification.build(network, {}).train()
    pictures, labels = torch.rand(batch, 3, 32, 32) * 2 - 1, torch.arange(batch) % 10
    weights = list(model.parameters())
    optimizer: torch.optim.Optimizer = torch.optim.AdamW(weights, lr=1e-4)
    if network not in classification.NETWORKS:
        optimizer = torch.optim.SGD(weights, lr=1e-4, momentum=0.9)
    return _step(model, pictures, lambda out: F.cross_entropy(out, labels), optimizer, precision)


def _step(
    model: nn.Module,
    x: torch.Tensor,
    loss: Callable[[torch.Tensor], torch.Tensor],
    optimizer: torch.optim.Optimizer,
    precision: str,
) -> Callable[[], None]:
    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", getattr(torch, precision), enabled=precision != "float32"):
            out = model(x)
        loss(out.float()).backward()
        optimizer.step()

    return step


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task", choices=("superres", "classification"))
    parser.add_argument("networks", nargs="+", metavar="NETWORK")
    parser.add_argument("--batch-size", type=int, help="default: 8 patches or 250 pictures")
    parser.add_argument("--scale", type=int, choices=(2, 4), default=4, help="of superres")
    parser.add_argument("--precision", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--runs", type=int, default=12, help="steps that are timed (%(default)s)")
    words = parser.parse_args(argv)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    enlarges = words.task == "superres"
    batch = words.batch_size or (8 if enlarges else 250)
    steps = [
        enlarging_step(network, words.scale, batch, words.precision)
        if enlarges
        else naming_step(network, batch, words.precision)
        for network in words.networks
    ]
    for network, seconds in zip(
        words.networks, medians(steps, words.runs, time.process_time), strict=True
    ):
        epoch = "" if enlarges else f", {seconds * EPOCH / batch / 60:.1f} minutes an epoch"
        print(f"{network}: {1000 * seconds:.0f} ms a step{epoch}")


if __name__ == "__main__":
    main()
