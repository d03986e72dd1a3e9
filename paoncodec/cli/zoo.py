"""`paoncodec zoo`: the weights that ship, what is known of them, and whether they are sound."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from paoncodec.errors import WeightsError

if TYPE_CHECKING:
    from paoncodec.evaluation.zoo_check import Finding
    from paoncodec.zoo import WeightsCard

__all__ = ["zoo"]


@click.group()
def zoo() -> None:
    """List, show and verify the weights that come with paoncodec."""


@zoo.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object: name → card.")
def list_(as_json: bool) -> None:
    """One line for each: name, qualities, size, and what is measured."""
    from paoncodec.zoo import FOLDER, list_cards

    cards = list_cards()
    if as_json:
        click.echo(json.dumps({card.name: asdict(card) for card in cards}))
        return
    width = max(len(card.name) for card in cards)
    for card in cards:
        megabytes = (FOLDER / f"{card.name}.safetensors").stat().st_size / 1e6
        click.echo(
            f"{card.name:<{width}}  {_qualities(card):<14} {megabytes:5.1f} MB  {_headline(card)}"
        )


@zoo.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="The card as one JSON object.")
def show(name: str, as_json: bool) -> None:
    """The card of NAME: what it is, how it was trained, what was measured."""
    card = _card(name)
    click.echo(json.dumps(asdict(card)) if as_json else _page(card))


@zoo.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--json", "as_json", is_flag=True, help="One JSON object: name → findings.")
def verify(names: tuple[str, ...], as_json: bool) -> None:
    """Check NAMEs, or all: hash, loading, and the test picture, decoded and coded anew.

    Exit code 5: something is not as the card says.
    """
    from paoncodec.evaluation.zoo_check import check
    from paoncodec.zoo import list_cards

    names = names or tuple(card.name for card in list_cards())
    findings: dict[str, list[Finding]] = {}
    for name in names:
        findings[name] = []
        for finding in check(name):
            findings[name].append(finding)
            if not as_json:
                mark = "ok   " if finding.right else "WRONG"
                click.echo(f"{name}  {mark} {finding.what}: {finding.detail}")
    if as_json:
        click.echo(json.dumps({name: [asdict(f) for f in rows] for name, rows in findings.items()}))
    wrong = [name for name, rows in findings.items() if not all(f.right for f in rows)]
    if wrong:
        raise WeightsError(f"not as their card says: {', '.join(wrong)}; reinstall paoncodec")


def _card(name: str) -> WeightsCard:
    from paoncodec.zoo import list_cards

    cards = {card.name: card for card in list_cards()}
    if name not in cards:
        raise WeightsError(f"no weights {name!r} in the zoo: choose one of {', '.join(cards)}")
    return cards[name]


def _qualities(card: WeightsCard) -> str:
    return "quality 1 to 6" if card.quality is None else f"quality {card.quality:g}"


def _headline(card: WeightsCard) -> str:
    """The last data set's figures: that of the largest is measured last."""
    if not card.results:
        return "not measured"
    name, figures = list(card.results.items())[-1]
    return f"{name}: " + ", ".join(
        f"{figures[key]:.{digits}f} {unit}"
        for key, digits, unit in (("bpp", 3, "bpp"), ("psnr", 2, "dB"))
        if key in figures
    )


def _page(card: WeightsCard) -> str:
    rows: dict[str, Any] = {
        "name": card.name,
        "architecture": card.arch,
        "options": ", ".join(f"{k} {v}" for k, v in card.config.items()),
        "quality": _qualities(card).removeprefix("quality "),
        "λ": "drawn for each picture" if card.lmbda is None else card.lmbda,
        "metric": card.metric,
        "trained": f"{card.steps} steps, {card.minutes:.0f} minutes",
        "data": card.data,
        "command": card.command,
        "licence": card.licence,
        "SHA-256": card.sha256,
        "note": card.note,
    }
    for name, figures in card.results.items():
        rows[name] = ", ".join(f"{key} {value:g}" for key, value in figures.items())
    rows["measured by"] = card.measured_by
    return "\n".join(f"{key:<12} {value}" for key, value in rows.items() if value != "")
