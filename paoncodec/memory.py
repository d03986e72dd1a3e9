"""How much memory there is, and how much of it may be taken."""

from __future__ import annotations

from dataclasses import dataclass

from paoncodec.errors import UsageError

__all__ = ["FREE_SHARE", "Budget", "parse_size", "size_text"]

#: What is taken, at most, of the memory that is free, if nothing is said.
FREE_SHARE = 0.5

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def parse_size(text: str) -> int:
    """Bytes of a size such as ``2.5GiB``, ``800M`` or ``1000000``; units are powers of 1024.

    Raises:
        ValueError: it is none.
    """
    number = text.strip().upper().removesuffix("B").removesuffix("I")
    unit = number[-1:] if number[-1:] in _UNITS else ""
    value = float(number.removesuffix(unit)) * _UNITS[unit]
    if not 1 <= value < 2**63:
        raise ValueError(f"size {text!r}")
    return int(value)


def size_text(count: float) -> str:
    """``1.4 GiB``, or ``830 MiB``."""
    mebi = count / 2**20
    return f"{mebi / 1024:.2f} GiB" if mebi >= 1000 else f"{mebi:.0f} MiB"


@dataclass(frozen=True)
class Budget:
    """What may still be taken.

    Attributes:
        room: bytes.
        held: bytes that the process holds already.
        asked: the limit that was given; None: it is the usual share of what is free.
    """

    room: float
    held: int
    asked: int | None

    @classmethod
    def of(cls, max_memory: int | None) -> Budget:
        """Up to ``max_memory`` bytes in all, or :data:`FREE_SHARE` of what is free.

        Raises:
            UsageError: ``max_memory`` is not positive.
        """
        import psutil

        if max_memory is not None and max_memory < 1:
            raise UsageError(f"max_memory {max_memory}: must be at least 1 byte")
        held = int(psutil.Process().memory_info().rss)
        if max_memory is None:
            return cls(FREE_SHARE * psutil.virtual_memory().available, held, None)
        return cls(max_memory - held, held, max_memory)

    def require(self, needed: float, what: str, firm: bool = False) -> None:
        """
        Args:
            needed: bytes, above what is held.
            what: takes them, for the message.
            firm: hold to the usual share too. Otherwise only a limit that was given is kept to:
                what is free changes, and is no promise.

        Raises:
            UsageError: they are more than there is room for.
        """
        if needed <= self.room or (self.asked is None and not firm):
            return
        allowed = self.held + self.room if self.asked is None else self.asked
        raise UsageError(
            f"{what} takes about {size_text(self.held + needed)} of memory, {size_text(allowed)} "
            "are allowed: raise --max-memory (max_memory in Python)"
        )
