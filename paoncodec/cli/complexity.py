"""`paoncodec complexity`: what layers and codecs cost, counted."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from paoncodec.errors import UsageError

if TYPE_CHECKING:
    from paoncodec.evaluation.complexity import Complexity

__all__ = ["complexity"]

_PARTS = {"encoder": ("g_a", "h_a"), "decoder": ("g_s",)}
_NOTES = """
Counts are whole, in millions. The paper cuts 14.7456 to 14.74 and rounds 30.2776 to 30.28; its
shifted layers have 4 x 256 x 256 x 3 products of the interpolation more (0.7864 M), and with a
predicted shift 18 of the 1x1 convolution. In FLOPs the interpolation does not count.
Memory: the paper's is torch.cuda.max_memory_allocated, which maps of 0.75 MiB each cannot account
for: some 450 MiB, in all rows, would be workspace of the GPU's convolutions. The shifted rows have
119 MiB more, which the paper puts down to the shifter; here a layer holds most while it multiplies,
shifted or not. Ours is what torch's CPU allocator holds at once beyond input and weights, without
gradients."""


@click.command()
@click.option("--table-1", "table", is_flag=True, help="The layers of the paper's Table I.")
@click.option("--arch", help="A codec's architecture, as for `paoncodec train`.")
@click.option("--preset", default="paper", show_default=True, help="Its sizes.")
@click.option("--side", default=256, show_default=True, help="Of the square picture, pixels.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def complexity(table: bool, arch: str | None, preset: str, side: int, as_json: bool) -> None:
    """Count multiplications, operations, memory and parameters.

    Give --table-1, or --arch for thousands of multiply-accumulates per pixel of a codec's encoder,
    decoder and entropy path, which both sides run. Needs the extra "eval".
    """
    if table == (arch is not None):
        raise UsageError("give either --table-1 or --arch")
    # Or torch's profiler tells on stderr that it starts, stops and finds no GPU.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    if arch is None:
        _table_1(as_json)
    else:
        _codec(arch, preset, side, as_json)


def _table_1(as_json: bool) -> None:
    from paoncodec.evaluation.complexity import TABLE_1, table_1

    rows = table_1()
    if as_json:
        found = {
            name: {"counted": asdict(row), "published": asdict(TABLE_1[name])}
            for name, row in rows.items()
        }
        click.echo(json.dumps(found))
        return
    head = f"{'1x3x256x256, 5x5, [1/1]':<24}{'MACs, M':>10}{'paper':>8}"
    click.echo(f"{head}{'FLOPs, M':>10}{'paper':>8}{'MiB':>8}{'paper':>8}{'parameters':>12}")
    for name, row in rows.items():
        click.echo(name.ljust(24) + _row(row, asdict(TABLE_1[name])))
    click.echo(_NOTES)


def _row(row: Complexity, published: dict[str, float]) -> str:
    return (
        f"{row.macs / 1e6:>10.4f}{published['macs']:>8}{row.flops / 1e6:>10.4f}"
        f"{published['flops']:>8}{row.peak_memory / 2**20:>8.2f}{published['memory']:>8}"
        f"{row.parameters:>12}"
    )


def _codec(arch: str, preset: str, side: int, as_json: bool) -> None:
    from paoncodec.codecs import build
    from paoncodec.codecs.recipe import CodecRecipe
    from paoncodec.evaluation.complexity import networks_of_codec

    # λ and data are settings of a training; the sizes do not depend on them.
    options = CodecRecipe.from_preset(preset, arch, 0.013, ()).arch
    model = build(arch, options)
    found = _parts(networks_of_codec(model, side))
    found["parameters"] = sum(p.numel() for p in model.parameters())
    if as_json:
        click.echo(json.dumps({"arch": arch, "preset": preset, "side": side, **found}))
        return
    click.echo(f"{arch}, {preset}: {found['parameters']} parameters; kMAC/pixel at {side}x{side}")
    for part in ("encoder", "decoder", "entropy_path"):
        networks = ", ".join(f"{name} {kmac:.2f}" for name, kmac in found[part].items())
        total = sum(found[part].values())
        click.echo(f"{part.replace('_', ' '):<13}{total:>10.2f}  ({networks})")


def _parts(networks: dict[str, float]) -> dict[str, Any]:
    """kMAC/pixel of the networks by part; what is neither encoder nor decoder both sides run."""
    own = {name for names in _PARTS.values() for name in names}
    found: dict[str, Any] = {
        part: {name: networks[name] for name in names if name in networks}
        for part, names in _PARTS.items()
    }
    found["entropy_path"] = {name: kmac for name, kmac in networks.items() if name not in own}
    return found
