"""Probability tables: sums, closed form, cost, the gate to them, damage."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from compressai.entropy_models import GaussianConditional
from compressai.models.base import get_scale_table
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from paoncodec.entropy.coder import SymbolModel
from paoncodec.entropy.exact import ACTIVATION_BITS
from paoncodec.entropy.tables import (
    PRECISION,
    FrozenTables,
    GaussianTables,
    TableSelector,
    Tails,
    quantise,
)
from paoncodec.errors import WeightsError

UNIT = 2.0**-ACTIVATION_BITS


@pytest.fixture(scope="module")
def gaussian() -> GaussianTables:
    tables = GaussianTables()
    tables.build(get_scale_table())
    return tables


def levels_of(tables: GaussianTables, chosen: np.ndarray) -> np.ndarray:
    return np.searchsorted(tables.first().numpy(), chosen, side="right") - 1


def normal_bins(mean: float, deviation: float, values: Tensor) -> Tensor:
    """Probability of each integer under a Gaussian, without cancellation in the tails."""
    distance = (values.double() - mean).abs()
    near, far = (torch.special.ndtr(-(distance - half) / deviation) for half in (0.5, -0.5))
    return near - far


@given(st.lists(st.floats(0, 1), min_size=2, max_size=300).filter(lambda p: sum(p) > 1e-6))
def test_quantised_frequencies(probabilities: list[float]) -> None:
    cumulative = quantise(torch.tensor(probabilities, dtype=torch.float64))
    frequencies = cumulative.diff()
    assert cumulative[0] == 0
    assert cumulative[-1] == 2**PRECISION
    assert frequencies.min() >= 1
    # One for each symbol, the rest in proportion, rounded up or down.
    share = np.array(probabilities) / sum(probabilities) * (2**PRECISION - len(probabilities))
    assert np.abs(frequencies.numpy() - 1 - share).max() < 1 + 1e-6


def test_every_gaussian_table_is_whole(gaussian: GaussianTables) -> None:
    rows, offsets = gaussian.rows()
    assert len(rows) == len(offsets) == len(gaussian) == int(gaussian.steps.sum())
    assert all(int(row.sum()) == 2**PRECISION and int(row.min()) >= 1 for row in rows)
    # Symmetric around the mean's interval, the escape last.
    assert all(-2 * offset + 2 == len(row) for row, offset in zip(rows, offsets, strict=True))


def test_gaussian_tables_are_the_closed_form(gaussian: GaussianTables) -> None:
    """To within the one of 2**16 that each symbol is given, and rounding."""
    thresholds = get_scale_table().double()
    middles = torch.cat([thresholds[:1], (thresholds[1:] * thresholds[:-1]).sqrt()])
    rows, offsets = gaussian.rows()
    for level, deviation in enumerate(middles.tolist()):
        first, count = int(gaussian.first()[level]), int(gaussian.steps[level])
        for step in {0, count // 2, count - 1}:
            row, offset = rows[first + step].double(), offsets[first + step]
            values = offset + torch.arange(len(row) - 1)
            inside = normal_bins((step + 0.5) / count - 0.5, deviation, values)
            expected = torch.cat([inside, 1 - inside.sum(keepdim=True, dim=0)])
            share = expected * (2**PRECISION - len(row))
            assert (row - 1 - share).abs().max() < 1 + 1e-6
            assert expected[-1] < 1e-5


def test_means_are_kept_finely_where_it_matters(gaussian: GaussianTables) -> None:
    steps, thresholds = gaussian.steps.double(), gaussian.thresholds.double() * UNIT
    assert steps.max() == 64
    assert (steps[1:] <= steps[:-1]).all()
    assert ((1 / steps <= 0.25 * thresholds) | (steps == 64)).all()
    assert (steps.log2() % 1 == 0).all()


@pytest.mark.parametrize(
    ("low", "high", "mean_overhead", "worst_bits"),
    [
        (0.02, 0.11, 0.0015, 0.004),
        (0.11, 0.2, 0.003, 0.009),
        (0.2, 0.4, 0.0025, 0.009),
        (0.4, 0.8, 0.0025, 0.011),
        (0.8, 1.6, 0.0020, 0.015),
        (1.6, 5, 0.0015, 0.015),
        (5, 30, 0.0008, 0.014),
        (30, 256, 0.0010, 0.025),
    ],
)
def test_cost_of_tables(
    gaussian: GaussianTables, low: float, high: float, mean_overhead: float, worst_bits: float
) -> None:
    """Bits above the entropy that the tables cost a Gaussian source, its deviation and mean known.

    In it are: deviations and means in steps, 16 bits a frequency, the escape and its excess.
    ``mean_overhead`` is a fraction of the entropy, ``worst_bits`` what one symbol may cost more.
    """
    rng = np.random.default_rng(0)
    deviations = np.exp(rng.uniform(math.log(low), math.log(high), 150))
    deviations, means = (
        np.rint(v / UNIT) * UNIT for v in (deviations, rng.uniform(-0.5, 0.5, 150))
    )
    rows, offsets = gaussian.rows()
    tables, centres = TableSelector(gaussian)(deviations, means)
    entropies, overheads = [], []
    for deviation, mean, table, centre in zip(deviations, means, tables, centres, strict=True):
        row, offset = rows[table].double() / 2**PRECISION, offsets[table]
        deviation = max(deviation, 0.11)  # CompressAI's own bound: less is never needed
        values = torch.arange(-round(12 * deviation) - 3, round(12 * deviation) + 4)
        p = normal_bins(mean - centre, deviation, values)
        p, values = p[p > 0], values[p > 0]
        inside = (values >= offset) & (values < offset + len(row) - 1)
        beyond = torch.maximum(offset - values, values - (offset + len(row) - 2))
        escaped = -row[-1].log2() + 5 + beyond.clamp(min=1).double().log2().floor()
        bits = torch.where(inside, -row[(values - offset).clamp(0, len(row) - 2)].log2(), escaped)
        entropies.append(float(-(p * p.log2()).sum()))
        overheads.append(float((p * bits).sum()) - entropies[-1])
    assert min(overheads) > -1e-4
    assert max(overheads) < worst_bits
    assert sum(overheads) / sum(entropies) < mean_overhead


def test_levels_are_compressais(gaussian: GaussianTables) -> None:
    thresholds = gaussian.thresholds.double().numpy() * UNIT
    edges = [t + d * UNIT for t in thresholds for d in (-1, 0, 1)]
    rng = np.random.default_rng(0)
    random = np.rint(np.exp(rng.uniform(-4, 8, 5000)) / UNIT) * UNIT
    scales = np.concatenate([edges, random, [-3.0, -UNIT, 0.0, UNIT, 4096.0]])
    theirs = GaussianConditional(get_scale_table().tolist()).build_indexes(torch.tensor(scales))
    chosen, _ = TableSelector(gaussian)(scales, np.zeros_like(scales))
    assert np.array_equal(levels_of(gaussian, chosen), theirs.numpy())


@pytest.mark.parametrize(
    ("mean", "centre", "step"),
    [
        (0.0, 0, 32),
        (-UNIT, 0, 31),
        (0.5 - UNIT, 0, 63),
        (0.5, 1, 0),
        (-0.5, 0, 0),
        (-0.5 - UNIT, -1, 63),
        (1.5, 2, 0),
        (-1.5, -1, 0),
        (7.0, 7, 32),
        (-7.0, -7, 32),
        (1 / 64, 0, 33),
        (1 / 64 - UNIT, 0, 32),
        (4096.0, 4096, 32),
        (-4096.0, -4096, 32),
    ],
)
def test_centre_and_step_of_a_mean(
    gaussian: GaussianTables, mean: float, centre: int, step: int
) -> None:
    table, around = TableSelector(gaussian)(np.array([0.0]), np.array([mean]))
    assert (int(around[0]), int(table[0])) == (centre, step)  # level 0 starts at table 0


@pytest.mark.parametrize("mean", [0.0, 0.5, -0.5, UNIT, 1 / 64, 7.25, 4096.0, -4096.0])
def test_around_means_the_table_is_that_of_a_whole_mean(
    gaussian: GaussianTables, mean: float
) -> None:
    select = TableSelector(gaussian, around_means=True)
    for deviation in (0.0, 0.3, 2.0, 100.0):
        table, centre = select(np.array([deviation]), np.array([mean]))
        assert centre[0] == mean
        whole, _ = TableSelector(gaussian)(np.array([deviation]), np.array([0.0]))
        assert table[0] == whole[0]


@given(
    st.integers(-(2**26), 2**26).map(lambda n: n * UNIT),
    st.integers(-(2**26), 2**26).map(lambda n: n * UNIT),
)
def test_the_chosen_table_holds_the_mean(deviation: float, mean: float) -> None:
    tables = SMALL
    chosen, centre = TableSelector(tables)(np.array([deviation]), np.array([mean]))
    level = int(levels_of(tables, chosen)[0])
    step, count = int(chosen[0] - tables.first()[level]), int(tables.steps[level])
    assert step / count <= mean - int(centre[0]) + 0.5 < (step + 1) / count
    thresholds = (tables.thresholds.double() * UNIT).tolist()
    assert level == 0 or thresholds[level - 1] < deviation
    assert level == len(thresholds) - 1 or deviation <= thresholds[level]


def small_tables(*deviations: float) -> GaussianTables:
    tables = GaussianTables()
    tables.build(torch.tensor(deviations))
    return tables


SMALL = small_tables(0.3, 1.0, 4.0)


@pytest.mark.parametrize("deviations", [(), (0.0, 1.0), (1.0, 1.0), (2.0, 1.0), (1e-6,)], ids=str)
def test_deviations_that_make_no_tables(deviations: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="must increase"):
        small_tables(*deviations)


def test_the_state_dict_carries_tables_of_any_size() -> None:
    one, other = small_tables(0.5, 2.0), small_tables(0.3, 1.0, 9.0)
    for source in (one, other, one):
        empty, full = GaussianTables(), small_tables(1.0, 2.0, 3.0, 4.0)
        for target in (empty, full):
            target.load_state_dict(source.state_dict())
            for name, buffer in source.state_dict().items():
                assert torch.equal(getattr(target, name), buffer)
                assert getattr(target, name).dtype == torch.int32
            pairs = zip(target.rows()[0], source.rows()[0], strict=True)
            assert all(torch.equal(a, b) for a, b in pairs)
    empty = GaussianTables()
    empty.load_state_dict(GaussianTables().state_dict())
    assert len(empty) == 0


def test_tables_are_integers_whatever_the_model_is_cast_to() -> None:
    tables = small_tables(0.5, 2.0)
    before = {name: t.clone() for name, t in tables.state_dict().items()}
    tables.half()
    assert all(torch.equal(t, before[name]) for name, t in tables.state_dict().items())


def test_no_tables_are_an_error() -> None:
    for tables in (FrozenTables(), GaussianTables()):
        with pytest.raises(WeightsError, match=r"missing or damaged: run update\(\)"):
            SymbolModel(tables)


def put(name: str, index: int, value: int) -> Callable[[GaussianTables], None]:
    def damage(tables: GaussianTables) -> None:
        getattr(tables, name)[index] = value

    damage.__name__ = f"{name}[{index}]={value}"
    return damage


def swap(name: str, change: Callable[[Tensor], Tensor]) -> Callable[[GaussianTables], None]:
    def damage(tables: GaussianTables) -> None:
        setattr(tables, name, change(getattr(tables, name)))

    damage.__name__ = f"{name} changed"
    return damage


@pytest.mark.parametrize(
    "damage",
    [
        put("cumulative", 0, 1),
        put("cumulative", 3, 0),
        put("cumulative", 3, 2**16),
        put("cumulative", -1, 2**16 - 1),
        put("cumulative", -1, 2**16 + 1),
        put("starts", 0, 1),
        put("starts", 0, -2),
        put("starts", 1, 10**6),
        put("starts", 1, 1),
        put("starts", -1, 7),
        put("offsets", 0, 2**15),
        put("offsets", 0, -(2**31)),
        put("thresholds", 0, 0),
        put("thresholds", 1, 1),
        put("steps", 0, 0),
        put("steps", 0, 1),
        put("steps", 1, -1),
        *(
            swap(name, change)
            for name in ("cumulative", "starts", "offsets", "thresholds", "steps")
            for change in (
                lambda t: t[:-1],
                lambda t: t[:0],
                lambda t: t[None],
                lambda t: t[0],
                lambda t: t.double(),
            )
        ),
    ],
    ids=lambda damage: damage.__name__,
)
def test_damaged_tables_are_refused(damage: Callable[[GaussianTables], None]) -> None:
    tables = small_tables(0.3, 1.0, 4.0)
    damage(tables)
    with pytest.raises(WeightsError, match="damaged"):
        SymbolModel(tables)


def test_tails_are_a_mixture_and_default_to_the_gaussian() -> None:
    x = torch.linspace(-6, 6, 25, dtype=torch.float64)
    assert torch.equal(Tails().below(x), torch.special.ndtr(x))
    mixture = 0.75 * torch.special.ndtr(x / 0.5) + 0.25 * torch.special.ndtr(x / 2)
    assert torch.allclose(Tails(0.5, 2.0, 0.25).below(x), mixture, atol=1e-15, rtol=0)


@pytest.mark.parametrize("tails", [Tails(), Tails(0.8, 1.75, 0.2), Tails(1.0, 3.0, 1.0)])
def test_tables_reach_until_half_a_unit_of_frequency_is_left(tails: Tails) -> None:
    reach = torch.tensor(tails.reach(), dtype=torch.float64)
    assert 2 * tails.below(-reach) <= 2.0**-17 < 2 * tails.below(-(reach - 0.25))


def test_tables_with_tails_code_what_has_them_with_fewer_bits() -> None:
    tails, deviations = Tails(0.8, 1.75, 0.2), torch.tensor([1.0, 2.0, 4.0])
    plain, heavy = GaussianTables(), GaussianTables()
    plain.build(deviations)
    heavy.build(deviations, tails)
    edges = torch.arange(-60, 61, dtype=torch.float64) - 0.5
    truth = tails.below(edges / 2**1.5).diff()  # the middle of the last level
    cost = {}
    for name, tables in (("plain", plain), ("heavy", heavy)):
        rows, offsets = tables.rows()
        row, first = rows[-1].double() / 2**16, offsets[-1] + 60
        inside = truth[first : first + len(row) - 1]
        escaped = truth.sum() - inside.sum()
        bits = -(inside * row[:-1].log2()).sum() - escaped * row[-1].log2()
        cost[name] = float(bits)
    entropy = float(-(truth * truth.log2()).nansum())
    assert entropy < cost["heavy"] < entropy + 0.01 < cost["plain"]


@pytest.mark.parametrize("shape", [(0.0, 1.0, 0.1), (2.0, 1.0, 0.1), (1.0, 2.0, 1.5)])
def test_impossible_tails_are_refused(shape: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="narrow"):
        Tails(*shape)
