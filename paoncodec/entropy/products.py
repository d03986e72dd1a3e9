"""The products of exact arithmetic: torch's kernels on NumPy arrays, in float64.

Only multiplications and sums, so on dyadic numbers that :mod:`.exact` keeps in bounds every kernel,
number of threads and machine comes to the same bits.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from paoncodec.layers import PaLaConv2d, PaLaConvTranspose2d

Array = npt.NDArray[np.float64]
#: (activations, weight) → sums of products, with the outputs in dimension 1.
Product = Callable[[Array, Array], Array]

#: Values of patches that a convolution lays out at once.
_PATCH_VALUES = 2**19


def matrix_product(x: Array, weight: Array) -> Array:
    # torch's rather than NumPy's: it heeds ``one_thread``.
    return torch.mm(torch.from_numpy(x), torch.from_numpy(weight)).numpy()


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
    if layer.stride != (1, 1) or isinstance(layer.padding, str):
        return lambda x, weight: _reference(F.conv2d, x, weight, *options)
    sides = [side for side in layer.padding[::-1] for _ in range(2)]

    def product(x: Array, weight: Array) -> Array:
        padded = F.pad(torch.from_numpy(x), sides).numpy()
        return _in_bands(padded, weight, layer.dilation, layer.groups)

    return product


def transposed(layer: nn.ConvTranspose2d) -> Product:
    if isinstance(layer.padding, str):  # torch's layer has none of these
        raise TypeError(f"{layer!r}: padding must be numbers")
    options = (layer.stride, layer.padding, layer.output_padding)

    def product(x: Array, weight: Array) -> Array:
        return _transposed_in_bands(x, weight, *options)

    return product


def masked(x: Array, weight: Array) -> Array:
    return _reference(F.conv2d, x, weight, 1, weight.shape[2] // 2)


def pade_convolution(layer: PaLaConv2d) -> Product:
    border, mode = layer.padding, layer.padding_mode
    if layer.stride == 1:
        return lambda x, weight: _in_bands(_padded(x, border, mode), weight)
    return lambda x, weight: _reference(F.conv2d, _padded(x, border, mode), weight, layer.stride)


def pade_transposed(layer: PaLaConvTranspose2d) -> Product:
    border, mode, stride = layer.border, layer.padding_mode, layer.stride
    options = (stride, layer.padding + stride * border, layer.output_padding)
    return lambda x, weight: _reference(
        F.conv_transpose2d, _padded(x, border, mode), weight, *options
    )


def _padded(x: Array, border: int, mode: str) -> Array:
    sides = ((0, 0), (0, 0), (border, border), (border, border))
    return np.pad(x, sides, "edge") if mode == "replicate" else np.pad(x, sides)


def _in_bands(
    x: Array, weight: Array, dilation: tuple[int, ...] = (1, 1), groups: int = 1
) -> Array:
    """A convolution of stride 1 without border, some rows at a time.

    torch lays out every patch that a float64 kernel sees. Of a large picture these do not fit into
    memory, of a small one not into the processor's cache.
    """
    rows, width = (
        side - spacing * (kernel - 1)
        for side, spacing, kernel in zip(x.shape[2:], dilation, weight.shape[2:], strict=True)
    )
    seen = x.shape[2] - rows
    most = max(1, _PATCH_VALUES // max(1, width * weight[0].size))
    if rows <= most:
        return _reference(F.conv2d, x, weight, 1, 0, dilation, groups)
    # Parts that wait for the others would lie between what is freed, and memory would grow.
    whole = np.empty((len(x), len(weight), rows, width))
    for first in range(0, rows, most):
        band = x[:, :, first : first + most + seen]
        part = _reference(F.conv2d, band, weight, 1, 0, dilation, groups)
        whole[:, :, first : first + most] = part
    return whole


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
