"""How large the activations and gradients of an untrained PURe network are, block by block.

python tools/pure_activations.py                  PURe-ResNet272
python tools/pure_activations.py --depth 110      another depth, 6n + 2
python tools/pure_activations.py --no-norm        without batch norms in the branches
python tools/pure_activations.py --relu           with the ReLU after the addition
python tools/pure_activations.py --host           the ResNet itself, to compare with

Takes 8 pictures of normal noise, 3×32×32, through a network in training mode, with a cross-entropy
loss. Prints for blocks along the depth the mean size of the sum, the standard deviation of what the
branch adds, and the norm of the gradient of the branch's first convolution.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.resnet import BasicBlock

from paoncodec.layers import guarded_values
from paoncodec.vision.classification.pure import PUReBasicBlock, PUReOptions, resnet, to_pure

#: Blocks that are shown.
_ROWS = 10

Row = tuple[float, float, float]


def statistics(model: nn.Module, seed: int = 0) -> list[Row]:
    """Of each block: mean size of the sum, deviation of the branch, norm of the gradient."""
    blocks = [m for m in model.modules() if isinstance(m, (BasicBlock, PUReBasicBlock))]
    sums: list[float] = []
    branches: list[float] = []

    def hear_sum(module: nn.Module, inputs: object, output: Tensor) -> None:
        sums.append(output.detach().abs().mean().item())

    def hear_branch(module: nn.Module, inputs: object, output: Tensor) -> None:
        branches.append(output.detach().std().item())

    handles = []
    for block in blocks:
        handles.append(block.register_forward_hook(hear_sum))
        handles.append(block.bn2.register_forward_hook(hear_branch))
    images = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
    F.cross_entropy(model(images), torch.arange(8)).backward()
    for handle in handles:
        handle.remove()
    gradients = [_norm(block.conv1.weight.grad) for block in blocks]
    return list(zip(sums, branches, gradients, strict=True))


def table(rows: Sequence[Row]) -> str:
    """Some of them for people, the first and the last among them."""
    chosen = torch.linspace(0, len(rows) - 1, min(_ROWS, len(rows))).round().int().tolist()
    lines = ["block     |sum|   branch  gradient"]
    for number in chosen:
        size, branch, gradient = rows[number]
        lines.append(f"{number + 1:5d} {size:9.3g} {branch:8.3g} {gradient:9.3g}")
    return "\n".join(lines)


def _norm(gradient: Tensor | None) -> float:
    return 0.0 if gradient is None else gradient.norm().item()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Activations of an untrained PURe network.")
    parser.add_argument("--depth", type=int, default=272, help="6n + 2")
    parser.add_argument("--no-norm", action="store_true", help="no batch norms in the branches")
    parser.add_argument("--relu", action="store_true", help="the ReLU after the addition stays")
    parser.add_argument("--host", action="store_true", help="the ResNet itself")
    parser.add_argument("--seed", type=int, default=0, help="of weights and pictures")
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    model = resnet(arguments.depth, 10)
    if not arguments.host:
        options = PUReOptions(norm=not arguments.no_norm, outer_relu=arguments.relu)
        model = to_pure(model, options)
    print(table(statistics(model, arguments.seed)))
    print(f"exponents held: {guarded_values(model)}")


if __name__ == "__main__":
    main()
