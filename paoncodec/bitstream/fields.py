"""Field codecs: how one value is checked, written, read and described.

A record (the header, an entry of its section table) is a tuple of `Field`. Writing, reading,
checking and the table in docs/format.md all loop over that one tuple, so they cannot disagree
(the idea of libjxl's lib/jxl/fields.h). Encodings are canonical: a value has one byte form only.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from paoncodec.errors import MalformedStream, TruncatedStream

__all__ = [
    "U32",
    "Codec",
    "Cursor",
    "Field",
    "FixedBytes",
    "FixedPoint",
    "ShortText",
    "UInt",
    "Varint",
    "check_record",
    "read_record",
    "write_record",
]

T = TypeVar("T")


@dataclass
class Cursor:
    """A place in `data`; `offset` counts bytes from its start and only moves forward."""

    data: bytes
    offset: int = 0

    def take(self, count: int, field: str) -> bytes:
        """Return the next `count` bytes and step over them, or raise TruncatedStream."""
        end = self.offset + count
        if end > len(self.data):
            raise TruncatedStream(need=end, have=len(self.data), field=field)
        taken = self.data[self.offset : end]
        self.offset = end
        return taken


class Codec(ABC, Generic[T]):
    """One kind of field; `layout` and `legal` describe its bytes and values in words."""

    #: True if the bytes follow from the file itself, so that records have no such attribute.
    implicit: ClassVar[bool] = False

    @property
    @abstractmethod
    def layout(self) -> str: ...

    @property
    @abstractmethod
    def legal(self) -> str: ...

    @abstractmethod
    def problem(self, value: T) -> str | None:
        """Say why `value` is not legal; None if it is."""

    @abstractmethod
    def write(self, out: bytearray, value: T) -> None:
        """Append a legal `value` to `out`, which holds the file so far."""

    @abstractmethod
    def parse(self, cursor: Cursor, field: str) -> T:
        """Take the bytes of one value; it may still be out of range."""

    def read(self, cursor: Cursor, field: str) -> T:
        """Take one legal value, or raise MalformedStream with `field` and its offset."""
        start = cursor.offset
        value = self.parse(cursor, field)
        if problem := self.problem(value):
            raise MalformedStream(field, start, problem)
        return value

    def _refusal(self, value: object) -> str:
        return f"{value!r} is not legal (legal: {self.legal})"


@dataclass(frozen=True)
class _Integer(Codec[int]):
    """What the integer codecs share: the legal `values`."""

    values: range | tuple[int, ...]

    @property
    def legal(self) -> str:
        if isinstance(self.values, tuple):
            return " or ".join(map(str, self.values))
        return " to ".join(map(str, dict.fromkeys((self.values[0], self.values[-1]))))

    def problem(self, value: int) -> str | None:
        legal = isinstance(value, int) and value in self.values
        return None if legal else self._refusal(value)


@dataclass(frozen=True)
class UInt(_Integer):
    """An unsigned integer of `size` bytes, little endian."""

    size: int

    @property
    def layout(self) -> str:
        return f"u{8 * self.size}"

    def write(self, out: bytearray, value: int) -> None:
        out += value.to_bytes(self.size, "little")

    def parse(self, cursor: Cursor, field: str) -> int:
        return int.from_bytes(cursor.take(self.size, field), "little")


U32 = UInt(range(2**32), size=4)


@dataclass(frozen=True)
class Varint(_Integer):
    """An unsigned integer as LEB128: seven bits a byte, lowest first, top bit set on all but
    the last byte. Forms longer than needed are refused."""

    @property
    def layout(self) -> str:
        return "varint"

    def write(self, out: bytearray, value: int) -> None:
        while value > 0x7F:
            out.append(value & 0x7F | 0x80)
            value >>= 7
        out.append(value)

    def parse(self, cursor: Cursor, field: str) -> int:
        start = cursor.offset
        longest = -(-self.values[-1].bit_length() // 7)
        value = 0
        for index in range(longest):
            byte = cursor.take(1, field)[0]
            value |= (byte & 0x7F) << 7 * index
            if byte == 0 and index > 0:
                raise MalformedStream(field, start, f"varint of {value} is longer than needed")
            if byte <= 0x7F:
                return value
        raise MalformedStream(field, start, f"varint goes on after {longest} bytes")


@dataclass(frozen=True)
class FixedPoint(Codec[float]):
    """A multiple of 1/`denominator` from `lowest` to `highest`, written as a varint."""

    lowest: int
    highest: int
    denominator: int

    @property
    def layout(self) -> str:
        return f"varint of {self.denominator} times the value"

    @property
    def legal(self) -> str:
        return f"{self.lowest} to {self.highest} in steps of 1/{self.denominator}"

    @property
    def _varint(self) -> Varint:
        return Varint(range(self.lowest * self.denominator, self.highest * self.denominator + 1))

    def nearest(self, value: float) -> float:
        """Round to the nearest legal value, halves to even; ValueError if out of range."""
        if not self.lowest <= value <= self.highest:
            raise ValueError(self._refusal(value))
        return round(value * self.denominator) / self.denominator

    def problem(self, value: float) -> str | None:
        # Written so that NaN, for which every comparison is false, is refused too.
        legal = self.lowest <= value <= self.highest and value * self.denominator % 1 == 0
        return None if legal else self._refusal(value)

    def write(self, out: bytearray, value: float) -> None:
        self._varint.write(out, int(value * self.denominator))

    def parse(self, cursor: Cursor, field: str) -> float:
        return self._varint.parse(cursor, field) / self.denominator


@dataclass(frozen=True)
class FixedBytes(Codec[bytes]):
    """Exactly `size` bytes of any value."""

    size: int

    @property
    def layout(self) -> str:
        return f"{self.size} bytes"

    @property
    def legal(self) -> str:
        return f"any {self.size} bytes"

    def problem(self, value: bytes) -> str | None:
        legal = isinstance(value, bytes) and len(value) == self.size
        return None if legal else self._refusal(value)

    def write(self, out: bytearray, value: bytes) -> None:
        out += value

    def parse(self, cursor: Cursor, field: str) -> bytes:
        return cursor.take(self.size, field)


@dataclass(frozen=True)
class ShortText(Codec[str]):
    """1 to `longest` (below 256) characters from `alphabet`: the inside of a regular
    expression's [...], ASCII without the backslash. Written as UTF-8 after its length."""

    longest: int
    alphabet: str

    @property
    def layout(self) -> str:
        return "u8 n, then n bytes of UTF-8"

    @property
    def legal(self) -> str:
        return f"1 to {self.longest} characters of [{self.alphabet}]"

    def problem(self, value: str) -> str | None:
        pattern = f"[{self.alphabet}]{{1,{self.longest}}}"
        legal = isinstance(value, str) and re.fullmatch(pattern, value)
        return None if legal else self._refusal(value)

    def write(self, out: bytearray, value: str) -> None:
        encoded = value.encode()
        out.append(len(encoded))
        out += encoded

    def parse(self, cursor: Cursor, field: str) -> str:
        start = cursor.offset
        count = cursor.take(1, field)[0]
        if count > self.longest:
            reason = f"{count} bytes long, legal: 1 to {self.longest}"
            raise MalformedStream(field, start, reason)
        # Bytes that are not UTF-8 turn into backslashes, which the alphabet refuses by name.
        return cursor.take(count, field).decode(errors="backslashreplace")


@dataclass(frozen=True)
class Field:
    """One field of a record.

    `since` is the format version that brought it. A later version may only append fields, and
    the record's attribute needs a default then: it stands in when an older file is read.
    """

    name: str
    codec: Codec[Any]
    meaning: str
    since: int = 1


def check_record(record: object, fields: Sequence[Field]) -> None:
    """Raise ValueError if an attribute of `record` is not legal."""
    for field in fields:
        if field.codec.implicit:
            continue
        if problem := field.codec.problem(getattr(record, field.name)):
            raise ValueError(f"{field.name}: {problem}")


def write_record(record: object, fields: Sequence[Field], version: int = 1) -> bytes:
    """Write the fields that `version` has; the attributes must be legal."""
    out = bytearray()
    for field in fields:
        if field.since <= version:
            value = None if field.codec.implicit else getattr(record, field.name)
            field.codec.write(out, value)
    return bytes(out)


def read_record(cursor: Cursor, fields: Sequence[Field], prefix: str = "") -> dict[str, Any]:
    """Read the fields one by one: name → value, implicit fields verified and left out.

    A field named `version`, once read, decides which later fields the bytes have (1 if there is
    none). `prefix` goes before the names in errors. Raises MalformedStream.
    """
    values: dict[str, Any] = {}
    for field in fields:
        if field.since > values.get("version", 1):
            continue
        value = field.codec.read(cursor, prefix + field.name)
        if not field.codec.implicit:
            values[field.name] = value
    return values
