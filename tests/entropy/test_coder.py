"""The symbol coder: round trips to the extremes, size, another decoder, damaged data."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from compressai.models.base import get_scale_table
from hypothesis import given, settings
from hypothesis import strategies as st

from paoncodec.entropy.coder import VALUE_LIMIT, Estimator, Meter, Reader, SymbolModel, Writer
from paoncodec.entropy.tables import PRECISION, FrozenTables, GaussianTables
from paoncodec.errors import MalformedStream

# Values that a table may be asked for: a latent less its centre, both within ±4096.
EXTREME = VALUE_LIMIT + 4096


def make(rows: list[list[int]], offsets: list[int]) -> FrozenTables:
    tables = FrozenTables()
    tables.set([torch.tensor([0, *np.cumsum(row)]) for row in rows], offsets)
    return tables


TOTAL = 2**PRECISION
#: Tables of many widths: a value or none that matters, escapes rare and common, far from 0.
ODD = make(
    [
        [TOTAL - 1, 1],
        [1, TOTAL - 1],
        [1, TOTAL - 2, 1],
        [TOTAL // 4] * 4,
        [1] * 4 + [TOTAL - 4],
        [TOTAL // 64] * 64,
        [TOTAL // 64 - 1] + [TOTAL // 64] * 63 + [1],
        [1] * 1000 + [TOTAL - 1001, 1],
        [TOTAL // 2, TOTAL // 2],
        [TOTAL // 2, TOTAL // 2],
    ],
    [0, 0, -1, -3, -2, -32, -32, -500, VALUE_LIMIT, -VALUE_LIMIT],
)
GAUSSIAN = GaussianTables()
GAUSSIAN.build(get_scale_table()[::7])
MODELS = {"odd": SymbolModel(ODD), "gaussian": SymbolModel(GAUSSIAN)}
COUNTS = {"odd": len(ODD), "gaussian": len(GAUSSIAN)}


def encode(model: SymbolModel, groups: list[tuple[np.ndarray, np.ndarray]]) -> bytes:
    writer = Writer(model)
    for tables, values in groups:
        writer(tables, values)
    return writer.getvalue()


def draw(name: str, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Random tables, and values that are drawn from them; escapes are drawn far and wide."""
    rng = np.random.default_rng(seed)
    rows, offsets = (ODD if name == "odd" else GAUSSIAN).rows()
    tables = rng.integers(0, COUNTS[name], count)
    values = np.empty(count, dtype=np.int64)
    for i, table in enumerate(tables):
        row = rows[table].numpy()
        symbol = rng.choice(len(row), p=row / TOTAL)
        escaped = symbol == len(row) - 1
        values[i] = rng.integers(-EXTREME, EXTREME + 1) if escaped else symbol + offsets[table]
    return tables, values


@pytest.mark.parametrize("name", MODELS)
@given(data=st.data())
@settings(max_examples=60)
def test_what_is_written_is_read(name: str, data: st.DataObject) -> None:
    table = st.integers(0, COUNTS[name] - 1)
    near, far = st.integers(-6, 6), st.integers(-EXTREME, EXTREME)
    edge = st.sampled_from([-EXTREME, -VALUE_LIMIT, VALUE_LIMIT, EXTREME])
    group = st.lists(st.tuples(table, near | far | edge), max_size=40)
    groups = [
        (
            np.array([t for t, _ in pairs], dtype=np.int64),
            np.array([v for _, v in pairs], dtype=np.int64),
        )
        for pairs in data.draw(st.lists(group, min_size=1, max_size=5))
    ]
    written = encode(MODELS[name], groups)
    reader = Reader(MODELS[name], written, "y")
    for tables, values in groups:
        assert np.array_equal(reader(tables), values)
    reader.finish()
    assert len(written) % 4 == 0


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("value", [-EXTREME, -VALUE_LIMIT, -1, 0, 1, VALUE_LIMIT, EXTREME])
def test_every_table_can_code_every_value(name: str, value: int) -> None:
    tables = np.arange(COUNTS[name])
    values = np.full(len(tables), value)
    reader = Reader(MODELS[name], encode(MODELS[name], [(tables, values)]), "y")
    assert np.array_equal(reader(tables), values)
    reader.finish()


@pytest.mark.parametrize("name", MODELS)
def test_values_at_the_edges_of_tables(name: str) -> None:
    rows, offsets = (ODD if name == "odd" else GAUSSIAN).rows()
    for table, (row, first) in enumerate(zip(rows, offsets, strict=True)):
        last = first + len(row) - 2
        values = np.array(
            [first - 2, first - 1, first, last, last + 1, last + 2, first + 1 - 2**14]
        )
        tables = np.full(len(values), table)
        reader = Reader(MODELS[name], encode(MODELS[name], [(tables, values)]), "y")
        assert reader(tables).tolist() == values.tolist()


def test_nothing_takes_no_bytes() -> None:
    none = np.zeros(0, dtype=np.int64)
    assert encode(MODELS["odd"], []) == encode(MODELS["odd"], [(none, none)]) == b""
    reader = Reader(MODELS["odd"], b"", "y")
    assert len(reader(none)) == 0
    reader.finish()


def test_bits_of_a_few_values() -> None:
    model = MODELS["odd"]
    half, one_of_64 = 3, 5
    tables = np.array([half, one_of_64, half])
    assert model.bits(np.array([-3, 30, -1]), tables).tolist() == [2.0, 6.0, 2.0]
    # Escaped: the escape's own 6 bits, 4 for the length, a sign, the excess below its first bit.
    last = -32 + 62
    excess = {last + 1: 0, last + 2: 1, last + 3: 1, last + 4: 2, -33: 0, -34: 1, last + 256: 8}
    for value, rest in excess.items():
        assert model.bits(np.array([value]), np.array([one_of_64])) == 6 + 4 + 1 + rest


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("count", [1, 30, 20_000])
def test_the_file_is_as_long_as_the_estimate(name: str, count: int) -> None:
    tables, values = draw(name, count, seed=count)
    estimator = Estimator(MODELS[name])
    groups = [
        (t, v) for t, v in zip(np.array_split(tables, 7), np.array_split(values, 7), strict=True)
    ]
    for group in groups:
        estimator(*group)
    whole = estimator.bits
    length = 8 * len(encode(MODELS[name], groups))
    # The coder has 24 bits where a table has 16: rare symbols come a little cheaper.
    assert whole * (1 - 2e-4) - 1 <= length <= whole * 1.01 + 8 * 64
    assert length <= whole * (1 + 2e-4) + 64  # what it really takes: two words at the end


def test_estimates_add_up() -> None:
    tables, values = draw("gaussian", 500, seed=3)
    model = MODELS["gaussian"]
    parts = [model.bits(values[i : i + 1], tables[i : i + 1]) for i in range(len(tables))]
    assert model.bits(values, tables).tolist() == np.concatenate(parts).tolist()


@pytest.mark.parametrize("name", MODELS)
def test_a_meter_tells_the_bits_of_what_passes(name: str) -> None:
    model = MODELS[name]
    tables, values = draw(name, 300, seed=4)
    groups = [(tables[:100], values[:100]), (tables[100:], values[100:])]
    meter = Meter(model, Reader(model, encode(model, groups), "y"))
    read = [meter(group, None) for group, _ in groups]
    assert np.concatenate(read).tolist() == values.tolist()
    assert meter.bits().tolist() == model.bits(values, tables).tolist()


@pytest.mark.parametrize(
    ("quantile", "reason"),
    [(2**24 - 1, "outside its table"), (2**24, "not what an encoder writes")],
)
def test_quantiles_that_no_symbol_has(quantile: int, reason: str) -> None:
    """The last quantile belongs to the padding of a table of three symbols, the next to nothing."""
    point = ((2**64 - 1) >> 24) * quantile
    data = b"".join(word.to_bytes(4, "little") for word in divmod(point, 2**32))
    with pytest.raises(MalformedStream, match=reason):
        Reader(MODELS["odd"], data, "y")(np.array([2]))


@pytest.mark.parametrize("extra", [1, 2, 3, 5])
def test_bytes_that_are_no_words(extra: int) -> None:
    tables, values = draw("gaussian", 50, seed=1)
    data = encode(MODELS["gaussian"], [(tables, values)])
    with pytest.raises(
        MalformedStream, match=r"^damaged file: y at byte 0: .* not whole 32-bit words"
    ):
        Reader(MODELS["gaussian"], data + bytes(extra), "y")


@pytest.mark.parametrize("extra", [b"\0" * 8, b"\xff" * 8, b"\1\2\3\4" * 100])
def test_data_left_over(extra: bytes) -> None:
    for seed in range(20):
        tables, values = draw("gaussian", 50, seed)
        data = encode(MODELS["gaussian"], [(tables, values)])
        reader = Reader(MODELS["gaussian"], data + extra, "y")
        assert np.array_equal(reader(tables), values)
        with pytest.raises(MalformedStream, match="more data than symbols"):
            reader.finish()


def outcome(name: str, data: bytes, tables: np.ndarray) -> str:
    """What a reader makes of data that no writer may have written: nothing but two things."""
    try:
        reader = Reader(MODELS[name], data, "y")
        for group in np.array_split(tables, 3):
            values = reader(group)
            assert values.shape == group.shape
            assert np.abs(values).max() < 2**17
        reader.finish()
    except MalformedStream:
        return "refused"
    return "read"


@pytest.mark.parametrize("name", MODELS)
def test_noise_is_refused_or_read_but_nothing_else(name: str) -> None:
    seen = set()
    for seed in range(300):
        rng = np.random.default_rng(seed)
        tables = rng.integers(0, COUNTS[name], rng.integers(3, 60))
        words = int(rng.integers(0, 40))
        data = rng.choice([rng.bytes(4 * words), b"\xff" * 4 * words, bytes(4 * words)])
        seen.add(outcome(name, data, tables))
    assert seen == {"refused", "read"}


@pytest.mark.parametrize("name", MODELS)
def test_damaged_strings_are_refused_or_read_but_nothing_else(name: str) -> None:
    tables, values = draw(name, 60, seed=4)
    groups = zip(np.array_split(tables, 3), np.array_split(values, 3), strict=True)
    data = encode(MODELS[name], list(groups))
    for cut in range(0, len(data), 4):
        outcome(name, data[:cut], tables)
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        outcome(name, bytes(flipped), tables)
