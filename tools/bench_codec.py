"""Time our codecs beside CompressAI's, in one process, on one picture.

    python tools/bench_codec.py --image KODIM01 --threads 2
    python tools/bench_codec.py --image KODIM01 --threads 2 --arch elic-paon --skip shipped

MBT-Paon of N = M = 192 against `JointAutoregressiveHierarchicalPriors`, which takes some ten
seconds a call, or ELIC-Paon of N = 192, M = 320 against `Elic2022Official`, with untrained weights;
and the default model with its weights, after loading. Medians of interleaved runs; quote the
ratios. The bars are what the lines should stay under for a picture of 768×512. The lines of g_a and
g_s say what of encoding and decoding these take: the rest is the entropy model and its coder. Padé
layers by themselves: tools/bench_layers.py.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from _common import run
from torch import Tensor

import paoncodec
from paoncodec.api import DEFAULT_MODEL
from paoncodec.errors import UsageError
from paoncodec.images import read_image

with warnings.catch_warnings():
    # CompressAI imports torch_geometric, which scripts functions as it is loaded.
    warnings.filterwarnings("ignore", r".torch\.jit\.\w+. is (deprecated|not)")
    from compressai.models import (
        CompressionModel,
        Elic2022Official,
        JointAutoregressiveHierarchicalPriors,
    )

    from paoncodec.codecs import ELICPaon, MBTPaon

Action: TypeAlias = Callable[[], Any]


@dataclass(frozen=True)
class Duel:
    """Our architecture, CompressAI's of the same sizes, and the bars of the ratios.

    Attributes:
        ours, peer: models of N and M.
        latents: M for N.
        encode, decode: largest seconds of ours over the peer's.
    """

    ours: Callable[..., CompressionModel]
    peer: Callable[[int, int], CompressionModel]
    latents: Callable[[int], int]
    encode: float
    decode: float


DUELS = {
    "mbt-paon": Duel(MBTPaon, JointAutoregressiveHierarchicalPriors, lambda n: n, 0.6, 0.35),
    "elic-paon": Duel(ELICPaon, Elic2022Official, lambda n: n + 128, 0.85, 1.25),
}
DEFAULT_MODEL_BAR_SECONDS = 0.5


@dataclass(frozen=True)
class Line:
    """One line of the table.

    Attributes:
        what: was timed.
        seconds: median.
        peer_seconds: the peer's median; None without a peer.
        bar: of the ratio to the peer, or of the seconds without one; None without a bar.
    """

    what: str
    seconds: float
    peer_seconds: float | None = None
    bar: float | None = None

    @property
    def ratio(self) -> float | None:
        return None if self.peer_seconds is None else self.seconds / self.peer_seconds

    @property
    def within(self) -> bool | None:
        """Whether the bar is kept; None without a bar."""
        value = self.seconds if self.ratio is None else self.ratio
        return None if self.bar is None else value <= self.bar


def medians(actions: Mapping[str, Action], runs: Mapping[str, int]) -> dict[str, float]:
    """Median seconds of each action over its number of runs, the actions taking turns."""
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for turn in range(max(runs.values())):
        for name, action in actions.items():
            if turn < runs[name]:
                seconds[name].append(_time(action))
    return {name: statistics.median(times) for name, times in seconds.items()}


def _time(action: Action) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def bench_untrained(x: Tensor, arch: str, channels: int, runs: int, peer_runs: int) -> list[Line]:
    """An architecture and its peer with N = `channels` and untrained weights.

    Args:
        x: (1, 3, H, W) in [0, 1], H and W multiples of 64.
        arch: a key of DUELS.
        channels: N, a multiple of 3 (CompressAI's entropy parameters).
        runs, peer_runs: how often our models and the peer are timed.
    """
    # Weights from one seed: what is coded, and so its time, depends on them.
    torch.manual_seed(0)
    duel, peer = DUELS[arch], "CompressAI"
    latents = duel.latents(channels)
    models: dict[str, CompressionModel] = {
        "predicted shift": duel.ours(channels, latents),
        "no shift": duel.ours(channels, latents, shift="none"),
        peer: duel.peer(channels, latents),
    }
    coded: dict[str, Any] = {}
    stages: dict[str, dict[str, Action]] = {n: {} for n in ("encode", "g_a", "decode", "g_s")}
    y = torch.randn(1, latents, x.shape[2] // 16, x.shape[3] // 16)
    for name, model in models.items():
        model.eval()
        model.update(force=True)
        # Loading ends with the first picture, which may be a small one.
        small = model.compress(x[:, :, :64, :64])
        model.decompress(small["strings"], small["shape"])
        stages["encode"][name] = _keeping(coded, name, model, x)
        stages["g_a"][name] = partial(model.g_a, x)
        stages["decode"][name] = _decoding(coded, name, model)
        stages["g_s"][name] = partial(model.g_s, y)
    counts = {name: peer_runs if name == peer else runs for name in models}
    bars = {"encode": duel.encode, "decode": duel.decode}
    lines = []
    for what, actions in stages.items():
        seconds = medians(actions, counts)
        lines += [
            Line(
                f"{what}, {arch} N = {channels}, M = {latents}, {name}",
                seconds[name],
                seconds[peer],
                bars.get(what),
            )
            for name in models
            if name != peer
        ]
    return lines


def _keeping(coded: dict[str, Any], name: str, model: CompressionModel, x: Tensor) -> Action:
    def encode() -> None:
        coded[name] = model.compress(x)

    return encode


def _decoding(coded: dict[str, Any], name: str, model: CompressionModel) -> Action:
    return lambda: model.decompress(coded[name]["strings"], coded[name]["shape"])


def bench_shipped(picture: npt.NDArray[np.uint8], model: str, runs: int) -> list[Line]:
    """`paoncodec.encode` and `decode` of a picture, the model being loaded.

    Args:
        picture: uint8 (H, W, C).
        model: name in the zoo or path of a weights file.
        runs: how often each is timed.
    """
    data = paoncodec.encode(picture, model=model)
    paoncodec.decode(data, model=model)
    actions = {
        "encode": lambda: paoncodec.encode(picture, model=model),
        "decode": lambda: paoncodec.decode(data, model=model),
    }
    seconds = medians(actions, dict.fromkeys(actions, runs))
    name = Path(model).name
    return [
        Line(f"{what}, {name}", seconds[what], bar=DEFAULT_MODEL_BAR_SECONDS) for what in actions
    ]


def to_batch(picture: npt.NDArray[np.uint8]) -> Tensor:
    """(1, 3, H, W) in [0, 1] from uint8 (H, W, C), its border repeated up to multiples of 64."""
    height, width, channels = picture.shape
    full = np.pad(picture, ((0, -height % 64), (0, -width % 64), (0, 0)), mode="edge")
    rgb = np.repeat(full, 3, axis=2) if channels == 1 else full
    return torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255


def table(lines: Sequence[Line]) -> str:
    """The lines for people."""
    width = max(len(line.what) for line in lines)
    rows = [f"{'':<{width}} {'seconds':>9} {'peer':>9} {'ratio':>7} {'bar':>6}"]
    for line in lines:
        peer = "" if line.peer_seconds is None else f"{line.peer_seconds:.4f}"
        ratio = "" if line.ratio is None else f"{line.ratio:.3f}"
        bar = "" if line.bar is None else f"{line.bar:g}{' s' if line.ratio is None else ''}"
        verdict = {None: "", True: "  kept", False: "  missed"}[line.within]
        rows.append(
            f"{line.what:<{width}} {line.seconds:>9.4f} {peer:>9} {ratio:>7} {bar:>6}{verdict}"
        )
    return "\n".join(rows)


def main(argv: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(argv)
    for name in ("threads", "runs", "peer_runs", "channels"):
        if getattr(options, name) < 1:
            raise UsageError(f"--{name.replace('_', '-')} {getattr(options, name)}: must be >= 1")
    if options.channels % 3:
        raise UsageError(f"--channels {options.channels}: must be a multiple of 3")
    torch.set_num_threads(options.threads)
    photo = resources.files("paoncodec") / "demo" / "photo.png"
    picture = read_image(options.image or photo.read_bytes())
    height, width, _ = picture.shape

    lines: list[Line] = []
    if options.skip != "shipped":
        lines += bench_shipped(picture, options.model, options.runs)
    if options.skip != "untrained":
        with torch.inference_mode():
            lines += bench_untrained(
                to_batch(picture),
                options.arch,
                options.channels,
                options.runs,
                options.peer_runs,
            )
    if options.json:
        print(json.dumps(_record(options, width, height, lines), indent=2))
        return
    print(
        f"{width}x{height}, {options.threads} thread(s), median of {options.runs} "
        f"(CompressAI: {options.peer_runs}), torch {torch.__version__}"
    )
    print(table(lines))


def _record(
    options: argparse.Namespace, width: int, height: int, lines: Sequence[Line]
) -> dict[str, Any]:
    return {
        "width": width,
        "height": height,
        "threads": options.threads,
        "runs": options.runs,
        "peer_runs": options.peer_runs,
        "torch": torch.__version__,
        "lines": [{**asdict(line), "ratio": line.ratio, "within": line.within} for line in lines],
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--image", type=Path, help="picture to code (default: the bundled one)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="%(default)s")
    parser.add_argument("--runs", type=int, default=5, help="of each of ours (%(default)s)")
    parser.add_argument("--peer-runs", type=int, default=5, help="of CompressAI's (%(default)s)")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="name or path (%(default)s)")
    parser.add_argument(
        "--arch", choices=DUELS, default="mbt-paon", help="of the untrained models (%(default)s)"
    )
    parser.add_argument("--channels", type=int, default=192, help="N (%(default)s)")
    parser.add_argument(
        "--skip",
        choices=("shipped", "untrained"),
        help="part to leave out",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object, no table")
    return parser


if __name__ == "__main__":
    run(main)
