"""What all Padé layers share: parameters and their start, powers of the input, the products.

"Padé Neurons for Efficient Neural Models", III-A.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from paoncodec.layers.rational import Kind, PadeSpec, denominator, rational

#: Bound of the uniform start of the denominator weights, in units of 1/sqrt(fan_in). Not 0: behind
#: the absolute value of the "absolute" kind, weights of exactly 0 have no gradient and never learn.
DENOMINATOR_START = 0.05


#: Values of a layer's largest intermediate that a CPU works on at a time.
_PART_SIZE = 2**21


class PaLa(nn.Module):
    """A Padé layer without its linear part, which :meth:`_stack` and :meth:`_product` supply.

    Parameters: ``numerator`` (K·n, ...) and ``denominator`` (L·n, ...), the weights a_k and b_k one
    after the other along the first dimension, where (n, ...) is the weight shape of the torch layer
    of the same name; None for a degree of 0. ``bias`` (out_channels,) is a0.

    Args:
        in_channels, out_channels: sizes of dimension 1 of input and output.
        weight_shape: (n, ...).
        fan_in: number of products in the sum of one output, which scales the start.
        degrees: (K, L).
        kind: see :class:`.PadeSpec`.
        groups: blocks of channels that do not see each other.

    Raises:
        ValueError: impossible sizes, groups, degrees or kind.
    """

    numerator: nn.Parameter | None
    denominator: nn.Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        weight_shape: Sequence[int],
        fan_in: int,
        degrees: tuple[int, int],
        kind: Kind,
        groups: int = 1,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.groups = groups
        self.spec = PadeSpec(*degrees, kind)
        self.fan_in = fan_in
        # Degrees share the first dimension: torch lays only 4-dimensional weights channels-last.
        rows, *rest = weight_shape
        for name, degree in (("numerator", self.spec.num), ("denominator", self.spec.den)):
            weight = nn.Parameter(torch.empty(degree * rows, *rest)) if degree else None
            self.register_parameter(name, weight)
        self.bias = nn.Parameter(torch.empty(out_channels))
        self._denominator_hooks: dict[int, Callable[[Tensor], None]] = OrderedDict()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start near a linear layer of unit gain.

        With b = 0 and L ≥ 1 a smooth neuron is ``(P_K + P_{K-1}) / 2``. With K = 1 that halves the
        first-degree weights, so they are doubled; with K > 1 they are in both polynomials. Higher
        numerator degrees start at 0 (they have a gradient at once), denominators small and random.
        """
        bound = 1 / math.sqrt(self.fan_in)
        halved = self.spec.kind == "smooth" and self.spec.den > 0 and self.spec.num == 1
        # A uniform distribution of bound sqrt(3)·s has standard deviation s.
        reach = math.sqrt(3) * bound * (2 if halved else 1)
        nn.init.uniform_(self.bias, -bound, bound)
        if self.numerator is not None:
            nn.init.zeros_(self.numerator)
            nn.init.uniform_(self.terms("numerator")[0], -reach, reach)
        if self.denominator is not None:
            reach = DENOMINATOR_START * bound
            nn.init.uniform_(self.denominator, -reach, reach)

    def terms(self, name: Literal["numerator", "denominator"]) -> Tensor:
        """The weights of a polynomial by degree, a view: (K or L, n, ...).

        Raises:
            ValueError: the polynomial has no terms (degree 0).
        """
        weight = self.numerator if name == "numerator" else self.denominator
        degree = self.spec.num if name == "numerator" else self.spec.den
        if weight is None:
            raise ValueError(f"the {name} of {self!r} has degree 0, hence no weights")
        return weight.unflatten(0, (degree, -1))

    def register_denominator_hook(self, hook: Callable[[Tensor], None]) -> RemovableHandle:
        """Has ``hook`` called with Q_L in each forward, to watch how near it comes to zero.

        It gets (images, out_channels, ...) without a gradient; of the absolute kind, the divisor. A
        large batch comes in several calls, a few images each.

        Returns:
            A handle whose ``remove()`` ends it.

        Raises:
            ValueError: the layer has no denominator (L = 0).
        """
        if not self.spec.den:
            raise ValueError(f"{self!r} has no denominator to watch")
        handle = RemovableHandle(self._denominator_hooks)
        self._denominator_hooks[handle.id] = hook
        return handle

    def _stack(self, weights: Sequence[Tensor]) -> Tensor:
        """Weights of one or two polynomials, each (D, n, ...), as one weight of D·groups groups.

        Its outputs are ordered (degree, group, polynomial, channel of the group).
        """
        raise NotImplementedError

    def _product(self, x: Tensor, weight: Tensor, groups: int, *places: Tensor) -> Tensor:
        """The linear part: (B, D·in_channels, ...) → (B, channels, ...).

        ``places``: what the layer gave to :meth:`_pade` beside x.
        """
        raise NotImplementedError

    def _pade(self, x: Tensor, *places: Tensor) -> Tensor:
        spec = self.spec
        stacks = self._polynomials(_powers(x, spec.longest), *places)
        if self._denominator_hooks:
            q = denominator(stacks, spec, self.groups)
            for hook in self._denominator_hooks.values():
                hook(q)
        return rational(stacks, self.bias, spec, self.groups)

    def _polynomials(self, powers: Sequence[Tensor], *places: Tensor) -> list[Tensor]:
        """The terms of both, as :func:`.rational` takes them.

        Degrees that both polynomials have are one product; those of the longer one a second.
        """
        spec, shared = self.spec, self.spec.shared
        stacks = []
        if shared:
            both = [self.terms("numerator"), self.terms("denominator")]
            # Slicing would cost a copy of the gradient even where it takes everything.
            both = [w if len(w) == shared else w[:shared] for w in both]
            stacks.append(self._products(powers[:shared], both, *places))
        if spec.longest > shared:
            longer = self.terms("numerator" if spec.num > spec.den else "denominator")
            stacks.append(self._products(powers[shared:], [longer[shared:]], *places))
        return stacks

    def _products(
        self, powers: Sequence[Tensor], weights: Sequence[Tensor], *places: Tensor
    ) -> Tensor:
        x = powers[0] if len(powers) == 1 else torch.cat(list(powers), dim=1)
        return self._product(x, self._stack(weights), len(powers) * self.groups, *places)

    def _terms_of(self, x: Tensor, scale: float = 1.0) -> int:
        """About how many values the terms of one image have, for ``scale`` times its positions."""
        degrees = self.spec.num + self.spec.den
        return 1 + int(degrees * self.out_channels * scale * x.shape[2:].numel())

    def extra_repr(self) -> str:
        """What ``repr`` shows."""
        spec = self.spec
        groups = f", groups={self.groups}" if self.groups > 1 else ""
        return (
            f"{self.in_channels}, {self.out_channels}, degrees=({spec.num}, {spec.den}), "
            f"kind={spec.kind!r}{groups}"
        )


def by_images(layer: Callable[[Tensor], Tensor], x: Tensor, values: int) -> Tensor:
    """``layer(x)``, on a CPU a few images at a time.

    Large batches then need less memory, and less time: what a part has freed the next takes again,
    while blocks of many megabytes come anew from the system each time.

    Args:
        layer: treats each image by itself.
        x: (B, ...).
        values: size of the layer's largest intermediate for one image.
    """
    images = max(1, _PART_SIZE // values)
    if x.device.type != "cpu" or len(x) <= images:
        return layer(x)
    return torch.cat([layer(part) for part in x.split(images)])


def _powers(x: Tensor, longest: int) -> list[Tensor]:
    """x, x², … x^longest by repeated multiplication, in the dtype of x.

    Where a float16 product follows, they are computed in float32 and saturate at ±65504.
    """
    if longest == 1:
        return [x]
    half = becomes_half(x)
    base = x.float() if half else x
    powers = [base, base.square()]  # whose gradient takes a pass less than that of base * base
    while len(powers) < longest:
        powers.append(powers[-1] * base)
    if not half:
        return powers
    limit = torch.finfo(torch.float16).max
    return [p.clamp(-limit, limit).to(x.dtype) for p in powers]


def becomes_half(x: Tensor) -> bool:
    """Whether a product with ``x`` is computed in float16."""
    return result_dtype(x) == torch.float16


def result_dtype(x: Tensor) -> torch.dtype:
    """Of a product with ``x``. Autocast leaves float64 as it is."""
    device = x.device.type
    if torch.is_autocast_enabled(device) and x.dtype != torch.float64:
        return torch.get_autocast_dtype(device)
    return x.dtype


def require_at_least(least: int, **values: int) -> None:
    """Check arguments of a constructor.

    Raises:
        ValueError: one of them is smaller; names it, its value and the smallest legal one.
    """
    for name, value in values.items():
        if value < least:
            raise ValueError(f"{name} {value}: must be >= {least}")


def require_groups(groups: int, in_channels: int, out_channels: int) -> None:
    """Check that ``groups`` divides both numbers of channels.

    Raises:
        ValueError: it does not, or one of the three is below 1.
    """
    require_at_least(1, in_channels=in_channels, out_channels=out_channels, groups=groups)
    if in_channels % groups or out_channels % groups:
        raise ValueError(
            f"groups {groups}: must divide in_channels {in_channels} "
            f"and out_channels {out_channels}"
        )
