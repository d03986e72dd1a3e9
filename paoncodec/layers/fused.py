"""Quotients and their gradients in one pass each, compiled: what long trainings on a CPU use.

torch computes :mod:`paoncodec.layers.quotients` one operation after the other, each of which reads
and writes whole maps. ``torch.compile`` makes one loop of them, in float32 whatever the terms are,
four times as fast. It needs a C++ compiler and some ten seconds, so it has to be asked for.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from paoncodec.layers.layout import channels_last
from paoncodec.layers.quotients import BACKWARD, FORWARD, Terms

if TYPE_CHECKING:
    from paoncodec.layers.rational import PadeSpec

#: Values that a loop takes at a time; over fewer channels it is faster along the rows.
_VECTOR = 16

#: How the compiler has failed in this process; one at most.
_failures: list[str] = []

#: Whether :func:`fused_quotients` is on, and can be.
_WANTED: ContextVar[bool] = ContextVar("fused", default=False)


@contextmanager
def fused_quotients(wanted: bool = True) -> Iterator[None]:
    """Inside, quotients of Padé layers on a CPU are compiled, where they can be.

    That is, of (B, C, H, W) in float32 or bfloat16, of layers without groups, and where
    :func:`can_compile`. The backward goes as its forward went.
    """
    token = _WANTED.set(wanted and can_compile())
    try:
        yield
    finally:
        _WANTED.reset(token)


@cache
def can_compile() -> bool:
    """Whether ``torch.compile`` works here: it is tried once, with a small function.

    It does not without a C++ compiler, nor where it :func:`is_switched_off`.
    """

    def twice(x: Tensor) -> Tensor:
        return x + x

    if is_switched_off():
        return False
    # Where it finds nvcc, torch would tell users of CPUs that there is no CUDA.
    extensions = logging.getLogger("torch.utils.cpp_extension")
    level = extensions.level
    extensions.setLevel(logging.ERROR)
    try:
        torch.compile(twice)(torch.ones(4))
    except Exception:  # noqa: BLE001 - a compiler fails in many ways, and none of them matters here
        return False
    finally:
        extensions.setLevel(level)
    return True


def failure() -> str | None:
    """How the compiler failed, after it had worked: nothing is compiled from then on."""
    return _failures[0] if _failures else None


def is_switched_off() -> bool:
    """Whether nobody wants ``torch.compile``: the variable TORCH_COMPILE_DISABLE is 1."""
    from torch import _dynamo  # it takes a second to import

    return bool(_dynamo.config.disable)


def is_fused(stacks: Sequence[Tensor], groups: int) -> bool:
    """Whether the quotient of these terms is to be computed by :func:`value` and :func:`slopes`."""
    first = stacks[0]
    return (
        _WANTED.get()
        and not _failures
        and groups == 1
        and first.ndim == 4
        and first.device.type == "cpu"
        and first.dtype in (torch.float32, torch.bfloat16)
    )


def value(stacks: Sequence[Tensor], bias: Tensor, spec: PadeSpec) -> Tensor:
    """The quotient, as :func:`paoncodec.layers.rational.rational` returns it."""
    order = _Order.of(stacks[0])
    result = _run(_value, [order.rows(s) for s in stacks], bias, spec, order.last)
    return order.maps(result)


def slopes(
    grad: Tensor, stacks: Sequence[Tensor], bias: Tensor, spec: PadeSpec
) -> tuple[list[Tensor], Tensor]:
    """Gradients of the stacks and of the bias, from that of the value."""
    order = _Order.of(stacks[0])
    rows = [order.rows(s) for s in stacks]
    into, to_bias = _run(_slopes, rows, bias, spec, order.last, order.rows(grad))
    return [order.maps(gradient) for gradient in into], to_bias


@dataclass(frozen=True)
class _Order:
    """How maps lie in memory. The compiler makes loops for the order in which dimensions are named.

    Attributes:
        last: whether channels lie last, as in rows (B, H, W, C); otherwise rows are (B, C, H, W).
    """

    last: bool

    @classmethod
    def of(cls, maps: Tensor) -> _Order:
        return cls(channels_last(maps) and maps.shape[1] >= _VECTOR)

    def rows(self, maps: Tensor) -> Tensor:
        return (maps.permute(0, 2, 3, 1) if self.last else maps).contiguous()

    def maps(self, rows: Tensor) -> Tensor:
        return rows.permute(0, 3, 1, 2) if self.last else rows


def _run(
    function: Callable[..., Any], rows: list[Tensor], bias: Tensor, spec: PadeSpec, *more: Any
) -> Any:
    """Compiled for all numbers of channels, and whether autocast is on or not; or else plainly.

    The compiler would make a function for each size of a parameter, and for each state of autocast,
    and give up after eight.
    """
    given = (rows, bias.detach(), spec, *more)
    with torch.autocast("cpu", enabled=False):
        if _failures:
            return function(*given)
        try:
            return _compiled(function)(*given)
        except Exception as error:  # noqa: BLE001 - a full disk, no memory for a compiler, and others
            result = function(*given)  # raises what is no fault of the compiler
            _failures.append(f"{type(error).__name__}: {str(error).partition(chr(10))[0]}")
            return result


@cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    return torch.compile(function, dynamic=True)


def _value(stacks: list[Tensor], bias: Tensor, spec: PadeSpec, last: bool) -> Tensor:
    terms = _terms(stacks, len(bias), spec, last)
    result = torch.empty_like(terms.den[0])
    FORWARD[spec.kind](terms, _constant(bias, last), result)
    return result.to(stacks[0].dtype)


def _slopes(
    stacks: list[Tensor], bias: Tensor, spec: PadeSpec, last: bool, grad: Tensor
) -> tuple[list[Tensor], Tensor]:
    terms = _terms(stacks, len(bias), spec, last)
    into = Terms(*([torch.empty_like(t) for t in each] for each in (terms.num, terms.den)))
    to_constant = BACKWARD[spec.kind](grad.float(), terms, _constant(bias, last), into)
    # Narrowed before they are joined: else the compiler writes float32, and reads it again.
    num, den = ([t.to(stacks[0].dtype) for t in terms] for terms in (into.num, into.den))
    pairs = [t for pair in zip(num, den, strict=False) for t in pair]
    above = [*num[spec.shared :], *den[spec.shared :]]
    return (
        [torch.cat(some, 3 if last else 1) for some in (pairs, above) if some],
        to_constant.sum((0, 1, 2) if last else (0, 2, 3)),
    )


def _terms(stacks: list[Tensor], channels: int, spec: PadeSpec, last: bool) -> Terms:
    """In float32, as :func:`paoncodec.layers.rational.rational` orders them."""
    pieces = [list(stack.float().split(channels, 3 if last else 1)) for stack in stacks]
    pairs = pieces[0] if spec.shared else []
    above = pieces[-1] if spec.longest > spec.shared else []
    longer_is_num = spec.num > spec.den
    return Terms(
        [*pairs[0::2], *(above if longer_is_num else [])],
        [*pairs[1::2], *([] if longer_is_num else above)],
    )


def _constant(bias: Tensor, last: bool) -> Tensor:
    return bias if last else bias.view(1, -1, 1, 1)
