"""`paoncodec info`: what a `.bin` file says of itself, without decoding it."""

from __future__ import annotations

import json
from typing import Any

import click

from paoncodec import api
from paoncodec.cli.files import input_file

__all__ = ["info"]


@click.command()
@click.argument("file")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def info(file: str, as_json: bool) -> None:
    """Say what FILE, written by `paoncodec encode`, or - for stdin, holds.

    Every checksum in it is verified.
    """
    facts = api.info(input_file(file))
    click.echo(json.dumps(facts) if as_json else _table(facts))


def _table(facts: dict[str, Any]) -> str:
    parts = [("header", facts["header_bytes"]), *facts["sections"].items()]
    rows = {
        "format": f"version {facts['version']}",
        "picture": f"{facts['width']}x{facts['height']} px, "
        + ("grey" if facts["channels"] == 1 else "RGB"),
        "size": f"{facts['bytes']} bytes, {facts['bpp']:.3f} bpp ("
        + ", ".join(f"{name} {count}" for name, count in parts)
        + ")",
        "quality": f"{facts['quality']:g}",
        "model": facts["model"],
        "weights": f"{facts['weights_id']} (first 8 bytes of their SHA-256)",
        "latents": f"{facts['latents_crc']} (CRC-32)",
    }
    return "\n".join(f"{name:<9} {value}" for name, value in rows.items())
