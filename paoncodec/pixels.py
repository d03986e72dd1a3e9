"""Samples through a codec, whole or in pieces, as memory allows."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch

from paoncodec.coding import strips
from paoncodec.coding.exact_codec import ExactCodec
from paoncodec.coding.strips import Area, Plan, Transform
from paoncodec.images import to_samples
from paoncodec.memory import Budget
from paoncodec.region import Region

if TYPE_CHECKING:
    from paoncodec.images import Samples

__all__ = ["decoded", "encoded", "enlarged", "reconstructed"]

#: What a transform takes at a time. Pictures of some three megapixels (default model) are still
#: whole; larger pieces would be no faster.
PIECE_BYTES = 2**29

#: Bytes that coding takes beside the transforms, at its peak, for each channel of y and each that
#: h_s gives, at each position of y: four arrays of 8 bytes (25 measured, default model).
_CODING_BYTES = 32
#: Of y while the transforms run.
_Y_BYTES = 4
#: Pixels of a picture that is not worth measuring the network for, unless a limit was given.
_SMALL = 2**19

Rate: TypeAlias = "dict[str, float]"


def enlarged(height: int, width: int, factor: int) -> tuple[int, int]:
    """Sides that are multiples of ``factor``."""
    return -(-height // factor) * factor, -(-width // factor) * factor


def encoded(codec: ExactCodec, samples: Samples, rate: Rate, budget: Budget) -> dict[str, Any]:
    """What ``codec.compress`` gives for samples (H, W, C).

    Args:
        codec: one of ours.
        samples: grey or RGB, uint8 or uint16.
        rate: the codec's ``quality``, or nothing.
        budget: of memory.

    Raises:
        UsageError: it does not suffice.
    """
    plan = _plan(codec, samples.shape, "analysis", budget)
    with torch.inference_mode():
        if plan is None:
            return codec.compress(_input(codec, samples), **rate)
        return codec.compress_latents(_analysed(codec, samples, rate, plan))


def decoded(
    codec: ExactCodec,
    strings: list[list[bytes]],
    shape: tuple[int, int, int],
    depth: int,
    rate: Rate,
    budget: Budget,
    check: Callable[[int], None],
    region: Region | None = None,
) -> Samples:
    """Samples (H, W, C) of what :func:`encoded` gave, or (height, width, C) of a region of them.

    Args:
        codec, rate, budget: as given there.
        strings: as ``codec.compress`` gives them.
        shape: (H, W, C).
        depth: bits per sample.
        check: gets the digest of the latents before samples are made of them.
        region: inside the picture; None: all of it.

    Raises:
        UsageError: memory does not suffice.
        MalformedStream: strings that no encoder writes for this shape.
    """
    factor = codec.downsampling_factor
    height, width = enlarged(shape[0], shape[1], factor)
    sides = height // factor, width // factor
    plan = _plan(codec, shape, "synthesis", budget, region)
    with torch.inference_mode():
        [y_hat], [digest] = codec.decompress_latents(strings, sides)
        check(digest)  # before time is spent on pixels
        plan = plan or Plan.at_once(_latents(codec, shape))
        return _synthesised(codec, y_hat[None], shape, depth, rate, plan, region)


def reconstructed(codec: ExactCodec, samples: Samples, rate: Rate, budget: Budget) -> Samples:
    """What :func:`decoded` makes of :func:`encoded`, without the coding; arguments as there."""
    depth, shape = 8 * samples.dtype.itemsize, samples.shape
    first = _plan(codec, shape, "analysis", budget)
    second = _plan(codec, shape, "synthesis", budget)
    with torch.inference_mode():
        if first is None and second is None:
            x_hat = codec.reconstruct(_input(codec, samples), **rate)
            return _samples(x_hat, shape, depth)
        at_once = Plan.at_once(_latents(codec, shape))
        y = _analysed(codec, samples, rate, first or at_once)
        y_hat = codec.rounded(y)
        return _synthesised(codec, y_hat, shape, depth, rate, second or at_once, None)


def _samples(x_hat: torch.Tensor, shape: tuple[int, ...], depth: int) -> Samples:
    """Samples (H, W, C) of the upper left part of a codec's output (1, 3, H', W')."""
    height, width, channels = shape
    values = x_hat[0, :, :height, :width].permute(1, 2, 0).numpy()
    return to_samples(values.mean(axis=2, keepdims=True) if channels == 1 else values, depth)


def _latents(codec: ExactCodec, shape: tuple[int, ...]) -> Area:
    """All latents of samples (H, W, C)."""
    height, width = enlarged(shape[0], shape[1], codec.downsampling_factor)
    scale = strips.stride(codec)
    return Area(0, height // scale, 0, width // scale)


def _under(region: Region, scale: int) -> Area:
    """The latents that a region lies on."""
    bottom, right = region.y + region.height, region.x + region.width
    return Area(region.y // scale, -(-bottom // scale), region.x // scale, -(-right // scale))


def _plan(
    codec: ExactCodec,
    shape: tuple[int, ...],
    transform: Transform,
    budget: Budget,
    region: Region | None = None,
) -> Plan | None:
    """How to cut a picture, or what of it is wanted; None: not at all.

    Raises:
        UsageError: memory does not suffice.
    """
    height, width = shape[:2]
    if region is None and budget.asked is None and height * width <= _SMALL:
        return None
    whole = _latents(codec, shape)
    kept = whole
    if transform == "synthesis":
        kept = _under(region or Region(0, 0, width, height), strips.stride(codec))
    name = f"a picture of {width}x{height}"
    channels = int(codec.M) + codec.config.hyper_out
    budget.require(_CODING_BYTES * channels * whole.positions, f"coding {name}")
    each = strips.bytes_per_latent(codec, transform)
    latents = _Y_BYTES * int(codec.M) * whole.positions
    room = min(PIECE_BYTES, budget.room - latents)
    if region is None and each * whole.positions <= room:
        return None
    halo = strips.reach(codec, transform)
    if halo is None:
        what = f"{name}, which this model's predicted shifts want whole,"
        budget.require(latents + each * whole.positions, what, firm=True)
        return None
    plan = strips.plan(whole, kept, halo, room / each)
    budget.require(latents + each * plan.largest(), name)
    return plan


def _analysed(codec: ExactCodec, samples: Samples, rate: Rate, plan: Plan) -> torch.Tensor:
    scale = strips.stride(codec)

    def read(area: Area) -> torch.Tensor:
        return _tensor(samples, area.scaled(scale))

    return strips.analyse(codec, plan, read, **rate)


def _synthesised(
    codec: ExactCodec,
    y_hat: torch.Tensor,
    shape: tuple[int, ...],
    depth: int,
    rate: Rate,
    plan: Plan,
    region: Region | None,
) -> Samples:
    height, width, channels = shape
    region = region or Region(0, 0, width, height)
    wanted = Area(region.y, region.y + region.height, region.x, region.x + region.width)
    scale = strips.stride(codec)
    samples = np.empty((region.height, region.width, channels), f"u{depth // 8}")
    for piece, x_hat in strips.synthesise(codec, plan, y_hat, **rate):
        pixels = piece.scaled(scale)
        here = pixels.common(wanted)
        part = here.seen_from(pixels).of(x_hat)
        place = here.seen_from(wanted)
        samples[place.rows, place.columns] = _samples(part, (*part.shape[2:], channels), depth)
    return samples


def _input(codec: ExactCodec, samples: Samples) -> torch.Tensor:
    """(1, 3, H', W') of samples (H, W, C), enlarged to what the codec takes."""
    height, width = enlarged(samples.shape[0], samples.shape[1], codec.downsampling_factor)
    return _tensor(samples, Area(0, height, 0, width))


def _tensor(samples: Samples, pixels: Area) -> torch.Tensor:
    """(1, 3, h, w) of the pixels of samples (H, W, C), continued to right and below by the last."""
    height, width, channels = samples.shape
    inside = samples[pixels.rows, pixels.columns]
    if not inside.size:  # all of it is continued
        rows = np.arange(pixels.top, pixels.bottom).clip(max=height - 1)
        columns = np.arange(pixels.left, pixels.right).clip(max=width - 1)
        inside = samples[np.ix_(rows, columns)]
    below = pixels.bottom - pixels.top - inside.shape[0]
    right = pixels.right - pixels.left - inside.shape[1]
    full = np.pad(inside, ((0, below), (0, right), (0, 0)), mode="edge")
    # A grey picture is coded as a coloured one with three equal channels.
    rgb = np.repeat(full, 3, axis=2) if channels == 1 else full
    peak = int(np.iinfo(samples.dtype).max)
    # Single precision has 24 bits: those of 16-bit samples all go in.
    return torch.from_numpy(rgb.astype(np.float32)).permute(2, 0, 1)[None] / peak
