"""Where training starts: transforms that are a good linear codec before the first step.

A smooth [1/1] Padé layer with b = 0 is linear, so g_a and g_s can start as a nested Karhunen-Loève
transform of training pictures: each stage turns 2×2 blocks of its input into their principal
components, and the decoder is the transpose. Ordinary convolutions can start there too; what stands
between the stages, GDN or ELIC's residual and attention blocks, then begins as the identity.

For the same reason it can start as a trained model of convolutions: see :func:`from_compressai`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from compressai.entropy_models import EntropyBottleneck
from compressai.layers import GDN
from compressai.models import (
    CompressionModel,
    Elic2022Official,
    JointAutoregressiveHierarchicalPriors,
)
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from paoncodec.codecs.elic import ELICPaon
from paoncodec.codecs.mbt import MBTPaon
from paoncodec.codecs.transfer import Place, copy_part, linear_part, parts
from paoncodec.coding.blocks import AttentionBlock, BottleneckBlock
from paoncodec.coding.exact_codec import ExactCodec
from paoncodec.errors import UsageError
from paoncodec.layers import PadeSpec, PaLaConv2d, PaLaConvTranspose2d
from paoncodec.layers.base import PaLa

Down = PaLaConv2d | nn.Conv2d
Up = PaLaConvTranspose2d | nn.ConvTranspose2d
#: What may stand between the stages of a transform.
BETWEEN: tuple[type[nn.Module], ...] = (GDN, BottleneckBlock, AttentionBlock)

#: Of a 5×5 kernel with stride 2 and padding 2, the taps over the 2×2 block of its own output.
_BLOCK = slice(2, 4)


def quantisation_step(lmbda: float) -> float:
    """Δ that uniform quantisation at slope λ asks for, λ in ``λ·255²·MSE + bpp``.

    At high rate ``dMSE/dR = -2 ln 2 · Δ²/12`` per coefficient and bit; a pixel holds three
    coefficients' errors (RGB mean) and one bpp, hence Δ² = 3·12 / (2 ln 2 · λ · 255²).
    """
    return math.sqrt(36 / (2 * math.log(2) * lmbda * 255**2))


def check_linear_start(model: nn.Module) -> None:
    """Refuses a model whose transforms :func:`linear_start` cannot set.

    Raises:
        UsageError: g_a and g_s are not mirrored smooth [1/1] Padé layers or convolutions, 5×5 with
            stride 2, of any number and widths, with nothing beside them but :data:`BETWEEN`.
    """
    sides = [_stages(getattr(model, name, ())) for name in ("g_a", "g_s")]
    if not all(sides):
        fault = "g_a or g_s has layers of another kind"
    else:
        widths = [[(layer.in_channels, layer.out_channels) for layer in side] for side in sides]
        if widths[0] == [pair[::-1] for pair in reversed(widths[1])] and widths[0][0][0] == 3:
            return
        fault = "g_s does not mirror g_a"
    raise UsageError(
        f"start 'linear' does not fit {type(model).__name__}: {fault}; it takes smooth [1/1] Padé "
        "layers or convolutions, 5x5 with stride 2: choose start 'random'"
    )


def _stages(layers: Any) -> list[Down | Up]:
    """The stages of a transform; none where one of its layers does not fit."""
    found = [layer for layer in layers if not isinstance(layer, BETWEEN)]
    return found if all(_fits(layer) for layer in found) else []


def _fits(layer: nn.Module) -> bool:
    if isinstance(layer, PaLa):
        wanted: tuple[Any, ...] = (5, 2, 2, 1, PadeSpec(1, 1, "smooth"))
    elif isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
        if layer.bias is None:
            return False
        wanted = ((5, 5), (2, 2), (2, 2), 1, None)
    else:
        return False
    names = ("kernel_size", "stride", "padding", "groups", "spec")
    return tuple(getattr(layer, name, None) for name in names) == wanted


@torch.no_grad()
def linear_start(model: nn.Module, images: Tensor, lmbda: float, noise: float = 0.02) -> Tensor:
    """Sets g_a and g_s of ``model`` to the nested transform of ``images``.

    Args:
        model: has g_a and g_s of Padé layers or ordinary convolutions (5×5, stride 2), with
            nothing else beside them but :data:`BETWEEN`.
        images: (B, 3, H, W) in [0, 1], H and W multiples of 16; some dozens of crops suffice.
        lmbda: λ of the training, for the quantisation step.
        noise: size of the random weights of channels beyond the transform's rank, as a fraction
            of a unit row; they learn what the transform lacks.

    Returns:
        (M,): standard deviations of the latents, a start for the entropy model.
    """
    encoder = [m for m in model.get_submodule("g_a").children() if isinstance(m, Down)]
    decoder = [m for m in model.get_submodule("g_s").children() if isinstance(m, Up)][::-1]
    mean = images.mean(dim=(0, 2, 3))
    features = images - mean[:, None, None]
    step = quantisation_step(lmbda)
    for i, (down, up) in enumerate(zip(encoder, decoder, strict=True)):
        last = i == len(encoder) - 1
        basis, features = _principal_components(features, down.out_channels)
        scale = step if last else 1.0
        _set_stage(down, up, basis, scale, noise)
        if i == 0:
            _set_mean(down, up, basis, mean)
    for module in model.modules():
        if isinstance(module, GDN):
            # Gain 1 everywhere: the first steps see the linear transform through it.
            module.gamma.copy_(module.gamma_reparam.init(torch.full_like(module.gamma, 1e-6)))
        elif isinstance(module, (BottleneckBlock, AttentionBlock)):
            module.start_as_identity()
    deviations = torch.zeros(encoder[-1].out_channels)
    deviations[: features.shape[1]] = features.std(dim=(0, 2, 3)) / step
    return deviations


def _principal_components(x: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Basis (C', C, 2, 2) of 2×2 blocks, orthonormal rows, and the features (B, C', H/2, W/2)."""
    blocks = nn.functional.pixel_unshuffle(x, 2)  # channels ordered (c, dy, dx)
    flat = blocks.transpose(0, 1).flatten(1).double()
    _, vectors = torch.linalg.eigh(flat @ flat.T / flat.shape[1])
    basis = vectors.flip(1).T[:most].float()
    features = torch.einsum("oc,bchw->bohw", basis, blocks)
    return basis.unflatten(1, (x.shape[1], 2, 2)), features


def _set_stage(down: Down, up: Up, basis: Tensor, scale: float, noise: float) -> None:
    """``down`` analyses, ``up`` synthesises."""
    rank, inputs = basis.shape[:2]
    (analysis, bias, gain), (synthesis, up_bias, up_gain) = linear_part(down), linear_part(up)
    spare = noise / (gain * scale * math.sqrt(analysis[0].numel()))
    for zeroed in (bias, synthesis, up_bias):
        zeroed.zero_()
    analysis.normal_(0, spare)
    analysis[:rank] = 0
    analysis[:rank, :inputs, _BLOCK, _BLOCK] = basis / (gain * scale)
    synthesis[:rank, :inputs, _BLOCK, _BLOCK] = basis * scale / up_gain
    # Spare inputs feed the transform's channels a little, or nothing would ever reach them.
    if inputs < down.in_channels:
        analysis[:rank, inputs:].normal_(0, spare)


def _set_mean(down: Down, up: Up, basis: Tensor, mean: Tensor) -> None:
    """Latents of a picture of the mean colour are 0: small numbers code and train better."""
    linear_part(down)[1][: basis.shape[0]] = -basis.sum(dim=(2, 3)) @ mean
    linear_part(up)[1].copy_(mean)


#: A latent starts with at least this deviation: a narrower guess punishes what strays too much.
_LEAST_DEVIATION = 0.2


@torch.no_grad()
def entropy_start(predictors: Sequence[nn.Module], deviations: Tensor) -> None:
    """The entropy model's first guess: each latent its own scale, mean 0.

    Args:
        predictors: see :meth:`.ExactCodec.predictors`.
        deviations: (M,), of the latents.
    """
    first = 0
    for layer in predictors:
        weight, bias = layer.get_parameter("weight"), layer.get_parameter("bias")
        channels = len(bias) // 2
        weight.mul_(0.1)
        bias.zero_()
        bias[:channels] = deviations[first : first + channels].clamp(min=_LEAST_DEVIATION)
        first += channels


#: Standard deviation the hyper-latents start with: well above the rounding noise of 0.29 …
_HYPER_DEVIATION = 1.0
#: … and the width (init_scale of CompressAI) of the prior that codes such latents with fewest bits.
_PRIOR_SCALE = 0.7


@torch.no_grad()
def hyper_start(model: nn.Module, latents: Tensor) -> None:
    """Sets the scale of h_a and the width of the factorised prior to fit each other.

    From the usual start the hyper-latents are far smaller than the noise of rounding and the prior
    far wider: they cost bits and tell nothing, and it takes thousands of steps until they do.

    Args:
        model: has h_a, whose last layer is a convolution, and entropy_bottleneck.
        latents: (B, M, H, W), outputs of g_a.
    """
    last = list(model.get_submodule("h_a").children())[-1]
    prior = model.get_submodule("entropy_bottleneck")
    if not isinstance(last, nn.Conv2d) or not isinstance(prior, EntropyBottleneck):
        raise TypeError("h_a must end in a convolution, beside CompressAI's EntropyBottleneck")
    z = model.get_submodule("h_a")(latents)
    mean = z.mean(dim=(0, 2, 3))
    deviation = z.std(dim=(0, 2, 3), correction=0)
    # Few pictures may show too little of a channel to go by.
    gain = _HYPER_DEVIATION / deviation.clamp(min=0.1 * float(z.square().mean().sqrt()) + 1e-6)
    last.weight.mul_(gain[:, None, None, None])
    if last.bias is not None:
        last.bias.sub_(mean).mul_(gain)
    fresh = EntropyBottleneck(prior.channels, init_scale=_PRIOR_SCALE, filters=prior.filters)
    for target, source in zip(prior.parameters(), fresh.parameters(), strict=True):
        target.copy_(source)


@torch.no_grad()
def rescale_latents(model: nn.Module, factor: float) -> None:
    """Multiplies the latents by ``factor``, and lets everything that reads them divide by it.

    Only the rounding of the latents is another then: the pictures before it, and the deviations in
    units of it, stay the same. So weights of one λ become a start for another, whose quantisation
    step is ``1 / factor`` times as large.

    Args:
        model: an MBT-Paon, or the same with convolutions.
        factor: positive.

    Raises:
        TypeError: transforms that do not begin and end in smooth [1/1] Padé layers or convolutions.
    """
    last = list(model.get_submodule("g_a").children())[-1]
    first = next(model.get_submodule("g_s").children())
    if not (isinstance(last, Down) and isinstance(first, Up)):
        raise TypeError(f"g_a ends in {last!r}, g_s begins with {first!r}: neither can be scaled")
    for layer in (last, first):
        if isinstance(layer, PaLa) and layer.spec != PadeSpec(1, 1, "smooth"):
            raise TypeError(f"{layer!r}: only smooth [1/1] layers can be scaled")
    # A smooth [1/1] neuron is linear in a1 and a0 together.
    weight, bias, _ = linear_part(last)
    parts: Any = model
    output, hyper, context = parts.entropy_parameters[-1], parts.h_a[0], parts.context_prediction
    for tensor in (weight, bias, output.weight, output.bias):
        tensor.mul_(factor)
    readers = [hyper.weight, context.weight, linear_part(first)[0]]
    if isinstance(first, PaLa):
        readers.append(first.terms("denominator")[0])
    for tensor in readers:
        tensor.div_(factor)


def from_compressai(model: CompressionModel, **options: Any) -> ExactCodec:
    """A Padé codec that computes what a model of CompressAI computes, to continue its training.

    ``JointAutoregressiveHierarchicalPriors`` (mbt2018) becomes an MBT-Paon with GDN,
    ``Elic2022Official`` an ELIC-Paon with three blocks a stage and its ReLUs; both padded with
    zeros. Each Padé layer takes the place of a convolution with weights w and biases c, and equals
    it: a1 = 2w, a0 = c, b = 0 and no shift, so that (Q·P + a0) / (Q² + 1) = (a1 ⊛ x + 2 a0) / 2.
    The derivative by Q is there -a0 / 2: denominators begin to learn where a bias is not 0.

    Every network then gives the same outputs for the same inputs, up to rounding errors, and so
    does ``forward``: of ELIC all of it, since y is rounded around its means as there
    (``rounding``), of mbt2018 x_hat and the likelihoods of z. It rounds y to integers in
    ``forward``, as is done here, but around its means for the likelihoods of y in evaluation and in
    ``compress``, which moves a latent by at most one step.

    Args:
        model: its type exactly one of the two; any N, M and groups.
        **options: of :class:`.MBTConfig` or :class:`.ELICConfig`. ``shift``, ``attention`` and, at
            quality 4, ``variable_rate`` leave what is computed as it is; ``rounding="integers"``
            moves each latent of an ELIC by at most one step.

    Returns:
        A new model on the CPU, without probability tables.

    Raises:
        TypeError: another model, or options that do not exist.
        ValueError: options of impossible values, or with which not all weights have a place.
    """
    codec: ExactCodec
    if type(model) is JointAutoregressiveHierarchicalPriors:
        fixed: dict[str, Any] = {"gdn": True, "padding": "zeros"}
        codec = MBTPaon(model.N, model.M, **{**fixed, **options})
    elif type(model) is Elic2022Official:
        fixed = {"groups": model.groups, "blocks": 3, "relu": True}
        fixed |= {"padding": "zeros", "rounding": "means"}
        n, m = model.g_a[0].out_channels, sum(model.groups)
        codec = ELICPaon(n, m, **{**fixed, **options})
    else:
        raise TypeError(
            f"{type(model).__name__}: takes JointAutoregressiveHierarchicalPriors or "
            "Elic2022Official of CompressAI"
        )
    _fill(codec, parts(model), whole=True)
    return codec


def carry_over(model: ExactCodec, images: Tensor, **changes: Any) -> ExactCodec:
    """The codec with other options, started from the weights of ``model`` as well as can be.

    The very same function are ``shift`` in place of none, ``attention`` (where ``relu`` is kept)
    and, at quality 4, ``variable_rate``. With ``padding="replicate"`` the borders differ, with
    another ``rounding`` each latent by at most one step. Only a better start than none, after which
    the loss has to be won back by training, are:

    - ``gdn=False``: each GDN becomes its mean gain for each channel (least squares over
      ``images``), folded into the neuron before it;
    - fewer ``blocks``: the first ones of each stage stay, the others are left out;
    - ``relu=False``: the ReLUs between Padé layers go.

    Args:
        model: an MBT-Paon or ELIC-Paon.
        images: (B, 3, H, W) in [0, 1], sides multiples of 64; some crops of training pictures.
        **changes: options of its configuration; sizes stay.

    Returns:
        A new model on the CPU, without probability tables.

    Raises:
        TypeError, ValueError: options that do not exist, or that need weights ``model`` lacks.
    """
    codec = type(model)(**{**model.config.to_json(), **changes})
    given = parts(model)
    _fill(codec, given, whole=False)
    gone = {place: given[place] for place in given.keys() - parts(codec).keys()}
    _fold(codec, _mean_gains(model, gone, images))
    return codec


def _fill(codec: ExactCodec, given: dict[Place, nn.Module], whole: bool) -> None:
    """Copies what is given; ``whole``: none of it may be left over.

    Raises:
        ValueError: it is, or there is too little.
    """
    wanted = {place: part for place, part in parts(codec).items() if place[0] != "gain"}
    missing = sorted(map(str, wanted.keys() - given.keys()))
    left = sorted(map(str, given.keys() - wanted.keys() - {("gain", 0)})) if whole else []
    if missing or left:
        what = f"there are no weights for {missing[0]}" if missing else f"{left[0]} has no place"
        raise ValueError(f"options that do not fit: {what}")
    for place, part in parts(codec).items():
        if place in given:
            copy_part(given[place], part)


@torch.no_grad()
def _mean_gains(
    model: ExactCodec, layers: dict[Place, nn.Module], images: Tensor
) -> dict[Place, Tensor]:
    """(C,) for each GDN among the layers: the factors that come nearest to what it does."""
    gains: dict[Place, Tensor] = {}

    def watch(place: Place, layer: nn.Module) -> RemovableHandle:
        def note(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            x, dims = inputs[0], (0, 2, 3)
            gains[place] = (x * output).sum(dims) / x.square().sum(dims).clamp(min=1e-12)

        return layer.register_forward_hook(note)

    handles = [watch(place, layer) for place, layer in layers.items() if isinstance(layer, GDN)]
    if not handles:
        return gains
    try:
        model.synthesis(model.analysis(images).round())
    finally:
        for handle in handles:
            handle.remove()
    return gains


@torch.no_grad()
def _fold(codec: ExactCodec, gains: dict[Place, Tensor]) -> None:
    """Multiplies by each gain the outputs of the layer that stood before its GDN."""
    layers = parts(codec)
    for (transform, stage, _), gain in gains.items():
        layer = layers[transform, stage, "layer"]
        # A smooth [1/1] neuron is linear in a1 and a0 together.
        weight, bias, _ = linear_part(layer)
        shape = (-1, 1, 1, 1) if isinstance(layer, PaLaConv2d) else (1, -1, 1, 1)
        weight.mul_(gain.view(shape))
        bias.mul_(gain)
