"""What documents say of weights is what their card says."""

from __future__ import annotations

import dataclasses

import pytest

from paoncodec.zoo import list_cards


@pytest.fixture(scope="module")
def figures_tool(tool):
    return tool("readme_figures")


@pytest.fixture(scope="module")
def card():
    found = next(card for card in list_cards() if card.name == "mbt-paon-small")
    figures = {"images": 2, "bytes": 300.0, "bpp": 0.12345, "psnr": 31.256, "jpeg_gain_db": 1.5}
    return dataclasses.replace(found, results={"streets": {"quality": 4.0, **figures}}, note="")


def test_a_card_of_one_rate(figures_tool, card) -> None:
    lines = figures_tool.card_section(card)
    assert f"`mbt-paon-small`, λ = {card.lmbda:g}, {card.steps} steps" in lines
    assert "| streets | 2 | 300 | 0.123 | 31.26 | +1.50 | – |" in lines


def test_a_card_of_all_rates_says_at_which_it_was_measured(figures_tool, card) -> None:
    variable = dataclasses.replace(card, quality=None, lmbda=None)
    lines = figures_tool.card_section(variable)
    assert lines.startswith("`mbt-paon-small`, one network for all qualities (here at 4), ")
