"""Train PURe-ResNets for a short while with and without what the paper leaves open, alike.

Batch norms in the branch and the ReLU after the addition: four networks, of the same seed,
pictures and steps, by PURe's recipe for CIFAR-10 with its schedule compressed. For each it prints
the share of held-out pictures that is right, their cross entropy, the mean loss of the last quarter
of the steps, and how many steps were not finite and left out.

    python tools/pure_options.py cifar10 --threads 1
"""

from __future__ import annotations

import argparse
import itertools
import math
from pathlib import Path
from typing import Any

import torch
from _common import run
from torch.nn import functional as F

from paoncodec.training import TrainConfig
from paoncodec.training.settings import read_preset
from paoncodec.vision.classification import build
from paoncodec.vision.classification.data import read_images
from paoncodec.vision.classification.prediction import logits_of
from paoncodec.vision.classification.samples import AugmentedImages, Pictures, split
from paoncodec.vision.parts import parameter_count


def main() -> None:
    """Do what the command line says."""
    words = parser().parse_args()
    torch.set_num_threads(words.threads)
    images = read_images(Path(words.data), "train")
    training, validation = split(images, words.held_out / len(images))
    print("| batch norms | outer ReLU | parameters | accuracy | cross entropy | loss | left out |")
    print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
    for norm, outer_relu in itertools.product((True, False), repeat=2):
        options = {"norm": norm, "outer_relu": outer_relu}
        found = trained(words, options, training, validation)
        said = ["yes" if value else "no" for value in (norm, outer_relu)]
        print("| " + " | ".join([*said, *found]) + " |", flush=True)


def trained(
    words: argparse.Namespace,
    options: dict[str, bool],
    training: Pictures,
    validation: Pictures,
) -> list[str]:
    """The figures of one network, as they are printed."""
    preset: dict[str, Any] = read_preset("paoncodec.vision.classification", "pure")
    schedule = TrainConfig(steps=words.steps, **preset["train"])
    torch.manual_seed(words.seed)
    of_data = {"classes": list(training.classes), "size": training.size}
    model = build(words.network, {**of_data, **options}).train()
    rate, decay = preset["lr"], preset["weight_decay"]
    optimizer = torch.optim.SGD(model.parameters(), rate, 0.9, weight_decay=decay)
    data = AugmentedImages(training, preset["border"], None, words.seed, upright=True)
    losses: list[float] = []
    left_out = 0
    for step in range(words.steps):
        first = step * words.batch_size
        samples = [data[first + k] for k in range(words.batch_size)]
        values = torch.stack([value for value, _ in samples])
        labels = torch.tensor([label for _, label in samples])
        kept = [buffer.clone() for buffer in model.buffers()]
        loss = F.cross_entropy(model(values), labels)
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), math.inf)
        if not (math.isfinite(loss.item()) and math.isfinite(float(norm))):
            left_out += 1
            for buffer, value in zip(model.buffers(), kept, strict=True):
                buffer.copy_(value)
            continue
        optimizer.param_groups[0]["lr"] = rate * schedule.rate_factor(step)
        optimizer.step()
        losses.append(loss.item())
    logits = logits_of(model.eval(), validation.block(0, len(validation)).pixels)
    labels = torch.from_numpy(validation.labels)
    accuracy = (logits.argmax(1) == labels).float().mean().item()
    last = losses[-max(1, words.steps // 4) :]
    entropy = F.cross_entropy(logits, labels).item()
    mean = sum(last) / len(last) if last else math.nan
    figures = [f"{accuracy:.1%}", f"{entropy:.3f}", f"{mean:.3f}", str(left_out)]
    return [f"{parameter_count(model):,}", *figures]


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    made.add_argument("data", help="CIFAR-10, as --data of `paoncodec vision train`")
    made.add_argument("--network", default="pure-resnet20")
    made.add_argument("--steps", type=int, default=200)
    made.add_argument("--batch-size", type=int, default=64)
    made.add_argument("--held-out", type=int, default=2000, help="pictures to measure on")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--threads", type=int, default=1)
    return made


if __name__ == "__main__":
    run(main)
