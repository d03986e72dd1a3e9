"""The 2D product unit: products of powers of a neighbourhood's values, computed by logarithms.

"PURe: A Plug-and-Play Product-Unit Residual Module for Vision Networks", 3.1; product units are of
Durbin and Rumelhart, "Product Units: A Computationally Powerful and Biologically Plausible
Extension to Backpropagation Networks" (1989).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from paoncodec.layers.base import require_at_least, require_groups, result_dtype

#: Exponents above this are held there: outputs end at e^40 = 2.4e17, whose square, which a batch
#: norm sums, is still far from the end of float32.
EXPONENT_LIMIT = 40.0
#: The same where the output is float16, which ends at 65504: e^11 = 59874.
_HALF_LIMIT = 11.0
#: What the threshold is never below.
THRESHOLD_FLOOR = 1e-7


class ProductUnit2d(nn.Module):
    """Multiplicative convolution: (B, C_in, H, W) → (B, C_out, H', W'), all values ≥ 0.

    ``y(o, i, j) = Π_{c, m, n} max(x(c, i+m, j+n), τ)^w(o, c, m, n)``, computed as
    ``exp(w ⊛ log max(x, τ))`` (eq. 3), with ``τ = softplus(θ) + 1e-7`` learned, one for the layer.
    Outside the picture the factors are 1, the neutral ones of a product. A product is above 0, but
    may be too small for the format.
    ``H' = floor((H + 2·padding - dilation·(kernel_size - 1) - 1) / stride) + 1``.

    Parameters: ``weight`` (C_out, C_in / groups, k, k), the exponents, ``theta`` (), and ``bias``
    (C_out,) or None.

    Args:
        in_channels, out_channels: numbers of channels.
        kernel_size: side of the square kernel.
        stride: step of the output positions.
        padding: pixels of border; default ``dilation · (kernel_size // 2)``.
        dilation: step of the kernel's taps.
        groups: blocks of channels that do not see each other; divides both numbers of channels.
        bias: whether each output has a learned factor ``exp(bias)``, 1 at first.
        threshold: what τ starts at, in (1e-7, 1]. The paper does not say. The slope of the
            logarithm at τ is 1 / τ: the lower it is, the more gradients grow on their way back
            through a deep network.
        deviation: of a new unit's exponents on standard normal inputs, the standard one, > 0. With
            0.5 outputs have mean 1.13 and standard deviation 0.60; 0.05, nearer to the constant 1,
            is for deep networks whose units no batch norm follows.

    All of it is computed in float32 where autocast, or the input, is of a shorter format; the
    output is of that format. For finite inputs and weights up to 1e3 outputs are finite: exponents
    are held at 40 (at 11 where the output is float16), and :func:`guarded_values` counts those that
    were. A held value passes no gradient, as an input below τ passes none but to τ. Gradients of
    the inputs are at most ``e^40 · Σ|w| / τ`` times the output's.

    Raises:
        ValueError: impossible sizes, groups, threshold or deviation.
    """

    bias: nn.Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int | None = None,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = False,
        threshold: float = 0.5,
        deviation: float = 0.5,
    ) -> None:
        super().__init__()
        require_at_least(1, kernel_size=kernel_size, stride=stride, dilation=dilation)
        padding = dilation * (kernel_size // 2) if padding is None else padding
        require_at_least(0, padding=padding)
        require_groups(groups, in_channels, out_channels)
        if not THRESHOLD_FLOOR < threshold <= 1:
            raise ValueError(f"threshold {threshold}: must be in ({THRESHOLD_FLOOR}, 1], e.g. 0.5")
        if not 0 < deviation < math.inf:
            raise ValueError(f"deviation {deviation}: must be above 0, e.g. 0.5")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding
        self.dilation = dilation
        self.groups = groups
        self.threshold = threshold
        self.deviation = deviation
        shape = (out_channels, in_channels // groups, kernel_size, kernel_size)
        self.weight = nn.Parameter(torch.empty(shape))
        self.theta = nn.Parameter(torch.empty(()))
        factors = nn.Parameter(torch.empty(out_channels)) if bias else None
        self.register_parameter("bias", factors)
        # Not a buffer: processes that train together would all be given the first one's.
        self._guarded = torch.zeros((), dtype=torch.int64, device="cpu")
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start as ratios: each output's exponents are normal numbers whose sum is 0.

        Inputs that are all larger by a factor, and above τ, then give the same outputs, so what one
        layer adds to a network hardly makes the next one's larger. Of a single exponent the sum is
        left as it is drawn.
        """
        fan_in = self.weight[0].numel()
        spread = self.deviation / (_log_deviation(self.threshold) * math.sqrt(fan_in))
        with torch.no_grad():
            nn.init.normal_(self.weight, 0, spread)
            if fan_in > 1:
                self.weight.sub_(self.weight.mean((1, 2, 3), keepdim=True))
                self.weight.mul_(math.sqrt(fan_in / (fan_in - 1)))
            if self.bias is not None:
                self.bias.zero_()
            # The inverse of softplus, exact also for small thresholds.
            self.theta.fill_(math.log(math.expm1(self.threshold - THRESHOLD_FLOOR)))

    @property
    def tau(self) -> Tensor:
        """τ, what inputs are raised to at least: a scalar > 0."""
        return _threshold(self.theta)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) → (B, C_out, H', W'), in the format a convolution would give."""
        dtype = result_dtype(x)
        half = dtype == torch.float16
        with torch.autocast(x.device.type, enabled=False):
            exponents = self._exponents(x)
            limit = _HALF_LIMIT if half else EXPONENT_LIMIT
            held = (exponents.detach() > limit).sum()
            self._guarded = self._guarded.to(held.device) + held
            return exponents.clamp(max=limit).exp().to(dtype)

    def _exponents(self, x: Tensor) -> Tensor:
        """w ⊛ log max(x, τ) + bias, in float32 or, of such inputs, in float64."""
        x = x if x.dtype == torch.float64 else x.float()
        logs = torch.maximum(x, _threshold(self.theta.to(x.dtype))).log()
        bias = None if self.bias is None else self.bias.to(x.dtype)
        places = (self.stride, self.padding, self.dilation, self.groups)
        return F.conv2d(logs, self.weight.to(x.dtype), bias, *places)

    def take_guarded(self) -> int:
        """How many outputs were held at the limit since this was last asked."""
        count = int(self._guarded)
        self._guarded = torch.zeros_like(self._guarded)
        return count

    def extra_repr(self) -> str:
        """What ``repr`` shows."""
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        for name, usual in (("stride", 1), ("dilation", 1), ("groups", 1)):
            value = getattr(self, name)
            text += f", {name}={value}" if value != usual else ""
        text += ", bias=True" if self.bias is not None else ""
        usual_padding = self.dilation * (self.kernel_size // 2)
        return text + (f", padding={self.padding}" if self.padding != usual_padding else "")


def guarded_values(model: nn.Module) -> int:
    """Outputs that all product units of a network have held at the limit since last asked.

    For a training's record: a number that stays above 0 tells of a learning rate that is too high.
    """
    return sum(unit.take_guarded() for unit in model.modules() if isinstance(unit, ProductUnit2d))


def _threshold(theta: Tensor) -> Tensor:
    return F.softplus(theta) + THRESHOLD_FLOOR


def _log_deviation(threshold: float) -> float:
    """Standard deviation of ``log max(x, threshold)`` for a standard normal x."""
    # On the CPU also where a network is made on another device, or on none.
    places = (torch.arange(4096, dtype=torch.float64, device="cpu") + 0.5) / 4096
    values = torch.special.ndtri(places).clamp(min=threshold).log()
    return float(values.std(correction=0))
