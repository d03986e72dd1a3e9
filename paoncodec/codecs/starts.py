"""Where training starts: transforms that are a good linear codec before the first step.

A smooth [1/1] Padé layer with b = 0 is linear, so g_a and g_s can start as a nested Karhunen-Loève
transform of training pictures: each stage turns 2×2 blocks of its input into their principal
components, and the decoder is the transpose. Ordinary convolutions can start there too; what stands
between the stages, GDN or ELIC's residual and attention blocks, then begins as the identity.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from compressai.entropy_models import EntropyBottleneck
from compressai.layers import GDN
from torch import Tensor, nn

from paoncodec.codecs.blocks import AttentionBlock, BottleneckBlock
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


def _linear_part(layer: Down | Up) -> tuple[Tensor, Tensor, float]:
    """A layer's weights and biases, and what the weights are multiplied by where it is linear: a
    Padé layer halves them, since y = (a1 ⊛ x + 2 a0) / 2."""
    if layer.bias is None:
        raise TypeError("convolutions need biases, which carry the mean colour")
    if isinstance(layer, PaLa):
        return layer.terms("numerator")[0], layer.bias, 0.5
    return layer.weight, layer.bias, 1.0


def _set_stage(down: Down, up: Up, basis: Tensor, scale: float, noise: float) -> None:
    """``down`` analyses, ``up`` synthesises."""
    rank, inputs = basis.shape[:2]
    (analysis, bias, gain), (synthesis, up_bias, up_gain) = _linear_part(down), _linear_part(up)
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
    _linear_part(down)[1][: basis.shape[0]] = -basis.sum(dim=(2, 3)) @ mean
    _linear_part(up)[1].copy_(mean)


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
    weight, bias, _ = _linear_part(last)
    parts: Any = model
    output, hyper, context = parts.entropy_parameters[-1], parts.h_a[0], parts.context_prediction
    for tensor in (weight, bias, output.weight, output.bias):
        tensor.mul_(factor)
    readers = [hyper.weight, context.weight, _linear_part(first)[0]]
    if isinstance(first, PaLa):
        readers.append(first.terms("denominator")[0])
    for tensor in readers:
        tensor.div_(factor)
