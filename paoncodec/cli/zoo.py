"""`paoncodec zoo`: the weights that ship, what is known of them, and whether they are sound."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from paoncodec import vision_zoo
from paoncodec.errors import WeightsError
from paoncodec.vision_zoo import VisionCard

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
    """One line for each: name, qualities or task, size, and what is measured."""
    cards = _cards()
    if as_json:
        click.echo(json.dumps({name: asdict(card) for name, card in cards.items()}))
        return
    width = max(map(len, cards))
    for name, card in cards.items():
        click.echo(
            f"{name:<{width}}  {_what(card):<14} {_megabytes(card):5.1f} MB  {_headline(card)}"
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
    """Check NAMEs, or all: hash, loading, and what comes of the test picture.

    Exit code 5: something is not as the card says.
    """
    from paoncodec.evaluation.vision_check import check_vision
    from paoncodec.evaluation.zoo_check import check

    vision = {card.name for card in vision_zoo.list_vision_cards()}
    names = names or tuple(_cards())
    findings: dict[str, list[Finding]] = {}
    for name in names:
        findings[name] = []
        for finding in check_vision(name) if name in vision else check(name):
            findings[name].append(finding)
            if not as_json:
                mark = "ok   " if finding.right else "WRONG"
                click.echo(f"{name}  {mark} {finding.what}: {finding.detail}")
    if as_json:
        click.echo(json.dumps({name: [asdict(f) for f in rows] for name, rows in findings.items()}))
    wrong = [name for name, rows in findings.items() if not all(f.right for f in rows)]
    if wrong:
        raise WeightsError(f"not as their card says: {', '.join(wrong)}; reinstall paoncodec")


def _cards() -> dict[str, WeightsCard | VisionCard]:
    """All that ship: codecs, then vision models."""
    from paoncodec.zoo import list_cards

    cards: list[WeightsCard | VisionCard] = [*list_cards(), *vision_zoo.list_vision_cards()]
    return {card.name: card for card in cards}


def _card(name: str) -> WeightsCard | VisionCard:
    cards = _cards()
    if name not in cards:
        raise WeightsError(f"no weights {name!r} in the zoo: choose one of {', '.join(cards)}")
    return cards[name]


def _what(card: WeightsCard | VisionCard) -> str:
    return card.task if isinstance(card, VisionCard) else _qualities(card)


def _megabytes(card: WeightsCard | VisionCard) -> float:
    from paoncodec import zoo

    folder = vision_zoo.folder() if isinstance(card, VisionCard) else zoo.FOLDER
    return (folder / f"{card.name}.safetensors").stat().st_size / 1e6


def _qualities(card: WeightsCard) -> str:
    return "quality 1 to 6" if card.quality is None else f"quality {card.quality:g}"


def _headline(card: WeightsCard | VisionCard) -> str:
    """The last data set's figures: that of the largest is measured last."""
    if not card.results:
        return "not measured"
    name, figures = list(card.results.items())[-1]
    return f"{name}: " + ", ".join(
        form.format(figures[key])
        for key, form in (
            ("bpp", "{:.3f} bpp"),
            ("psnr", "{:.2f} dB"),
            ("psnr-y", "{:.2f} dB"),
            ("accuracy", "{:.2%} right"),
        )
        if key in figures
    )


def _page(card: WeightsCard | VisionCard) -> str:
    rows: dict[str, Any] = {"name": card.name}
    options = ", ".join(f"{k} {v}" for k, v in card.config.items())
    if isinstance(card, VisionCard):
        rows |= {"task": card.task, "network": card.network, "options": options}
    else:
        rows |= {
            "architecture": card.arch,
            "options": options,
            "quality": _qualities(card).removeprefix("quality "),
            "λ": "drawn for each picture" if card.lmbda is None else card.lmbda,
            "metric": card.metric,
        }
    rows |= {
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
