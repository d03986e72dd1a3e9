"""The walk over latents: its order, its context, and that both of its ways are one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from compressai.layers import MaskedConv2d
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from paoncodec.entropy.coder import VALUE_LIMIT, Estimator, Reader, SymbolModel, Writer
from paoncodec.entropy.exact import WEIGHT_BITS, exact_product, to_activation, to_grid
from paoncodec.entropy.tables import GaussianTables, TableSelector
from paoncodec.entropy.wavefront import CausalWalk, wavefronts
from paoncodec.errors import MalformedStream
from paoncodec.layers.causal import CAUSAL_TAPS, CausalConv2d

M, HYPER = 5, 4
TABLES = GaussianTables()
TABLES.build(torch.tensor([0.2, 0.5, 1.0, 2.0, 6.0]))
MODEL = SymbolModel(TABLES)
SIZES = [(1, 3), (4, 4), (1, 9), (9, 3), (5, 16), (12, 7)]


def compressais(seed: int = 0) -> MaskedConv2d:
    torch.manual_seed(seed)
    masked = MaskedConv2d(M, 6, 5, padding=2)
    masked.weight.data *= masked.mask
    return masked


def as_ours(masked: MaskedConv2d) -> CausalConv2d:
    """The same convolution as a layer of ours."""
    ours = CausalConv2d(masked.in_channels, masked.out_channels)
    taps = [masked.weight[:, :, 2 + dh, 2 + dw] for dh, dw in CAUSAL_TAPS]
    ours.weight.data = torch.stack(taps, dim=2).detach()
    ours.bias.data = masked.bias.detach()
    return ours


def walk(
    watch: Callable[[np.ndarray], None] | None = None, select: Callable | None = None
) -> CausalWalk:
    """A walk with a random network; ``watch`` is shown the context features."""
    context = as_ours(compressais())
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(2 * M, HYPER + 6, generator=generator) * 0.7
    last = exact_product(weight, torch.randn(2 * M, generator=generator), "head")

    def head(hyper: np.ndarray, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if watch is not None:
            watch(features)
        deviations, means = np.split(last(np.concatenate((hyper, features), axis=1)), 2, axis=1)
        return deviations, means

    return CausalWalk(
        exact_product(context.by_tap(), context.bias, "context"),
        head,
        select or TableSelector(TABLES),
        M,
    )


def picture(height: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(hyper, latents), the latents with some large values among them."""
    rng = np.random.default_rng(seed)
    latents = np.rint(rng.normal(size=(M, height, width)) * 2).astype(np.int64)
    latents[rng.random(latents.shape) < 0.01] = VALUE_LIMIT
    latents[rng.random(latents.shape) < 0.01] = -VALUE_LIMIT
    return to_activation(rng.normal(size=(HYPER, height, width)) * 3), latents


class Watched:
    """A stop, and the tables it was asked for, a wavefront after the other."""

    def __init__(self, stop: Callable) -> None:
        self.stop, self.tables = stop, []

    def __call__(self, tables: np.ndarray, values: np.ndarray | None) -> np.ndarray:
        self.tables.append(tables.copy())
        return self.stop(tables, values)

    def by_position(self, height: int, width: int) -> np.ndarray:
        """(H, W, M)."""
        out = np.empty((height * width, M), dtype=np.int64)
        for positions, tables in zip(wavefronts(height, width), self.tables, strict=True):
            out[positions] = tables.reshape(-1, M)
        return out.reshape(height, width, M)


@given(st.integers(1, 20), st.integers(1, 20))
def test_every_position_once_and_after_all_that_it_sees(height: int, width: int) -> None:
    steps = wavefronts(height, width)
    assert all(len(positions) for positions in steps)
    assert len(steps) == width + 3 * (height - 1) or width < 3
    assert sorted(np.concatenate(steps)) == list(range(height * width))
    when = np.full((height, width), -1)
    for step, positions in enumerate(steps):
        assert (np.diff(positions) > 0).all()
        when.flat[positions] = step
    for (h, w), step in np.ndenumerate(when):
        for dh, dw in CAUSAL_TAPS:
            if h + dh >= 0 and 0 <= w + dw < width:
                assert when[h + dh, w + dw] < step


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_one_shot_and_wavefront_are_the_same_bits(size: tuple[int, int]) -> None:
    hyper, latents = picture(*size)
    writer, run = Watched(Writer(MODEL)), walk()
    assert np.array_equal(run(hyper, writer, latents), latents)
    data = writer.stop.getvalue()

    reader = Watched(Reader(MODEL, data, "y"))
    assert np.array_equal(run(hyper, reader), latents)
    reader.stop.finish()
    assert all(map(np.array_equal, reader.tables, writer.tables))
    assert len(reader.tables) == len(writer.tables) == size[1] + 3 * (size[0] - 1)

    # What was decoded encodes to the same string, and is estimated at its size.
    again, estimate = Writer(MODEL), Estimator(MODEL)
    run(hyper, again, latents)
    run(hyper, estimate, latents)
    assert again.getvalue() == data
    assert 0.999 * estimate.bits - 1 <= 8 * len(data) <= 1.01 * estimate.bits + 8 * 64


@pytest.mark.parametrize("size", [(1, 1), (3, 1), (4, 2)], ids=str)
def test_pictures_narrower_than_the_step(size: tuple[int, int]) -> None:
    hyper, latents = picture(*size)
    writer, run = Writer(MODEL), walk()
    run(hyper, writer, latents)
    assert np.array_equal(run(hyper, Reader(MODEL, writer.getvalue(), "y")), latents)


def test_large_pictures_are_computed_in_parts() -> None:
    """More positions than are computed at once: the parts are as the whole."""
    hyper, latents = picture(70, 64)
    most, run = [], walk(lambda features: most.append(len(features)))
    writer = Watched(Writer(MODEL))
    run(hyper, writer, latents)
    assert max(most) < 70 * 64 == sum(most)
    reader = Watched(Reader(MODEL, writer.stop.getvalue(), "y"))
    assert np.array_equal(run(hyper, reader), latents)
    assert all(map(np.array_equal, reader.tables, writer.tables))


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_context_is_compressais_masked_convolution(size: tuple[int, int]) -> None:
    hyper, latents = picture(*size)
    seen: list[np.ndarray] = []
    walk(seen.append)(hyper, Estimator(MODEL), latents)
    features = np.empty((size[0] * size[1], 6))
    features[np.concatenate(wavefronts(*size))] = np.concatenate(seen)

    masked = compressais()
    weight = torch.from_numpy(to_grid((masked.weight * masked.mask).detach().numpy(), WEIGHT_BITS))
    bias = torch.from_numpy(to_grid(masked.bias.detach().numpy(), 30))
    x = torch.from_numpy(latents).double()
    expected = to_activation(F.conv2d(x[None], weight, bias, padding=2)[0].numpy())
    assert np.array_equal(features.T.reshape(expected.shape), expected)
    # … and the layer for training is CompressAI's in floating point.
    theirs, ours = masked(x[None].float()), as_ours(masked)(x[None].float())
    assert torch.allclose(theirs, ours, rtol=1e-4, atol=1e-2)


@given(st.data())
@settings(max_examples=30)
def test_a_position_moves_only_the_tables_of_those_that_see_it(data: st.DataObject) -> None:
    height, width = 5, 8
    hyper, latents = picture(height, width)
    h = data.draw(st.integers(0, height - 1))
    w = data.draw(st.integers(0, width - 1))

    def tables() -> np.ndarray:
        stop = Watched(Estimator(MODEL))
        walk()(hyper, stop, latents)
        return stop.by_position(height, width)

    before = tables()
    latents[:, h, w] = data.draw(st.sampled_from([-VALUE_LIMIT, -40, 40, VALUE_LIMIT]))
    changed = (tables() != before).any(axis=2)
    allowed = np.zeros_like(changed)
    for dh, dw in CAUSAL_TAPS:
        if h - dh < height and 0 <= w - dw < width:
            allowed[h - dh, w - dw] = True
    assert not (changed & ~allowed).any()
    later = np.arange(height * width).reshape(height, width) > h * width + w
    assert not (changed & ~later).any()
    assert changed.any() == allowed.any()


def test_a_latent_out_of_range_is_refused() -> None:
    hyper = np.zeros((HYPER, 4, 4))

    def stop(tables: np.ndarray, values: np.ndarray | None) -> np.ndarray:
        return np.full(len(tables), 2 * VALUE_LIMIT + 1)

    with pytest.raises(MalformedStream, match=rf"y at byte 0: a latent beyond ±{VALUE_LIMIT}"):
        walk()(hyper, stop)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 5), (5, 1), (4, 7)])
def test_symbols_know_their_places(height: int, width: int) -> None:
    hyper, latents = picture(height, width)
    seen: list[np.ndarray] = []

    def stop(tables: np.ndarray, values: np.ndarray) -> np.ndarray:
        seen.append(values)
        return values

    def around_zero(deviations: np.ndarray, means: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return (np.zeros(means.shape, dtype=np.int64),) * 2

    visited = walk(select=around_zero)
    visited(hyper, stop, latents)
    found = np.full(latents.size, np.nan)
    found[visited.order(height, width)] = np.concatenate(seen)
    assert np.array_equal(found.reshape(latents.shape), latents)
