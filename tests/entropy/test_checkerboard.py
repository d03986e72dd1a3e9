"""The walk in channel groups and checkerboards: its order, its contexts, both its ways one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from paoncodec.entropy import (
    ChannelGroup,
    CheckerboardWalk,
    Estimator,
    GaussianTables,
    Reader,
    SymbolModel,
    TableSelector,
    Writer,
    checkerboard,
    exact_pade_product,
    exact_pointwise,
    exact_sequence,
    to_activation,
)
from paoncodec.entropy.checkerboard import checkerboard as colours
from paoncodec.entropy.coder import VALUE_LIMIT
from paoncodec.errors import MalformedStream
from paoncodec.layers import CHECKERBOARD_TAPS, CheckerboardPaLaConv2d, PaLaConv2d

GROUPS, HYPER = (2, 1, 3), 4
TABLES = GaussianTables()
TABLES.build(torch.tensor([0.2, 0.5, 1.0, 2.0, 6.0]))
MODEL = SymbolModel(TABLES)
SIZES = [(1, 1), (1, 3), (4, 4), (3, 1), (5, 16), (12, 7)]


def group(k: int) -> ChannelGroup:
    """Random networks of Padé layers."""
    torch.manual_seed(k)
    channels, before = GROUPS[k], sum(GROUPS[:k])
    spatial = CheckerboardPaLaConv2d(channels, 3)
    context = nn.Sequential(PaLaConv2d(before, 4, 3), PaLaConv2d(4, 2, 1)) if k else None
    inputs = 3 + (2 if k else 0) + HYPER
    head = nn.Sequential(nn.Conv2d(inputs, 6, 1), nn.LeakyReLU(), nn.Conv2d(6, 2 * channels, 1))
    for parameter in (*spatial.parameters(), *head.parameters()):
        nn.init.normal_(parameter, 0, 0.4)
    return ChannelGroup(
        channels,
        exact_sequence(context, "context") if context else None,
        exact_pade_product(spatial, "spatial"),
        exact_pointwise(head, "head", skipped=3),
        exact_pointwise(head, "head"),
    )


def walk(select: Callable | None = None) -> CheckerboardWalk:
    return CheckerboardWalk([group(k) for k in range(3)], select or TableSelector(TABLES))


def picture(height: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(hyper, latents), the latents with some large values among them."""
    rng = np.random.default_rng(seed)
    latents = np.rint(rng.normal(size=(sum(GROUPS), height, width)) * 2).astype(np.int64)
    latents[rng.random(latents.shape) < 0.01] = VALUE_LIMIT
    latents[rng.random(latents.shape) < 0.01] = -VALUE_LIMIT
    return to_activation(rng.normal(size=(HYPER, height, width)) * 3), latents


class Watched:
    """A stop, and the tables it was asked for, one pass after the other."""

    def __init__(self, stop: Callable) -> None:
        self.stop, self.tables = stop, []

    def __call__(self, tables: np.ndarray, values: np.ndarray | None) -> np.ndarray:
        self.tables.append(tables.copy())
        return self.stop(tables, values)


@given(st.integers(1, 20), st.integers(1, 20))
def test_every_position_once_anchors_first(height: int, width: int) -> None:
    anchors, others = colours(height, width)
    assert sorted([*anchors, *others]) == list(range(height * width))
    for positions, parity in ((anchors, 0), (others, 1)):
        assert (np.diff(positions) > 0).all()
        assert all(sum(divmod(int(p), width)) % 2 == parity for p in positions)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_what_is_written_is_read_with_the_same_tables(size: tuple[int, int]) -> None:
    hyper, latents = picture(*size)
    writer, run = Watched(Writer(MODEL)), walk()
    assert np.array_equal(run(hyper, writer, latents), latents)
    data = writer.stop.getvalue()

    reader = Watched(Reader(MODEL, data, "y"))
    assert np.array_equal(run(hyper, reader), latents)
    reader.stop.finish()
    assert all(map(np.array_equal, reader.tables, writer.tables))
    assert len(reader.tables) == len(writer.tables) == (6 if size != (1, 1) else 3)

    again, estimate = Writer(MODEL), Estimator(MODEL)
    run(hyper, again, latents)
    run(hyper, estimate, latents)
    assert again.getvalue() == data
    assert 0.999 * estimate.bits - 1 <= 8 * len(data) <= 1.01 * estimate.bits + 8 * 64


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_around_means_each_latent_is_the_nearest_that_its_mean_allows(
    size: tuple[int, int],
) -> None:
    hyper, latents = picture(*size)
    wanted = latents.clip(1 - VALUE_LIMIT, VALUE_LIMIT - 1) + np.random.default_rng(1).uniform(
        -0.5, 0.5, latents.shape
    )
    wanted = wanted.clip(1 - VALUE_LIMIT, VALUE_LIMIT - 1)
    writer, run = Writer(MODEL), walk(TableSelector(TABLES, around_means=True))
    coded = run(hyper, writer, wanted)
    assert (np.abs(coded - wanted) <= 0.5).all()
    assert np.array_equal(coded, to_activation(coded))
    assert (coded % 1).any()
    reader = Reader(MODEL, writer.getvalue(), "y")
    assert np.array_equal(run(hyper, reader), coded)
    reader.finish()


def test_large_pictures_are_computed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    hyper, latents = picture(9, 11)
    whole = Watched(Estimator(MODEL))
    walk()(hyper, whole, latents)
    monkeypatch.setattr(checkerboard, "_BLOCK", 7)
    parts = Watched(Estimator(MODEL))
    walk()(hyper, parts, latents)
    assert all(map(np.array_equal, whole.tables, parts.tables))


HEIGHT, WIDTH = 6, 7


def outputs(latents: np.ndarray, hyper: np.ndarray) -> list[np.ndarray]:
    """For each group, deviations and means (2·C, H, W) as the networks say them."""
    said: list[np.ndarray] = []

    def select(deviations: np.ndarray, means: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        said.append(np.concatenate((deviations, means), axis=1))
        return np.zeros(means.shape, dtype=np.int64), np.zeros(means.shape, dtype=np.int64)

    walk(select)(hyper, lambda tables, values: values, latents)
    maps = []
    for anchors, others in zip(said[::2], said[1::2], strict=True):
        both = np.empty((HEIGHT * WIDTH, anchors.shape[1]))
        for positions, values in zip(colours(HEIGHT, WIDTH), (anchors, others), strict=True):
            both[positions] = values
        maps.append(both.T.reshape(-1, HEIGHT, WIDTH))
    return maps


@pytest.mark.parametrize("place", [(2, 2), (2, 3), (0, 0), (0, 1), (5, 6), (5, 5)], ids=str)
@pytest.mark.parametrize("k", range(3))
def test_a_latent_moves_only_what_comes_after_it(k: int, place: tuple[int, int]) -> None:
    """Nothing of groups before, of its own group the others that see an anchor, all after."""
    hyper, latents = picture(HEIGHT, WIDTH)
    latents = latents.clip(-9, 9)  # beside the largest, a change could vanish in the quotient
    before = outputs(latents, hyper)
    latents[sum(GROUPS[:k]) : sum(GROUPS[: k + 1]), place[0], place[1]] += 5
    changed = [
        (one != two).any(axis=0) for one, two in zip(before, outputs(latents, hyper), strict=True)
    ]
    assert not any(changed[j].any() for j in range(k))
    seen = np.zeros((HEIGHT, WIDTH), dtype=bool)
    if sum(place) % 2 == 0:
        for dh, dw in CHECKERBOARD_TAPS:
            h, w = place[0] - dh, place[1] - dw
            if 0 <= h < HEIGHT and 0 <= w < WIDTH:
                seen[h, w] = True
    assert np.array_equal(changed[k], seen)
    assert all(changed[j][place] for j in range(k + 1, 3))


def test_a_latent_out_of_range_is_refused() -> None:
    def stop(tables: np.ndarray, values: np.ndarray | None) -> np.ndarray:
        return np.full(len(tables), 2 * VALUE_LIMIT + 1)

    with pytest.raises(MalformedStream, match=rf"y at byte 0: a latent beyond ±{VALUE_LIMIT}"):
        walk()(np.zeros((HYPER, 4, 4)), stop)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 5), (5, 1), (4, 7)])
def test_symbols_know_their_places(height: int, width: int) -> None:
    hyper, latents = picture(height, width)
    seen: list[np.ndarray] = []

    def stop(tables: np.ndarray, values: np.ndarray) -> np.ndarray:
        seen.append(values)
        return values

    def around_zero(deviations: np.ndarray, means: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return (np.zeros(means.shape, dtype=np.int64),) * 2

    visited = walk(around_zero)
    visited(hyper, stop, latents)
    found = np.full(latents.size, np.nan)
    found[visited.order(height, width)] = np.concatenate(seen)
    assert np.array_equal(found.reshape(latents.shape), latents)
