"""A codec's entropy model in exact arithmetic: integers to strings and back.

The hyper-latents come first; how the latents follow, a :class:`.Walk` says, which each architecture
has its own of.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from paoncodec.entropy import (
    ACTIVATION_BITS,
    VALUE_LIMIT,
    Array,
    Estimator,
    FrozenTables,
    GaussianTables,
    Integers,
    Meter,
    Reader,
    Select,
    Stop,
    SymbolModel,
    TableSelector,
    Walk,
    Writer,
    exact_sequence,
    to_activation,
    unchanged,
)
from paoncodec.errors import MalformedStream, WeightsError

#: Of y: to integers, or to whole steps from its predicted means.
Rounding = Literal["integers", "means"]
ROUNDINGS: tuple[Rounding, ...] = get_args(Rounding)


@dataclass(frozen=True)
class CodedLatents:
    """Strings of one image, and :meth:`ExactModel.digest` of the latents in them."""

    y: bytes
    z: bytes
    digest: int


class ExactModel:
    """Estimates, encodes and decodes the latents of one image at a time, always on the CPU.

    Args:
        h_s: hyper decoder; its weights are rounded to dyadic numbers here.
        medians: (C,) of z.
        z_tables: one table per channel of z.
        y_tables: tables of y.
        make_walk: the walk over y, with the gate from its networks to the tables.
        rounding: of y. What is rounded around means lies on the grid of exact arithmetic.

    Raises:
        WeightsError: a layer's sums could leave exact arithmetic, or tables are damaged.
    """

    def __init__(
        self,
        h_s: nn.Sequential,
        medians: Tensor,
        z_tables: FrozenTables,
        y_tables: GaussianTables,
        make_walk: Callable[[Select], Walk],
        rounding: Rounding = "integers",
    ) -> None:
        self._hyper_synthesis = exact_sequence(h_s, "h_s")
        centres = medians.detach().cpu().double().numpy()
        self._medians = to_activation(centres)[:, None, None]
        if not np.isfinite(centres).all() or len(centres) != len(z_tables):
            raise WeightsError(
                f"{len(z_tables)} probability tables of z for {len(centres)} channels, or medians "
                "that are not finite: run update() or take other weights"
            )
        self._z_model = SymbolModel(z_tables)
        self._y_model = SymbolModel(y_tables)
        self._around_means = rounding == "means"
        self._walk = make_walk(TableSelector(y_tables, self._around_means))

    def estimate(self, y: Tensor, z: Tensor) -> dict[str, float]:
        """Bits of y and of z; arguments as for :meth:`encode`."""
        z_count, y_count = Estimator(self._z_model), Estimator(self._y_model)
        self._visit(z_count, y_count, _shape(z), self.round_z(z), self._given(y))
        return {"y": y_count.bits, "z": z_count.bits}

    def rounded(self, y: Tensor, z: Tensor) -> tuple[Tensor, dict[str, Array]]:
        """What :meth:`decode` gives of :meth:`encode`, and what it costs, without the coding.

        Args:
            y, z: as for :meth:`encode`.

        Returns:
            ŷ (M, H, W) float32, and the bits of each latent: ``y`` (M, H, W), ``z`` (C, H/4, W/4).
        """
        z_count, y_count = Meter(self._z_model, unchanged), Meter(self._y_model, unchanged)
        _, y_hat = self._visit(z_count, y_count, _shape(z), self.round_z(z), self._given(y))
        bits = np.empty(y.numel())
        bits[self._walk.order(*y_hat.shape[1:])] = y_count.bits()
        by_latent = {"y": bits.reshape(y_hat.shape), "z": z_count.bits().reshape(z.shape)}
        return torch.from_numpy(y_hat).float(), by_latent

    def encode(self, y: Tensor, z: Tensor) -> CodedLatents:
        """
        Args:
            y: (M, H, W), latents before rounding.
            z: (C, H/4, W/4), hyper-latents before rounding.

        Raises:
            WeightsError: they are not finite.
        """
        z_write, y_write = Writer(self._z_model), Writer(self._y_model)
        z_int = self.round_z(z)
        _, y_hat = self._visit(z_write, y_write, _shape(z), z_int, self._given(y))
        return CodedLatents(y_write.getvalue(), z_write.getvalue(), self.digest(z_int, y_hat))

    def decode(self, y: bytes, z: bytes, shape: tuple[int, int]) -> tuple[Tensor, int]:
        """
        Args:
            y, z: strings.
            shape: height and width of z.

        Returns:
            ŷ (M, 4·height, 4·width) float32, and the digest of the latents.

        Raises:
            MalformedStream: strings that no encoder writes for this shape.
        """
        z_read, y_read = self._readers(y, z)
        z_int, y_hat = self._visit(z_read, y_read, shape)
        z_read.finish()
        y_read.finish()
        return torch.from_numpy(y_hat).float(), self.digest(z_int, y_hat)

    def spent(self, y: bytes, z: bytes, shape: tuple[int, int]) -> dict[str, Array]:
        """Where the bits of a file went: arguments and errors as for :meth:`decode`.

        Returns:
            Bits at each position, all channels together: ``z`` of ``shape``, ``y`` (4·height,
            4·width).
        """
        z_read, y_read = self._readers(y, z)
        z_count, y_count = Meter(self._z_model, z_read), Meter(self._y_model, y_read)
        self._visit(z_count, y_count, shape)
        z_read.finish()
        y_read.finish()
        sides = 4 * shape[0], 4 * shape[1]
        positions = self._walk.order(*sides) % (sides[0] * sides[1])
        return {
            "z": z_count.bits().reshape(-1, *shape).sum(axis=0),
            "y": np.bincount(positions, y_count.bits()).reshape(sides),
        }

    def _readers(self, y: bytes, z: bytes) -> tuple[Reader, Reader]:
        """Of z and of y."""
        return Reader(self._z_model, z, "z"), Reader(self._y_model, y, "y")

    def round_z(self, z: Tensor) -> Integers:
        """Hyper-latents as integers around their channels' medians."""
        return np.rint(_legal(z, self._medians)).astype(np.int64)

    def _given(self, y: Tensor) -> Array:
        """Latents as the walk takes them."""
        if not self._around_means:
            return round_y(y)
        # A step from there to a mean's side is still within ±VALUE_LIMIT.
        return _legal(y).clip(1 - VALUE_LIMIT, VALUE_LIMIT - 1)

    def digest(self, z: Integers, y: Array) -> int:
        """CRC-32 of z, then y, as little-endian int32 in (channel, row, column) order.

        Where y is rounded around its means, in units of the grid of exact arithmetic.
        """
        crc = zlib.crc32(z.astype("<i4").tobytes())
        units = y * 2.0**ACTIVATION_BITS if self._around_means else y
        return zlib.crc32(units.astype("<i4").tobytes(), crc)

    def _visit(
        self,
        z_stop: Stop,
        y_stop: Stop,
        shape: tuple[int, int],
        z: Integers | None = None,
        y: Array | None = None,
    ) -> tuple[Integers, Array]:
        """The one walk: z, then y, whatever is done at each stop."""
        channels = len(self._medians)
        tables = np.repeat(np.arange(channels), shape[0] * shape[1])
        values = z_stop(tables, None if z is None else z.ravel())
        z = values.reshape(channels, *shape)
        if np.abs(z).max() > VALUE_LIMIT:
            raise MalformedStream("z", 0, f"a hyper-latent beyond ±{VALUE_LIMIT}")
        hyper = self._hyper_synthesis(to_activation(z + self._medians)[None])[0]
        return z, self._walk(hyper, y_stop, y)


def _shape(z: Tensor) -> tuple[int, int]:
    return z.shape[1], z.shape[2]


def round_y(y: Tensor) -> Array:
    """Latents rounded to integers: what the decoder will see."""
    return np.rint(_legal(y)) + 0.0  # no negative zeros: what is decoded has none


def _legal(latents: Tensor, centres: Array | float = 0.0) -> Array:
    """Latents in float64, as far from their centres as can be coded.

    Raises:
        WeightsError: they are not finite.
    """
    x = latents.detach().cpu().double().numpy() - centres
    if not np.isfinite(x).all():
        raise WeightsError(
            "latents are not finite: the weights or the picture hold NaN or infinity"
        )
    return x.clip(-VALUE_LIMIT, VALUE_LIMIT)
