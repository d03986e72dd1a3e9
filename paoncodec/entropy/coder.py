"""Symbols to bytes and back, with the tables of :mod:`.tables` and constriction's range coder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import constriction
import numpy as np
import numpy.typing as npt

from paoncodec.entropy.tables import PRECISION, FrozenTables
from paoncodec.errors import MalformedStream

Integers = npt.NDArray[np.int64]

#: Coded integers (latents, hyper-latents) are within ±VALUE_LIMIT.
VALUE_LIMIT = 4095

_CATEGORICAL = constriction.stream.model.Categorical(perfect=False)
_UNIFORM = constriction.stream.model.Uniform()
# Probabilities looked up at once; bounds memory.
_ROW_ENTRIES = 2**22
# How far an escaped value lies beyond its table is below 2^16 (tables.py bounds their offsets).
_EXCESS_BITS = constriction.stream.model.Uniform(16)
_SIGN = constriction.stream.model.Uniform(2)
# What symbols may hold of information, in bits: this much for each bit of the data, and what the
# coder's state holds beside it.
_MOST_SPENT = 1.01
_BITS_IN_STATE = 64


class SymbolModel:
    """Frozen tables laid out for the coder.

    Tables are grouped by width, padded to a power of two with symbols that never occur.

    Args:
        tables: the tables.

    Raises:
        WeightsError: the tables are damaged.
    """

    def __init__(self, tables: FrozenTables) -> None:
        rows, offsets = tables.rows()
        lengths = [len(row) for row in rows]
        self.offset = np.array(offsets, dtype=np.int64)
        self.escape = np.array(lengths) - 1
        # In integers: a logarithm that is off by its last bit elsewhere would change the stream.
        self.width = np.array([max(4, 1 << (length - 1).bit_length()) for length in lengths])
        self.row = np.zeros(len(rows), dtype=np.int64)
        widths = np.unique(self.width)
        self._group = np.searchsorted(widths, self.width).astype(np.uint8)
        self._blocks: list[npt.NDArray[np.float64]] = []
        for width in widths:
            members = np.flatnonzero(self.width == width)
            self.row[members] = np.arange(len(members))
            block = np.zeros((len(members), width))
            for i, member in enumerate(members):
                block[i, : lengths[member]] = rows[member].numpy()
            self._blocks.append(block / 2**PRECISION)

    def groups(self, tables: Integers) -> Iterator[tuple[Integers, npt.NDArray[np.float64]]]:
        """Positions in ``tables`` that share a width, widths ascending, with their rows.

        A width's positions come in parts, so that their rows take a bounded memory.
        """
        group = self._group[tables]
        order = np.argsort(group, kind="stable")
        ends = np.bincount(group, minlength=len(self._blocks)).cumsum().tolist()
        first = 0
        for block, end in zip(self._blocks, ends, strict=True):
            most = _ROW_ENTRIES // block.shape[1]
            while first < end:
                part = order[first : min(first + most, end)]
                first += len(part)
                yield part, block[self.row[tables[part]]]

    def bits(self, values: Integers, tables: Integers) -> npt.NDArray[np.float64]:
        """Information in each of ``values`` under ``tables`` (N,), in bits.

        That of an escaped value counts its excess too.
        """
        symbols, excess = self.split(values, tables)
        bits = np.empty(len(symbols))
        for members, rows in self.groups(tables):
            chosen = np.take_along_axis(rows, symbols[members][:, None], axis=1)
            bits[members] = -np.log2(chosen[:, 0])
        # 4 bits of length, a sign, and the excess below its leading bit.
        escaped = symbols == self.escape[tables]
        bits[escaped] += 4 + np.floor(np.log2(np.abs(excess))) + 1
        return bits

    def split(self, values: Integers, tables: Integers) -> tuple[Integers, Integers]:
        """Values as table symbols, and the signed excess (never 0) of those that escape."""
        first = self.offset[tables]
        last = first + self.escape[tables] - 1
        symbols = values - first
        beyond = np.where(values > last, values - last, np.minimum(values - first, 0))
        escaped = beyond != 0
        return np.where(escaped, self.escape[tables], symbols), beyond[escaped]

    def join(self, symbols: Integers, tables: Integers, excess: Integers) -> Integers:
        """The inverse of :meth:`split`."""
        first = self.offset[tables]
        values = symbols + first
        escaped = symbols == self.escape[tables]
        last = first + self.escape[tables] - 1
        edge = np.where(excess > 0, last[escaped], first[escaped])
        values[escaped] = edge + excess
        return values


class Stop(Protocol):
    """What happens to one group of symbols of a walk: count, write or read."""

    def __call__(self, tables: Integers, values: Integers | None) -> Integers:
        """``tables`` (N,) and, except for a reader, ``values`` (N,) → ``values``."""
        ...


def given(values: Integers | None) -> Integers:
    """``values``, which only a reader does without."""
    if values is None:
        raise ValueError("counting and writing need the values, which were not given")
    return values


def unchanged(tables: Integers, values: Integers | None) -> Integers:
    """The stop that does nothing; to be counted by a :class:`Meter`."""
    return given(values)


class Estimator:
    """Counts bits."""

    def __init__(self, model: SymbolModel) -> None:
        self._model = model
        self.bits = 0.0

    def __call__(self, tables: Integers, values: Integers | None) -> Integers:
        self.bits += float(self._model.bits(given(values), tables).sum())
        return given(values)


class Meter:
    """Lets another stop do its work, and counts the bits of each of its symbols.

    Args:
        model: the tables that stop works with.
        stop: that stop, such as a :class:`Reader`.
    """

    def __init__(self, model: SymbolModel, stop: Stop) -> None:
        self._model, self._stop = model, stop
        self._counts: list[npt.NDArray[np.float64]] = []

    def __call__(self, tables: Integers, values: Integers | None) -> Integers:
        known = self._stop(tables, values)
        self._counts.append(self._model.bits(known, tables))
        return known

    def bits(self) -> npt.NDArray[np.float64]:
        """Of each symbol, in the order in which they came."""
        return np.concatenate(self._counts)


class Writer:
    """Encodes; :meth:`getvalue` returns the bytes."""

    def __init__(self, model: SymbolModel) -> None:
        self._model = model
        self._coder = constriction.stream.queue.RangeEncoder()

    def __call__(self, tables: Integers, values: Integers | None) -> Integers:
        symbols, excess = self._model.split(given(values), tables)
        for members, rows in self._model.groups(tables):
            self._coder.encode(symbols[members].astype(np.int32), _CATEGORICAL, rows)
        if len(excess):
            self._escape(excess)
        return given(values)

    def _escape(self, excess: Integers) -> None:
        size = np.abs(excess)
        length = np.frexp(size.astype(np.float64))[1] - 1  # bits below the leading one
        self._coder.encode(length.astype(np.int32), _EXCESS_BITS)
        self._coder.encode((excess < 0).astype(np.int32), _SIGN)
        long = length > 0
        if long.any():
            rest = (size - (1 << length))[long].astype(np.int32)
            self._coder.encode(rest, _UNIFORM, (1 << length[long]).astype(np.int32))

    def getvalue(self) -> bytes:
        return self._coder.get_compressed().astype("<u4").tobytes()


class Reader:
    """Decodes what a :class:`Writer` wrote.

    Args:
        model: the writer's tables.
        data: its bytes.
        field: name of the stream, for messages.

    Decoding beyond the end of the data is noticed soon, since a symbol of n bits takes as many of
    them: a few bytes that claim to be a large picture cost no more than a few bytes.

    Raises:
        MalformedStream: not whole words, or (on reading) symbols no writer writes.
    """

    def __init__(self, model: SymbolModel, data: bytes, field: str) -> None:
        if len(data) % 4:
            raise MalformedStream(field, 0, f"{len(data)} bytes are not whole 32-bit words")
        self._model, self._field = model, field
        words = np.frombuffer(data, dtype="<u4").astype(np.uint32)
        self._coder = constriction.stream.queue.RangeDecoder(words)
        # The coder's own probabilities have 24 bits: at most 1 % less information than these say.
        self._bits_left = _MOST_SPENT * 32 * len(words) + _BITS_IN_STATE

    def __call__(self, tables: Integers, values: Integers | None = None) -> Integers:
        symbols = np.empty(len(tables), dtype=np.int64)
        for members, rows in self._model.groups(tables):
            found = self._decode(_CATEGORICAL, rows)
            symbols[members] = found
            self._spend(np.take_along_axis(rows, found[:, None], axis=1))
        escaped = symbols == self._model.escape[tables]
        excess = self._excess(int(escaped.sum()))
        return self._model.join(symbols, tables, excess)

    def _spend(self, probabilities: npt.NDArray[np.float64]) -> None:
        """Counts down by the information of symbols."""
        if not probabilities.all():
            raise self._error("a symbol outside its table")
        self._bits_left += float(np.log2(probabilities).sum())
        if self._bits_left < 0:
            raise self._error("its bytes end before its symbols do")

    def _decode(self, *model: Any) -> npt.NDArray[np.int32]:
        try:
            return self._coder.decode(*model)
        except (AssertionError, ValueError) as error:  # constriction's word for impossible data
            raise self._error(f"not what an encoder writes ({error})") from error

    def _excess(self, count: int) -> Integers:
        if not count:
            return np.zeros(0, dtype=np.int64)
        length = self._decode(_EXCESS_BITS, count).astype(np.int64)
        negative = self._decode(_SIGN, count).astype(bool)
        size = 1 << length
        long = length > 0
        if long.any():
            size[long] += self._decode(_UNIFORM, (1 << length[long]).astype(np.int32))
        return np.where(negative, -size, size)

    def finish(self) -> None:
        """Call after the last symbol.

        Raises:
            MalformedStream: bytes are left over.
        """
        if not self._coder.maybe_exhausted():
            raise self._error("more data than symbols")

    def _error(self, reason: str) -> MalformedStream:
        return MalformedStream(self._field, 0, reason)
