"""What a layer or a codec costs: multiplications, operations, memory, parameters.

"Padé Neurons for Efficient Neural Models", III-D. A multiply-accumulate is one MAC (fvcore) and two
FLOPs (torch.utils.flop_counter). Both count convolutions and matrix products. MACs also count the
interpolation of a shift, four for each value, as fvcore does for ``grid_sample``. FLOPs do not, but
where large maps lie channels last: there it is a convolution (:func:`.shift2d`). Neither counts the
quotient of a Padé neuron, which is one division and a few products an output.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from compressai.latent_codecs import LatentCodec
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from paoncodec.errors import UsageError
from paoncodec.layers import PaLaConv2d, PredictedShift, StaticShift

__all__ = [
    "TABLE_1",
    "Complexity",
    "complexity",
    "macs_by_module",
    "networks_of_codec",
    "peak_allocation",
    "table_1",
]

#: Products of one bilinear sample.
_INTERPOLATION = 4


@dataclass(frozen=True)
class Complexity:
    """Cost of one forward pass.

    Args:
        parameters: numbers that are learned.
        macs: multiply-accumulates, as fvcore counts them.
        flops: operations, as torch's flop counter counts them.
        peak_memory: most bytes allocated at once beyond inputs and weights, without gradients.
    """

    parameters: int
    macs: int
    flops: int
    peak_memory: int


def complexity(module: nn.Module, *inputs: Tensor) -> Complexity:
    """Counts a forward pass of any layer or model, on the CPU.

    Args:
        module: is left as it was found.
        *inputs: what it is called with.

    Raises:
        UsageError: fvcore is not installed.
    """
    with _evaluating(module):
        return Complexity(
            parameters=sum(p.numel() for p in module.parameters()),
            macs=macs_by_module(module, *inputs)[""],
            flops=_flops(module, *inputs),
            peak_memory=peak_allocation(lambda: module(*inputs)),
        )


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    training = {part: part.training for part in module.modules()}
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part, mode in training.items():
            part.training = mode


def macs_by_module(module: nn.Module, *inputs: Tensor) -> dict[str, int]:
    """Multiply-accumulates of every module in ``module`` by its name; "" is the whole.

    Raises:
        UsageError: fvcore is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it scripts functions as it is loaded
            from fvcore.nn import FlopCountAnalysis
    except ImportError as error:
        raise UsageError("counting needs fvcore: pip install 'paoncodec[eval]'") from error
    analysis = FlopCountAnalysis(module, inputs)
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    analysis.set_op_handle("aten::gather", _gather_macs)
    # On a CPU deformable layers are an autograd function of ours, which is traced as one operation.
    analysis.set_op_handle(
        "torchvision::deform_conv2d",
        lambda inputs, outputs: _deform_macs(inputs[0], inputs[1], outputs[0]),
        "prim::PythonOp._Deform",
        lambda inputs, outputs: _deform_macs(inputs[0], inputs[2], outputs[0]),
    )
    with warnings.catch_warnings(), _evaluating(module):
        warnings.simplefilter("ignore")  # the tracer's, of what does not matter to a count
        return {name: int(count) for name, count in analysis.by_module().items()}


def _shape(value: Any) -> list[int]:
    """Of a tensor in a traced graph."""
    sizes: list[int] = value.type().sizes()
    return sizes


def _gather_macs(inputs: list[Any], outputs: list[Any]) -> int:
    """Our shifts gather near and far rows, then columns: each value taken is weighted once."""
    return math.prod(_shape(outputs[0]))


def _deform_macs(features: Any, kernel: Any, output: Any) -> int:
    x, weight, out = _shape(features), _shape(kernel), _shape(output)
    samples = x[0] * x[1] * math.prod(weight[2:]) * math.prod(out[2:])
    return math.prod(out) * math.prod(weight[1:]) + _INTERPOLATION * samples


def _flops(module: nn.Module, *inputs: Tensor) -> int:
    def deform(x: Any, weight: Any, *rest: Any, out_shape: Any, **options: Any) -> int:
        return 2 * math.prod(out_shape) * math.prod(weight[1:])

    counter = FlopCounterMode(
        display=False, custom_mapping={torch.ops.torchvision.deform_conv2d: deform}
    )
    with counter:
        module(*inputs)
    return int(counter.get_total_flops())


def peak_allocation(run: Callable[[], object]) -> int:
    """The most bytes that torch's CPU allocator holds at once while ``run`` runs.

    Counted from what it holds at the beginning, as the profiler records it: tensors and the
    workspaces that torch's own kernels allocate, not what a library takes behind its back.
    """
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        run()
    events = record.profiler.kineto_results.events()
    changes = [(e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]"]
    held = most = 0
    for _, change in sorted(changes, key=lambda event: event[0]):
        held += change
        most = max(most, held)
    return most


@dataclass(frozen=True)
class PublishedCost:
    """A row of Table I: MACs and FLOPs in millions, peak memory in MiB."""

    macs: float
    flops: float
    memory: float


#: Table I: 5×5 layers of three channels, [1/1] smooth, on a picture of 256×256.
TABLE_1: Mapping[str, PublishedCost] = {
    "convolution": PublishedCost(14.74, 29.49, 449.59),
    "PaLa, no shift": PublishedCost(29.49, 58.98, 457.89),
    "PaLa, predicted shift": PublishedCost(30.28, 58.98, 576.85),
    "PaLa, static shift": PublishedCost(30.28, 58.98, 576.85),
}


def table_1() -> dict[str, Complexity]:
    """The layers of :data:`TABLE_1`, counted.

    Raises:
        UsageError: fvcore is not installed.
    """
    layers = (
        nn.Conv2d(3, 3, 5, padding=2),
        PaLaConv2d(3, 3, 5),
        PaLaConv2d(3, 3, 5, shift=PredictedShift()),
        PaLaConv2d(3, 3, 5, shift=StaticShift(1.0)),
    )
    x = torch.zeros(1, 3, 256, 256)
    return {name: complexity(layer, x) for name, layer in zip(TABLE_1, layers, strict=True)}


def networks_of_codec(model: nn.Module, side: int = 256) -> dict[str, float]:
    """Thousands of multiply-accumulates per pixel of each network of a codec, by its name.

    Args:
        model: as CompressAI has them: g_a, g_s, h_a, h_s and so on.
        side: of the square picture, a multiple of 64 pixels.

    Raises:
        UsageError: the side is not such a multiple, or fvcore is not installed.
    """
    if side < 64 or side % 64:
        raise UsageError(f"side {side}: must be a multiple of 64 pixels")
    with _each_latent_once(model):
        counts = macs_by_module(model, torch.zeros(1, 3, side, side))
    networks: dict[str, float] = {}
    for path, name in _networks(model):
        # A network whose layers are called one by one has no count of its own.
        depth = path.count(".") + 1
        layers = [n for n in counts if n.startswith(f"{path}.") and n.count(".") == depth]
        macs = max(counts.get(path, 0), sum(counts[layer] for layer in layers))
        # The factorised prior is a table when a file is coded.
        if macs and name != "entropy_bottleneck":
            networks[name] = networks.get(name, 0.0) + macs / side**2 / 1e3
    return networks


@contextmanager
def _each_latent_once(model: Any) -> Iterator[None]:
    """A codec that predicts each latent once, as coding does.

    Where it rounds around means, ``forward`` predicts all of them twice, first as anchors.
    """
    rounding = getattr(model, "rounding", None)
    if rounding is None:
        yield
        return
    model.rounding = "integers"
    try:
        yield
    finally:
        model.rounding = rounding


def _networks(module: nn.Module, prefix: str = "", name: str = "") -> Iterator[tuple[str, str]]:
    """Path and name of each network, also inside CompressAI's latent codecs.

    There the networks of several groups of channels have one name; y, y0, y1 … are no names.
    """
    for child, inner in module.named_children():
        called = name if re.fullmatch(r"y\d*", child) else child
        if isinstance(inner, (LatentCodec, nn.ModuleDict)):
            yield from _networks(inner, f"{prefix}{child}.", called)
        else:
            yield prefix + child, called
