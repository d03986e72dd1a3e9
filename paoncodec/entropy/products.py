"""The products of exact arithmetic: torch's kernels on NumPy arrays, in float64.

Only multiplications and sums, so on dyadic numbers that :mod:`.exact` keeps in bounds every kernel,
number of threads and machine comes to the same bits.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor, nn
from torch.nn import functional as F

from paoncodec.layers import PaLaConv2d, PaLaConvTranspose2d

Array = npt.NDArray[np.float64]
#: Activations → sums of products, with the outputs in dimension 1.
Sums: TypeAlias = Callable[[Array], Array]
#: Weight, and how many times as large as they can be sums would still be exact → their sums.
Product: TypeAlias = Callable[[Array, float], Sums]

#: Values of patches that a convolution lays out at once.
_PATCH_VALUES = 2**19
#: Values, in and out, of what is halved at once.
_HALVED_VALUES = 2**21
#: Input channels from which on halving saves more than it costs (measured).
_HALVED_CHANNELS = 32


def matrix_product(weight: Array, spare: float) -> Sums:
    columns = torch.from_numpy(weight)
    # torch's rather than NumPy's: it heeds ``one_thread``.
    return lambda x: torch.mm(torch.from_numpy(x), columns).numpy()


class _OneThread:
    """torch works in the calling thread alone: for products so small that waking others costs more.

    On a busy machine waiting for them costs very much more. torch's number of threads belongs to
    the process or to the calling thread, as it was built: whoever leaves gives back the number
    that the first to enter found, which is right for both.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._threads = 1

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._threads = torch.get_num_threads()
            self._inside += 1
            torch.set_num_threads(1)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            torch.set_num_threads(self._threads)


one_thread = _OneThread()


def convolution(layer: nn.Conv2d) -> Product:
    options = (layer.stride, layer.padding, layer.dilation, layer.groups)
    plain = layer.dilation == (1, 1) and layer.groups == 1
    sides = layer.padding
    if layer.stride != (1, 1) or isinstance(sides, str) or not plain:
        return lambda weight, spare: lambda x: _reference(F.conv2d, x, weight, *options)
    return lambda weight, spare: _bordered(short_convolution(weight, spare), (*sides,))


def transposed(layer: nn.ConvTranspose2d) -> Product:
    if isinstance(layer.padding, str):  # torch's layer has none of these
        raise TypeError(f"{layer!r}: padding must be numbers")
    options = (layer.stride, layer.padding, layer.output_padding)
    sides = tuple(k - 1 - p for k, p in zip(layer.kernel_size, layer.padding, strict=True))
    if layer.stride != (1, 1) or any(layer.output_padding) or min(sides) < 0:
        return lambda weight, spare: lambda x: _transposed_in_bands(x, weight, *options)

    def product(weight: Array, spare: float) -> Sums:
        # The kernel turned round, from outputs to inputs: a convolution.
        kernel = np.ascontiguousarray(weight.swapaxes(0, 1)[:, :, ::-1, ::-1])
        return _bordered(short_convolution(kernel, spare), sides)

    return product


def masked(weight: Array, spare: float) -> Sums:
    return lambda x: _reference(F.conv2d, x, weight, 1, weight.shape[2] // 2)


def pade_convolution(layer: PaLaConv2d) -> Product:
    border, mode = (layer.padding,) * 2, layer.padding_mode
    if layer.stride == 1:
        return lambda weight, spare: _bordered(short_convolution(weight, spare), border, mode)
    return lambda weight, spare: (
        lambda x: _reference(F.conv2d, _padded(x, border, mode), weight, layer.stride)
    )


def pade_transposed(layer: PaLaConvTranspose2d) -> Product:
    border, mode, stride = layer.border, layer.padding_mode, layer.stride
    options = (stride, layer.padding + stride * border, layer.output_padding)
    return lambda weight, spare: (
        lambda x: _reference(
            F.conv_transpose2d, _padded(x, (border, border), mode), weight, *options
        )
    )


def _bordered(sums: Sums, border: tuple[int, ...], mode: str = "zeros") -> Sums:
    return lambda x: sums(_padded(x, border, mode))


def short_convolution(weight: Array, spare: float) -> Sums:
    """A convolution of stride 1 without border, with a third fewer products where that pays.

    Rows, then columns, are parted into even and odd ones (E, O), and so are those of the kernel
    (e, o). Of each pair of outputs one is e∗E + o∗O, the other e∗O + o∗E = (e + o)∗(E + O) − e∗O −
    o∗E: three products of half the length in place of four (fast FIR algorithms: Mou and Duhamel,
    "Short-Length FIR Filters and Their Use in Fast Nonrecursive Filtering", 1991). Sums of a few
    times the size occur on the way, which is what `spare` must allow: all of it stays exact.

    Maps are worked on with their channels last, as patches are multiplied fastest; what comes out
    lies in memory so, and goes into the next convolution without being copied.

    Args:
        weight: (O, C, h, w).
        spare: sums may become so many times as large as they can be.
    """
    axes = [axis for axis in (1, 2) if weight.shape[axis + 1] > 1]
    if weight.shape[1] < _HALVED_CHANNELS or spare <= 2.0 ** (len(axes) + 1):
        axes = []
    kernel = np.ascontiguousarray(weight.transpose(2, 3, 1, 0))[np.newaxis]
    sums = _halved(kernel, axes)
    seen = kernel.shape[1] - 1

    def in_bands(x: Array) -> Array:
        maps = x.transpose(0, 2, 3, 1)
        rows = maps.shape[1] - seen
        values = maps.shape[2] * (maps.shape[3] + len(weight))
        most = max(2, _HALVED_VALUES // values // 2 * 2)
        if not axes or rows <= most:
            return sums(maps).transpose(0, 3, 1, 2)
        bands = (sums(maps[:, at : at + most + seen]) for at in range(0, rows, most))
        return _stacked(bands, rows).transpose(0, 3, 1, 2)

    return in_bands


def _stacked(bands: Iterable[Array], rows: int) -> Array:
    """Bands (B, h, W, O) one below the other, each put in its place as it is made.

    Parts that wait for the others would lie between what is freed, and memory would grow.
    """
    whole, at = np.empty(0), 0
    for band in bands:
        if not at:
            whole = np.empty((len(band), rows, *band.shape[2:]))
        whole[:, at : at + band.shape[1]] = band
        at += band.shape[1]
    return whole


def _halved(kernel: Array, axes: Sequence[int]) -> Sums:
    """(B, H, W, C) → (B, H', W', O) for a kernel (1, h, w, C, O), halved along these axes."""
    if not axes:
        return _direct(kernel[0])
    axis, *others = axes
    even, odd = _alternate(kernel, axis)
    both = even.copy()
    _part(both, axis, 0, odd.shape[axis])[:] += odd
    of_even, of_odd, of_both = (_halved(part, others) for part in (even, odd, both))

    def sums(x: Array) -> Array:
        count = x.shape[axis] - kernel.shape[axis] + 1
        half = -(-count // 2)
        if count % 2:  # one more, which is cut off again
            x = np.pad(x, [(0, int(axis == k)) for k in range(4)])
        x_even, x_odd = _alternate(x, axis)
        seen = half + even.shape[axis] - 1
        straight = of_even(_part(x_odd, axis, 0, seen))
        crossed = of_odd(_part(x_even, axis, 0, half + odd.shape[axis]))
        first = of_both(_part(x_even, axis, 0, seen) + _part(x_odd, axis, 0, seen))
        first -= straight
        first -= _part(crossed, axis, 0, half)
        straight += _part(crossed, axis, 1, half)
        out = np.empty([2 * half if axis == k else side for k, side in enumerate(first.shape)])
        for outputs, here in zip((first, straight), _alternate(out, axis), strict=True):
            here[:] = outputs
        return _part(out, axis, 0, count)

    return sums


def _direct(kernel: Array) -> Sums:
    """(B, H, W, C) → (B, H', W', O) for a kernel (h, w, C, O), some rows at a time.

    Every patch is laid out. Of a large picture these do not fit into memory, of a small one not
    into the processor's cache.
    """
    height, width = kernel.shape[:2]
    columns = kernel.reshape(-1, kernel.shape[3])
    products = matrix_product(columns, 1.0)

    def rows_of(x: Array) -> Array:
        places = sliding_window_view(x, height, 1, writeable=True)
        places = sliding_window_view(places, width, 2, writeable=True)
        patches = places.transpose(0, 1, 2, 4, 5, 3).reshape(-1, len(columns))
        return products(patches).reshape(*places.shape[:3], -1)

    def sums(x: Array) -> Array:
        rows = x.shape[1] - height + 1
        across = len(x) * (x.shape[2] - width + 1)
        most = max(1, _PATCH_VALUES // max(1, across * len(columns)))
        if rows <= most:
            return rows_of(x)
        bands = (rows_of(x[:, at : at + most + height - 1]) for at in range(0, rows, most))
        return _stacked(bands, rows)

    return sums


def _alternate(x: Array, axis: int) -> tuple[Array, Array]:
    """The even and the odd places along an axis."""
    return x[_along(axis, slice(0, None, 2))], x[_along(axis, slice(1, None, 2))]


def _part(x: Array, axis: int, first: int, count: int) -> Array:
    """`count` places along an axis."""
    return x[_along(axis, slice(first, first + count))]


def _along(axis: int, places: slice) -> tuple[slice, ...]:
    return (slice(None),) * axis + (places,)


def _padded(x: Array, border: tuple[int, ...], mode: str) -> Array:
    if not any(border):
        return x
    # In the order of memory, which is that of the result.
    last = x.transpose(0, 2, 3, 1)
    sides = ((0, 0), *((side, side) for side in border), (0, 0))
    padded = np.pad(last, sides, "edge") if mode == "replicate" else np.pad(last, sides)
    return padded.transpose(0, 3, 1, 2)


def _transposed_in_bands(
    x: Array,
    weight: Array,
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    output_padding: tuple[int, ...],
) -> Array:
    """A transposed convolution, some rows of ``x`` at a time, for what :func:`_in_bands` is for.

    Where the outputs of two bands overlap they are added: exact sums may be taken in any order.
    """
    height, width = x.shape[2:]
    most = max(1, _PATCH_VALUES // max(1, width * weight[0].size))
    if height <= most:
        options = (stride, padding, output_padding)
        return _reference(F.conv_transpose2d, x, weight, *options)
    kernel = weight.shape[2:]
    # All that the kernels reach; what lies beyond that, by the output padding, stays 0.
    rows, columns = (
        (side - 1) * step + k + more
        for side, step, k, more in zip((height, width), stride, kernel, output_padding, strict=True)
    )
    sums = np.zeros((len(x), weight.shape[1], rows, columns))
    reached = columns - output_padding[1]
    for first in range(0, height, most):
        part = _reference(F.conv_transpose2d, x[:, :, first : first + most], weight, stride)
        start = first * stride[0]
        sums[:, :, start : start + part.shape[2], :reached] += part
    (above, left), (below, right) = padding, padding
    return sums[:, :, above : rows - below, left : columns - right]


def _reference(convolve: Callable[..., Tensor], x: Array, weight: Array, *options: object) -> Array:
    """torch's own kernels, which only multiply and add.

    Those that transform a convolution (Winograd, FFT) take float32 and less, so float64 needs no
    switch of torch's, which would hold for all threads of the process.
    """
    with torch.inference_mode():
        return convolve(torch.from_numpy(x), torch.from_numpy(weight), None, *options).numpy()
