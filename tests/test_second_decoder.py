"""docs/format.md is enough: a decoder of the latents written from it alone, in integers.

It shares no code with the package and uses neither torch nor constriction; it is slow and plain.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from paoncodec.codecs import ELIC2022, ELICPaon, MBTPaon, load_weights, save_weights
from paoncodec.entropy import FrozenTables, GaussianTables, SymbolModel, Writer

Group = list[tuple[int, int]]


class RangeDecoder:
    """Section "Range coder"."""

    def __init__(self, data: bytes) -> None:
        self.words = [int.from_bytes(data[i : i + 4], "little") for i in range(0, len(data), 4)]
        self.low, self.range = 0, 2**64 - 1
        self.point = 2**32 * self.word() + self.word()

    def word(self) -> int:
        return self.words.pop(0) if self.words else 0

    def decode(self, left: Sequence[int]) -> int:
        """``left``: left(0) … left(m), the last of them 2**24."""
        scale = self.range // 2**24
        quantile = (self.point - self.low) % 2**64 // scale
        assert quantile < 2**24
        symbol = int(np.searchsorted(left, quantile, side="right")) - 1
        self.low = (self.low + scale * int(left[symbol])) % 2**64
        self.range = scale * int(left[symbol + 1] - left[symbol])
        if self.range < 2**32:
            self.range *= 2**32
            self.low = 2**32 * self.low % 2**64
            self.point = 2**32 * self.point % 2**64 + self.word()
        return symbol

    def uniform(self, size: int) -> int:
        return self.decode([s * 2**24 // size for s in range(size + 1)])

    def at_the_end(self) -> bool:
        return not self.words and (self.point - self.low) % 2**64 < 2**33 - 1


class Tables:
    """Section "Tables", for one of `z_tables` and `y_tables`."""

    def __init__(self, cumulative: np.ndarray, starts: np.ndarray, offsets: np.ndarray) -> None:
        self.first = offsets.tolist()
        self.last, self.left = [], []
        for start, end, first in zip(starts, starts[1:], self.first, strict=False):
            table = cumulative[start:end].astype(np.int64)
            symbols = len(table) - 1
            self.last.append(first + symbols - 2)
            width = 4
            while width < symbols:
                width *= 2
            before = np.append(table[:-1], np.full(width - symbols, 2**16))
            left = before * (2**24 - width) // 2**16 + np.arange(width)
            self.left.append(np.append(left, 2**24))

    def read(self, coder: RangeDecoder, group: Sequence[int]) -> list[int]:
        """Values of a group of tables, as section "Order" has it."""
        values = [0] * len(group)
        for i in sorted(range(len(group)), key=lambda i: (len(self.left[group[i]]), i)):
            table = group[i]
            values[i] = self.first[table] + coder.decode(self.left[table])
            assert values[i] <= self.last[table] + 1
        escapes = [i for i, table in enumerate(group) if values[i] == self.last[table] + 1]
        lengths = [coder.uniform(16) for _ in escapes]
        signs = [coder.uniform(2) for _ in escapes]
        rests = [coder.uniform(2**length) if length else 0 for length in lengths]
        for i, length, sign, rest in zip(escapes, lengths, signs, rests, strict=True):
            excess = 2**length + rest
            values[i] = self.first[group[i]] - excess if sign else self.last[group[i]] + excess
        return values


def half_even(numerator: np.ndarray, bits: int) -> np.ndarray:
    """round(numerator / 2**bits), integers."""
    whole, rest = numerator >> bits, numerator & (2**bits - 1)
    half = 2 ** (bits - 1)
    return whole + ((rest > half) | ((rest == half) & (whole % 2 == 1)))


def grid(values: np.ndarray, bits: int) -> np.ndarray:
    return np.rint(values.astype(np.float64) * 2.0**bits).astype(np.int64)


def settle(sums: np.ndarray) -> np.ndarray:
    return half_even(sums, 16).clip(-(2**26), 2**26)


def leaky(a: np.ndarray) -> np.ndarray:
    below = np.rint(a.astype(np.float64) * 0.01).astype(np.int64)
    return np.where(a >= 0, a, below)


def convolved(a: np.ndarray, weight: np.ndarray, border: str) -> np.ndarray:
    """Sums of products of a convolution that keeps the sides."""
    side, (_, height, width) = weight.shape[2], a.shape
    padded = np.pad(a, ((0, 0), *[(side // 2, side // 2)] * 2), border)
    out = np.zeros((len(weight), height, width), dtype=np.int64)
    for u, v in np.ndindex(side, side):
        seen = padded[:, u : u + height, v : v + width]
        out += np.einsum("oc,chw->ohw", weight[:, :, u, v], seen)
    return out


class SecondDecoder:
    """The latents of a file, from the weights file and the two payloads."""

    prior = "entropy_bottleneck"

    def __init__(self, weights: Path) -> None:
        t = self.tensors = load_file(weights)
        names = ("cumulative", "starts", "offsets")
        self.z_tables, self.y_tables = (
            Tables(*(t[f"{which}.{name}"] for name in names)) for which in ("z_tables", "y_tables")
        )
        self.median = grid(t[f"{self.prior}.quantiles"][:, 0, 1], 14).clip(-(2**26), 2**26)

    def layer(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        return grid(self.tensors[f"{name}.weight"], 16), grid(self.tensors[f"{name}.bias"], 30)

    def transposed(self, a: np.ndarray, name: str) -> np.ndarray:
        weight, bias = self.layer(name)
        _, height, width = a.shape
        out = np.zeros((weight.shape[1], 2 * height + 4, 2 * width + 4), dtype=np.int64)
        for u, v in np.ndindex(5, 5):  # rows and columns here are 2 more than in the document
            part = np.einsum("co,chw->ohw", weight[:, :, u, v], a)
            out[:, u : u + 2 * height : 2, v : v + 2 * width : 2] += part
        return settle(out[:, 2:-2, 2:-2] + bias[:, None, None])

    def convolution(self, a: np.ndarray, name: str) -> np.ndarray:
        weight, bias = self.layer(name)
        return settle(convolved(a, weight, "constant") + bias[:, None, None])

    def hyper(self, z: np.ndarray) -> np.ndarray:
        a = (2**14 * z + self.median[:, None, None]).clip(-(2**26), 2**26)
        a = leaky(self.transposed(a, "h_s.0"))
        a = leaky(self.transposed(a, "h_s.2"))
        return self.convolution(a, "h_s.4")

    def parameters(self, hyper: np.ndarray, y: np.ndarray, h: int, w: int) -> np.ndarray:
        weight, bias = self.layer("context_prediction")
        padded = np.pad(y, ((0, 0), (2, 0), (2, 2)))  # y[h, w] is padded[h + 2, w + 2]
        taps = [(dh, dw) for dh in (-2, -1, 0) for dw in range(-2, 3) if (dh, dw) < (0, 0)]
        sums = bias.copy()
        for t, (dh, dw) in enumerate(taps):
            sums += weight[:, :, t] @ padded[:, h + 2 + dh, w + 2 + dw]
        return self.chain("entropy_parameters", [hyper[:, h, w], settle(sums)], leaky)

    def chain(
        self, network: str, inputs: Sequence[np.ndarray], act: Callable[[np.ndarray], np.ndarray]
    ) -> np.ndarray:
        """Three linear layers at one position, with an activation between two of them."""
        a = np.concatenate(inputs)
        for name in ("0", "2", "4"):
            weight, bias = self.layer(f"{network}.{name}")
            a = settle(weight[:, :, 0, 0] @ a + bias)
            a = a if name == "4" else act(a)
        return a

    def table(self, deviation: int, mean: int) -> tuple[int, int]:
        thresholds, steps = self.tensors["y_tables.thresholds"], self.tensors["y_tables.steps"]
        level = sum(1 for i in range(len(thresholds) - 1) if thresholds[i] < deviation)
        around_means = "rounded_around_means" in self.tensors
        centre = mean if around_means else (mean + 2**13) // 2**14 * 2**14
        step = (mean + 2**13 - centre) * int(steps[level]) // 2**14
        return int(steps[:level].sum()) + step, centre

    def chosen(self, outputs: Sequence[np.ndarray]) -> list[tuple[int, int]]:
        """(table, centre) of each channel of each position, from what the network says of it.

        Centres are activations, as all latents of y are here: 2**14 times what they stand for.
        """
        return [
            self.table(int(deviation), int(mean))
            for out in outputs
            for deviation, mean in zip(*np.split(out, 2), strict=True)
        ]

    def decode(
        self, z_data: bytes, y_data: bytes, shape: tuple[int, int]
    ) -> tuple[np.ndarray, ...]:
        coder = RangeDecoder(z_data)
        each = [k for k in range(len(self.median)) for _ in range(shape[0] * shape[1])]
        z = np.array(self.z_tables.read(coder, each)).reshape(-1, *shape)
        assert coder.at_the_end()
        coder = RangeDecoder(y_data)
        y = self.latents(self.hyper(z), coder)
        assert coder.at_the_end()
        return z, y

    def latents(self, hyper: np.ndarray, coder: RangeDecoder) -> np.ndarray:
        channels = len(self.tensors["entropy_parameters.4.bias"]) // 2
        _, height, width = hyper.shape
        y = np.zeros((channels, height, width), dtype=np.int64)
        for g in range(width + 3 * (height - 1)):
            here = [(h, g - 3 * h) for h in range(height) if 0 <= g - 3 * h < width]
            self.read(y, here, [self.parameters(hyper, y, h, w) for h, w in here], coder)
        return y

    def read(
        self, y: np.ndarray, here: Group, outputs: Sequence[np.ndarray], coder: RangeDecoder
    ) -> None:
        """The next group of symbols: all channels of ``y`` at some positions."""
        chosen = self.chosen(outputs)
        values = self.y_tables.read(coder, [table for table, _ in chosen])
        for i, (value, (_, centre)) in enumerate(zip(values, chosen, strict=True)):
            h, w = here[i // len(y)]
            y[i % len(y), h, w] = 2**14 * value + centre


class SecondDecoderOfELIC(SecondDecoder):
    """Section "Latents of ELIC"."""

    prior = "latent_codec.hyper.entropy_bottleneck"
    group = "latent_codec.y.latent_codec.y{}"

    def hyper(self, z: np.ndarray) -> np.ndarray:
        a = (2**14 * z + self.median[:, None, None]).clip(-(2**26), 2**26)
        for i in (0, 2):
            a = np.maximum(self.transposed(a, f"latent_codec.hyper.h_s.{i}"), 0)
        # With stride 1 it is a convolution whose kernel is mirrored.
        weight, bias = self.layer("latent_codec.hyper.h_s.4")
        mirrored = weight[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
        return settle(convolved(a, mirrored, "constant") + bias[:, None, None])

    def latents(self, hyper: np.ndarray, coder: RangeDecoder) -> np.ndarray:
        _, height, width = hyper.shape
        y, k = np.zeros((0, height, width), dtype=np.int64), 0
        while (name := self.group.format(k)) + ".context_prediction.bias" in self.tensors:
            channels = len(self.tensors[f"{name}.entropy_parameters.4.bias"]) // 2
            here = np.zeros((channels, height, width), dtype=np.int64)
            side = np.concatenate((self.channel_context(k, y), hyper)) if k else hyper
            for parity in (0, 1):
                places = [p for p in np.ndindex(height, width) if sum(p) % 2 == parity]
                outputs = [self.outputs(name, here, side, h, w) for h, w in places]
                self.read(here, places, outputs, coder)
            y, k = np.concatenate((y, here)), k + 1
        return y

    def outputs(self, name: str, here: np.ndarray, side: np.ndarray, h: int, w: int) -> np.ndarray:
        inputs = [self.spatial_context(f"{name}.context_prediction", here, h, w), side[:, h, w]]
        return self.chain(f"{name}.entropy_parameters", inputs, lambda a: np.maximum(a, 0))

    def spatial_context(self, name: str, y: np.ndarray, h: int, w: int) -> np.ndarray:
        polynomials = self.polynomials(name)
        if (h + w) % 2 == 0:
            return np.zeros(len(polynomials[0]), dtype=np.int64)
        taps = [(dh, dw) for dh in range(-2, 3) for dw in range(-2, 3) if (dh + dw) % 2]
        padded = np.pad(y, ((0, 0), (2, 2), (2, 2)))
        seen = np.stack([padded[:, h + 2 + dh, w + 2 + dw] for dh, dw in taps], axis=1)
        return self.pade(name, [np.einsum("oct,ct->o", p, seen) for p in polynomials])

    def channel_context(self, k: int, y: np.ndarray) -> np.ndarray:
        prefix, a = f"latent_codec.y.channel_context.y{k}.", y
        layers = {n.rsplit(".", 1)[0] for n in self.tensors if n.startswith(prefix)}
        numbers = sorted(int(name.removeprefix(prefix)) for name in layers)
        for i in numbers:
            name = f"{prefix}{i}"
            if i and 1 not in numbers:
                a = np.maximum(a, 0)
            if f"{name}.weight" in self.tensors:
                a = self.convolution(a, name)
            else:
                border = "constant" if "padded_with_zeros" in self.tensors else "edge"
                a = self.pade(name, [convolved(a, p, border) for p in self.polynomials(name)])
        return a

    def polynomials(self, name: str) -> list[np.ndarray]:
        """Weights of the numerator and, where there is one, of the denominator."""
        names = [f"{name}.{part}" for part in ("numerator", "denominator")]
        return [grid(self.tensors[n], 16) for n in names if n in self.tensors]

    def pade(self, name: str, sums: Sequence[np.ndarray]) -> np.ndarray:
        """From the sums of products with each polynomial, outputs in the first dimension."""
        num, *den = (settle(part) for part in sums)
        a0 = grid(self.tensors[f"{name}.bias"], 14).clip(-(2**26), 2**26)
        a0 = a0.reshape(-1, *[1] * (num.ndim - 1))
        p = (a0 + num).clip(-(2**26), 2**26)
        if not den:
            return p
        q = (2**14 + den[0]).clip(-(2**26), 2**26)
        tops, bottoms = q * p + 2**14 * a0, q * q + 2**28
        # Python divides integers as IEEE 754 does, and rounds half to even.
        pairs = zip(tops.ravel().tolist(), bottoms.ravel().tolist(), strict=True)
        values = [round(2**14 * (top / bottom)) for top, bottom in pairs]
        return np.array(values).reshape(p.shape).clip(-(2**26), 2**26)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random networks that saturate here and there, round and choose among many tables."""
    torch.manual_seed(0)
    widths = {"hyper_synthesis": (9, 12), "hyper_out": 10, "context_width": 8}
    model = MBTPaon(4, 6, shift="none", hyper_width=5, parameter_widths=(14, 11), **widths)
    with torch.no_grad():
        model.entropy_bottleneck.quantiles += torch.linspace(-2.3, 3.1, 5)[:, None, None]
        model.context_prediction.weight *= 3
        model.entropy_parameters[-1].weight *= 4
        model.entropy_parameters[-1].bias[:6] = torch.logspace(-1, 1.5, 6)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_weights(model, path, "mbt-paon", {}, half=True)
    return path


@pytest.mark.parametrize("shape", [(1, 1), (2, 1), (1, 3)], ids=str)
def test_it_decodes_what_the_package_encodes(weights: Path, shape: tuple[int, int]) -> None:
    height, width = shape
    generator = torch.Generator().manual_seed(height)
    y = torch.randn(6, 4 * height, 4 * width, generator=generator) * 4
    y[0, 1, 2], y[5, 3, 3] = 4095, -4095
    z = torch.randn(5, height, width, generator=generator) * 8
    z[3, 0, 0], z[1, 0, 0] = 4090, -500
    exact = load_weights(weights)[0].exact()
    coded = exact.encode(y, z)
    z_int, y_int = SecondDecoder(weights).decode(coded.z, coded.y, shape)
    assert np.array_equal(y_int, 2**14 * y.round().numpy())
    assert np.array_equal(z_int, exact.round_z(z))
    data = z_int.astype("<i4").tobytes() + (y_int // 2**14).astype("<i4").tobytes()
    assert zlib.crc32(data) == coded.digest


ELIC = {
    "groups": (2, 1, 3),
    "hyper_width": 5,
    "hyper_synthesis": (9, 12),
    "hyper_out": 10,
    "channel_widths": (7,),
    "channel_kernels": (5, 3),
    "parameter_widths": ((14, 11), (12, 13), (15, 11)),
    "shift": "none",
}


@pytest.mark.parametrize(
    ("kind", "arch", "options"),
    [
        (ELICPaon, "elic-paon", {}),
        (ELICPaon, "elic-paon", {"relu": True, "spatial_out": (3, 2, 4)}),
        (ELICPaon, "elic-paon", {"channel_widths": (), "channel_kernels": (1,)}),
        (ELICPaon, "elic-paon", {"padding": "zeros"}),
        (ELICPaon, "elic-paon", {"rounding": "means"}),
        (ELIC2022, "elic-2022", {}),
        (ELIC2022, "elic-2022", {"rounding": "means"}),
    ],
)
@torch.no_grad()
def test_it_decodes_what_elic_encodes(
    kind: type[ELICPaon], arch: str, options: dict[str, object], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = kind(4, 6, **{**ELIC, **options})
    model.entropy_bottleneck.quantiles += torch.linspace(-2.3, 3.1, 5)[:, None, None]
    for name, parameter in model.named_parameters():
        if ".context_prediction." in name or ".channel_context." in name:
            parameter.mul_(4)
    for layer in model.predictors():
        layer.weight *= 4
        layer.bias[: len(layer.bias) // 2] = torch.logspace(-1, 1.5, len(layer.bias) // 2)
    path = tmp_path / "weights.safetensors"
    save_weights(model, path, arch, {}, half=True)
    y, z = torch.randn(6, 8, 4) * 4, torch.randn(5, 2, 1) * 8
    y[0, 1, 2], y[5, 3, 3] = 4095, -4095
    exact = load_weights(path)[0].exact()
    coded = exact.encode(y, z)
    z_int, y_units = SecondDecoderOfELIC(path).decode(coded.z, coded.y, (2, 1))
    assert np.array_equal(z_int, exact.round_z(z))
    if model.rounding == "integers":
        assert (y_units % 2**14 == 0).all()
        y_units //= 2**14
        assert np.array_equal(y_units, y.round().numpy())
    else:
        assert (np.abs(y_units / 2**14 - y.clamp(-4094, 4094).numpy()) <= 0.5).all()
        assert (y_units % 2**14).any()
    data = z_int.astype("<i4").tobytes() + y_units.astype("<i4").tobytes()
    assert zlib.crc32(data) == coded.digest


def odd_tables() -> FrozenTables:
    """Of many widths: one value, a width that is full, escapes rare and common, far from 0."""
    rows = [
        ([2**16 - 1, 1], 0),
        ([1, 2**16 - 1], 0),
        ([2**14] * 4, -3),
        ([1] * 4 + [2**16 - 4], -2),
        ([2**10] * 64, -32),
        ([2**10 - 1] + [2**10] * 63 + [1], -32),
        ([1] * 1000 + [2**16 - 1001, 1], -500),
        ([2**15, 2**15], 4095),
    ]
    tables = FrozenTables()
    tables.set(
        [torch.tensor([0, *np.cumsum(row)]) for row, _ in rows], [first for _, first in rows]
    )
    return tables


def gaussian_tables() -> FrozenTables:
    tables = GaussianTables()
    tables.build(torch.logspace(-1, 2, 9))
    return tables


def groups(tables: FrozenTables) -> Iterator[Group]:
    rng = np.random.default_rng(0)
    for size in (40, 1, 0, 60):
        spread = rng.choice([2, 30, 8000], size)
        yield list(
            zip(
                rng.integers(0, len(tables), size).tolist(),
                rng.integers(-spread, spread + 1).tolist(),
                strict=True,
            )
        )


@pytest.mark.parametrize("make", [odd_tables, gaussian_tables])
def test_it_reads_every_kind_of_table(make: type[FrozenTables]) -> None:
    source = make()
    writer, coded = Writer(SymbolModel(source)), list(groups(source))
    for group in coded:
        tables, values = (np.array([pair[i] for pair in group], dtype=np.int64) for i in (0, 1))
        writer(tables, values)
    second = Tables(*(t.numpy() for t in (source.cumulative, source.starts, source.offsets)))
    coder = RangeDecoder(writer.getvalue())
    for group in coded:
        assert second.read(coder, [table for table, _ in group]) == [value for _, value in group]
    assert coder.at_the_end()


@pytest.mark.parametrize("make", [odd_tables, gaussian_tables])
def test_quantiles_follow_the_frequencies(make: type[FrozenTables]) -> None:
    """What 24 bits and the padding change: one or two more, or less by the padding's share."""
    source = make()
    second = Tables(*(t.numpy() for t in (source.cumulative, source.starts, source.offsets)))
    for row, left in zip(source.rows()[0], second.left, strict=True):
        exact, given = row.numpy() * 2.0**8, np.diff(left)[: len(row)]
        assert (given >= 1).all()
        assert (given <= exact + 2).all()
        assert (given >= exact * (1 - len(left) / 2**24) - 1).all()
        assert (np.diff(left)[len(row) :] == 1).all()
