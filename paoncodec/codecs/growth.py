"""More latents for a trained codec: the new ones code what the old ones miss.

How many latents a transform has bounds how good a picture can become, whatever bits are spent. A
network that was trained with few goes on with more, and need not begin anew.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from paoncodec.codecs.mbt import MBTPaon
from paoncodec.codecs.starts import BLOCK, entropy_start, hyper_start, quantisation_step
from paoncodec.codecs.transfer import linear_part
from paoncodec.coding.exact_codec import ExactCodec
from paoncodec.coding.rate import GainUnit
from paoncodec.layers import PaLaConv2d, PaLaConvTranspose2d
from paoncodec.quality import DEFAULT, lmbda_of

#: Least eigenvalues, as parts of their mean: what is smaller is noise of few pictures.
_RIDGE = 1e-3
#: What new latents may be multiplied by on their way back, the best of which is taken.
_STRENGTHS = (1.0, 0.5, 0.25, 0.125, 0.0625)


def may_grow(model: ExactCodec, donor: ExactCodec) -> bool:
    """Whether :func:`grow` can start ``model`` from ``donor``.

    Both are MBT-Paons of variable rate without GDN, with equal transforms but for the number of
    latents, of which ``model`` has more.
    """
    if type(model) is not MBTPaon or type(donor) is not MBTPaon:
        return False
    ours, theirs = model.config, donor.config
    same = ("widths", "shift", "padding", "gdn", "variable_rate")
    return (
        all(getattr(ours, name) == getattr(theirs, name) for name in same)
        and ours.variable_rate
        and not ours.gdn
        and ours.M > theirs.M
    )


def grow(model: MBTPaon, donor: MBTPaon, images: Tensor) -> None:
    """Starts a model from one with fewer latents.

    The transforms become those of ``donor``, with more outputs of the last layer of g_a and inputs
    of the first of g_s. Of the 2×2 blocks that the former sees, the new latents are the linear
    functions that predict best what the picture lacks: a reduced-rank regression of the error of
    the decoded picture, followed back to the output of the latter by a Gauss-Newton step over such
    blocks, each by itself. As it leaves out how blocks act on each other, its length is searched.

    The hyper, context and parameter networks, and the prior of z, begin anew, as in
    :mod:`.starts`: they know the old latents alone.

    Args:
        model: freshly built.
        donor: trained; :func:`may_grow` holds.
        images: (B, 3, H, W) in [0, 1], sides multiples of 64; some hundred crops of training
            pictures.
    """
    gain, old_gain = model.gain, donor.gain
    last, first, old_first = model.g_a[-1], model.g_s[0], donor.g_s[0]
    if not (isinstance(gain, GainUnit) and isinstance(old_gain, GainUnit)):
        raise TypeError("grows codecs of variable rate")
    if not (isinstance(last, PaLaConv2d) and isinstance(first, PaLaConvTranspose2d)):
        raise TypeError("grows codecs of Padé layers")
    _copy_transforms(donor, model)
    with torch.no_grad():
        seen = model.g_a[:-1](images)
        y = old_gain.unscale(donor.analysis(images), old_gain.qualities(None, len(images)))
        features = old_first(y)
    missing = _missing_latents(seen, features, images, donor, model.M - donor.M)
    _add_latents(last, first, donor.M, missing)
    with torch.no_grad():
        latents = model.analysis(images)
        _search_strength(model, donor.M, latents, images)
        entropy_start(model.predictors(), latents.std(dim=(0, 2, 3)))
        hyper_start(model, latents)


@torch.no_grad()
def _copy_transforms(donor: MBTPaon, model: MBTPaon) -> None:
    """All weights of the transforms and the gains; new latents are 0, with a start's gains."""
    for name in ("g_a", "g_s", "gain"):
        given = dict(donor.get_submodule(name).named_parameters())
        for key, wanted in model.get_submodule(name).named_parameters():
            if wanted.shape != given[key].shape and name != "gain":
                wanted.zero_()
            wanted[tuple(slice(side) for side in given[key].shape)] = given[key]


class _Missing(NamedTuple):
    """New latents before quantisation: ``rows @ (block - mean)``, going back by ``columns``."""

    rows: Tensor  # (new, C·4) of float64
    mean: Tensor  # (C·4, 1)
    columns: Tensor  # (new, C'·4)


def _missing_latents(
    seen: Tensor, features: Tensor, images: Tensor, donor: MBTPaon, count: int
) -> _Missing:
    """The new latents' functions of what the last layer of g_a sees.

    Args:
        seen: (B, C, H, W), the input of that layer.
        features: (B, C', H, W), the output of the first layer of g_s.
        images: (B, 3, 8·H, 8·W), what they should decode to.
        donor: decodes them.
        count: of new latents.
    """
    features = features.requires_grad_()
    decoded = donor.g_s[1:](features)
    error = images - decoded.detach()
    signs = torch.randint_like(decoded, 2) * 2 - 1
    (pull,) = torch.autograd.grad(decoded, features, error, retain_graph=True)
    (probe,) = torch.autograd.grad(decoded, features, signs)
    with torch.no_grad():
        # JᵀJ of a block, from Jᵀu for random signs u (Hutchinson's estimate).
        to_features = _inverse_root(_covariance(_blocks(probe)))
        blocks = _blocks(seen)
        mean = blocks.mean(dim=1, keepdim=True)
        inputs, outputs = blocks - mean, to_features @ _blocks(pull)
        spread = _covariance(inputs)
        spread.diagonal().add_(_RIDGE * spread.diagonal().mean())
        regression = torch.linalg.solve(spread, inputs @ outputs.T / inputs.shape[1]).T
        _, vectors = torch.linalg.eigh(regression @ spread @ regression.T)
        directions = vectors.flip(1)[:, :count].T
        return _Missing(directions @ regression, mean, directions @ to_features)


@torch.no_grad()
def _add_latents(last: PaLaConv2d, first: PaLaConvTranspose2d, old: int, missing: _Missing) -> None:
    """Sets the weights of the latents from ``old`` on, in units of quality 4's quantisation."""
    step = quantisation_step(lmbda_of(DEFAULT))
    (analysis, bias, gain), (synthesis, _, up_gain) = linear_part(last), linear_part(first)
    rows, columns = (t.float().unflatten(1, (-1, 2, 2)) for t in (missing.rows, missing.columns))
    analysis[old:, :, BLOCK, BLOCK] = rows / (gain * step)
    bias[old:] = (-missing.rows @ missing.mean / step)[:, 0].float()
    synthesis[old:, :, BLOCK, BLOCK] = columns * (step / up_gain)


def _search_strength(model: MBTPaon, old: int, latents: Tensor, images: Tensor) -> None:
    """Multiplies what new latents change by the best of :data:`_STRENGTHS`, at quality 4."""
    synthesis = linear_part(model.g_s[0])[0]
    full = synthesis[old:].clone()

    def squared_error(strength: float) -> float:
        synthesis[old:] = full * strength
        return float((model.synthesis(latents.round()) - images).square().mean())

    synthesis[old:] = full * min(_STRENGTHS, key=squared_error)


def _blocks(maps: Tensor) -> Tensor:
    """(C·4, blocks) of float64: the 2×2 blocks of (B, C, H, W), ordered (c, dy, dx)."""
    return F.pixel_unshuffle(maps, 2).transpose(0, 1).flatten(1).double()


def _covariance(columns: Tensor) -> Tensor:
    return columns @ columns.T / columns.shape[1]


def _inverse_root(matrix: Tensor) -> Tensor:
    """The symmetric inverse square root of a positive semidefinite matrix, kept from exploding."""
    values, vectors = torch.linalg.eigh(matrix)
    return vectors / values.clamp(min=_RIDGE * float(values.mean())).sqrt() @ vectors.T
