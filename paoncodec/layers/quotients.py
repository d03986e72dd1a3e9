"""The three quotients of a Padé neuron and their derivatives, on terms that are already computed.

"Padé Neurons for Efficient Neural Models", III-A and III-B: ``P_K = a0 + Σ a_k ⊛ x^k`` and
``Q_L = 1 + Σ b_k ⊛ x^k``; ``P_0 = a0``, ``Q_0 = 1`` and, for an empty polynomial, ``P_{-1} = 0``.

============  =======================================================  ==================
kind          value                                                    source
============  =======================================================  ==================
``smooth``    (Q_L P_K + Q_{L-1} P_{K-1}) / (Q_L² + Q_{L-1}²)          eq. 4, "Paon-S"
``absolute``  P_K / (1 + Σ |b_k ⊛ x^k|)                                "Paon-A"
``vanilla``   P_K / Q_L; has poles                                     eq. 3
============  =======================================================  ==================

All functions expect L ≥ 1 (with L = 0 every kind is the polynomial P_K) and a format with at least
the range of float32.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

#: Smallest value of ``Q_L² + Q_{L-1}²`` that the smooth kind divides by. With L ≤ 1 the sum is at
#: least 1 and the floor never acts. With L ≥ 2 both polynomials can vanish at once; the floor then
#: bounds the neuron: ``|y| ≤ sqrt(P_K² + P_{K-1}²) / sqrt(DENOMINATOR_FLOOR)``. A power of two, so
#: that it is the same number in every format.
DENOMINATOR_FLOOR = 2.0**-13


@dataclass(frozen=True)
class Terms:
    """``a_k ⊛ x^k`` (num) and ``b_k ⊛ x^k`` (den) for k = 1 …, or the places for their gradients.

    All of one shape, in which ``a0`` broadcasts.
    """

    num: Sequence[Tensor]
    den: Sequence[Tensor]

    def at(
        self, part: tuple[slice, ...], then: Callable[[Tensor], Tensor] = lambda term: term
    ) -> Terms:
        """A part of each term, handed through ``then``."""
        return Terms([then(t[part]) for t in self.num], [then(t[part]) for t in self.den])


def _sum(terms: Sequence[Tensor], constant: Tensor) -> Tensor:
    total = constant
    for term in terms:
        total = total + term
    return total


@dataclass(frozen=True)
class _Smooth:
    """The four polynomials of eq. 4, in memory of their own where they are not constants.

    ``scale`` is None, or what Q_L and Q_{L-1} have been divided by so that their squares and their
    products with P do not overflow: powers of x above the first in Q make these very large.
    """

    p: Tensor
    p_low: Tensor
    q: Tensor
    q_low: Tensor
    scale: Tensor | None

    @classmethod
    def of(cls, terms: Terms, a0: Tensor) -> _Smooth:
        num, den = terms.num, terms.den
        p_low = _sum(num[:-1], a0) if num else a0.new_zeros(())
        p = p_low + num[-1] if num else a0
        q_low = _sum(den[:-1], a0.new_ones(()))
        q = q_low + den[-1]
        if len(den) == 1:
            return cls(p, p_low, q, q_low, None)
        scale = torch.maximum(q.abs(), q_low.abs()).clamp_(min=1.0)
        return cls(p, p_low, q / scale, q_low / scale, scale)

    def top(self, out: Tensor | None = None) -> Tensor:
        """``Q_L P_K + Q_{L-1} P_{K-1}``, over scale."""
        return torch.addcmul(self.q_low * self.p_low, self.q, self.p, out=out)

    def squares(self, out: Tensor | None = None) -> Tensor:
        """``Q_L² + Q_{L-1}²`` with the floor, over scale²."""
        value = torch.addcmul(self.q_low * self.q_low, self.q, self.q, out=out)
        # Where scale > 1, the larger of the two was divided by itself: the sum is ≥ 1 already.
        return value if self.scale is None else value.clamp_(min=DENOMINATOR_FLOOR)


# What is no longer needed is written over: fresh memory costs most.


def _smooth_forward(terms: Terms, a0: Tensor, out: Tensor) -> None:
    parts = _Smooth.of(terms, a0)
    top = parts.top(out=parts.p if terms.num else None)
    bottom = parts.squares(out=parts.q)
    torch.div(top, bottom if parts.scale is None else bottom.mul_(parts.scale), out=out)


def _smooth_backward(grad: Tensor, terms: Terms, a0: Tensor, into: Terms) -> Tensor:
    parts = _Smooth.of(terms, a0)
    squares = parts.squares()
    bottom = squares if parts.scale is None else squares * parts.scale
    value = parts.top().div_(bottom)
    share = torch.div(grad, bottom, out=bottom)
    if parts.scale is None:
        _smooth_denominator(parts, value, share, into.den)
    else:
        # Where the floor acts, the divisor is a constant: the value has no part in the slope.
        value.mul_(parts.scale).mul_(squares > DENOMINATOR_FLOOR)
        _smooth_denominator(parts, value, share / parts.scale, into.den)
    return _smooth_numerator(parts, share, into.num)


def _smooth_denominator(
    parts: _Smooth, value: Tensor, share: Tensor, into: Sequence[Tensor]
) -> None:
    """``dy/dQ = (P - 2 y Q) · share`` for both degrees. Writes over ``value``."""
    low = torch.addcmul(parts.p_low, value, parts.q_low, value=-2) if len(into) > 1 else None
    slope = torch.addcmul(parts.p, value, parts.q, value=-2, out=value)
    torch.mul(slope, share, out=into[-1])
    if low is None:
        return
    # The terms below the last are in Q_L and in Q_{L-1}.
    both = low.add_(slope).mul_(share)
    for place in into[:-1]:
        place.copy_(both)


def _smooth_numerator(parts: _Smooth, share: Tensor, into: Sequence[Tensor]) -> Tensor:
    """``dy/dP = Q · share`` for both degrees; returns the gradient of a0. Writes over ``share``."""
    if not into:
        return share.mul_(parts.q)
    torch.mul(share, parts.q, out=into[-1])
    # a0 and the terms below the last are in P_K and in P_{K-1}. Without a scale, Q_{L-1} is 1.
    low = share if parts.scale is None else share * parts.q_low
    both = low.add_(into[-1])
    for place in into[:-1]:
        place.copy_(both)
    return both


def _plain_divisor(den: Sequence[Tensor], a0: Tensor, *, absolute: bool) -> Tensor:
    return _sum([term.abs() for term in den] if absolute else den, a0.new_ones(()))


def _plain_forward(terms: Terms, a0: Tensor, out: Tensor, *, absolute: bool) -> None:
    divisor = _plain_divisor(terms.den, a0, absolute=absolute)
    torch.div(_sum(terms.num, a0), divisor, out=out)


def _plain_backward(
    grad: Tensor, terms: Terms, a0: Tensor, into: Terms, *, absolute: bool
) -> Tensor:
    divisor = _plain_divisor(terms.den, a0, absolute=absolute)
    share = grad / divisor
    slope = (_sum(terms.num, a0) / divisor).mul_(share).neg_()
    for place, term in zip(into.den, terms.den, strict=True):
        place.copy_(slope * term.sign() if absolute else slope)
    for place in into.num:
        place.copy_(share)
    return share


#: By kind: (terms, a0, place for the value).
FORWARD: dict[str, Callable[[Terms, Tensor, Tensor], None]] = {
    "smooth": _smooth_forward,
    "absolute": partial(_plain_forward, absolute=True),
    "vanilla": partial(_plain_forward, absolute=False),
}

#: By kind: (gradient of the value, terms, a0, places) → gradient of a0, before it is summed to a0's
#: shape. Fills the places with the gradients of the terms.
BACKWARD: dict[str, Callable[[Tensor, Terms, Tensor, Terms], Tensor]] = {
    "smooth": _smooth_backward,
    "absolute": partial(_plain_backward, absolute=True),
    "vanilla": partial(_plain_backward, absolute=False),
}
