"""`paoncodec info`: what a `.bin` file says of itself, and with --map where its bits went."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from paoncodec import api
from paoncodec.cli.arguments import MODEL, PATH
from paoncodec.cli.files import check_output, input_file, write_output
from paoncodec.errors import UsageError

__all__ = ["info"]

# What `draw` writes. Known here, so that a wrong suffix is refused before anything is decoded.
_MAPS = (".png", ".svg", ".pdf")


@click.command()
@click.argument("file", type=PATH)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option(
    "--map",
    "picture",
    metavar="PICTURE",
    help="Decode FILE and draw where its bits went, as .png, .svg or .pdf; adds bits of each part.",
)
@click.option(
    "--model", type=MODEL, help="Name or file of the weights, if FILE was made with your own."
)
@click.option("-f", "--force", is_flag=True, help="Replace an existing picture.")
def info(file: str, as_json: bool, picture: str | None, model: str | None, force: bool) -> None:
    """Say what FILE, written by `paoncodec encode`, or - for stdin, holds.

    Every checksum in it is verified. With --map it is decoded too, and the latents are compared
    with the encoder's.
    """
    if model and not picture:
        raise UsageError("--model says what to decode with: give --map, or leave it out")
    data = api.file_bytes(input_file(file))
    facts = api.info(data)
    if picture:
        if Path(picture).suffix.lower() not in _MAPS:
            raise UsageError(f"--map {picture}: choose a name that ends in {', '.join(_MAPS)}")
        check_output(picture, file, force)
        where = api.rate_map(data, model=model)
        facts["bits"] = {name: float(bits.sum()) for name, bits in where.bits.items()}
        write_output(picture, _map(data, facts, where, model, picture), force)
    click.echo(json.dumps(facts) if as_json else _table(facts))


def _map(
    data: bytes,
    facts: Mapping[str, Any],
    where: api.RateMap,
    model: str | None,
    picture: str,
) -> bytes:
    from paoncodec.evaluation.rate_map import draw

    decoded = api.decode_picture(data, model=model).eight_bit().samples
    title = f"{facts['bytes']} bytes, {facts['bpp']:.3f} bpp, {facts['model']}"
    return draw(where, decoded, Path(picture).suffix[1:].lower(), title)


def _table(facts: Mapping[str, Any]) -> str:
    parts = [("header", facts["header_bytes"]), *facts["sections"].items()]
    rows = {
        "format": f"version {facts['version']}",
        "picture": f"{facts['width']}x{facts['height']} px, "
        + ("grey" if facts["channels"] == 1 else "RGB")
        + (" and alpha" if "alpha" in facts["sections"] else "")
        + (", 16 bits" if facts["depth"] == 16 else ""),
        "size": f"{facts['bytes']} bytes, {facts['bpp']:.3f} bpp ("
        + ", ".join(f"{name} {count}" for name, count in parts)
        + ")",
    }
    if "samples" in facts["sections"]:
        rows["quality"] = "lossless"
    else:
        rows |= {
            "quality": f"{facts['quality']:g}",
            "model": facts["model"],
            "weights": f"{facts['weights_id']} (first 8 bytes of their SHA-256)",
            "latents": f"{facts['latents_crc']} (CRC-32)",
        }
    if "bits" in facts:
        whole = sum(facts["bits"].values()) or 1.0
        rows["bits"] = ", ".join(
            f"{name} {bits:.0f} ({bits / whole:.1%})" for name, bits in facts["bits"].items()
        )
    return "\n".join(f"{name:<9} {value}" for name, value in rows.items())
