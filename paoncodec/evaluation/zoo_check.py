"""Whether weights of the zoo do, on this machine, what their card says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paoncodec
from paoncodec import api, zoo
from paoncodec.errors import PaonError, WeightsError
from paoncodec.images import psnr, read_image

__all__ = ["PICTURE", "Finding", "check", "observe"]

#: What every card's figures are of: the photograph that ships with the package.
PICTURE = Path(paoncodec.__file__).with_name("demo") / "photo.png"

# Other machines round g_a and g_s a little differently: a few latents, hence bytes, may differ.
_BYTES_WITHIN = 0.01
_PSNR_WITHIN = 0.05


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        what: in a few words.
        right: whether it is as the card says.
        detail: what was found.
    """

    what: str
    right: bool
    detail: str


def observe(model: api.ModelSource) -> tuple[bytes, dict[str, Any]]:
    """The file that weights make of the test picture, and what a card records of it.

    Args:
        model: name in the zoo or path of a weights file.

    Returns:
        The file, and ``quality``, ``bytes``, ``latents_crc`` (hexadecimal) and ``psnr`` in dB.
    """
    # Without its colour profile: what is measured is the picture.
    data = api.encode(PICTURE, model=model, lossless=False, strip=True)
    facts = api.info(data)
    recorded = {name: facts[name] for name in ("quality", "bytes", "latents_crc")}
    return data, {**recorded, "psnr": round(_psnr(data, model), 4)}


def check(name: str) -> Iterator[Finding]:
    """Everything that can be said of weights: hash, loading, the recorded file, a fresh one.

    Args:
        name: in the zoo.

    Yields:
        Findings, one after the other; after a wrong one there may be no more.

    Raises:
        WeightsError: no weights of that name.
    """
    if name not in {card.name for card in zoo.list_cards()}:
        raise WeightsError(f"no weights {name!r} in the zoo: `paoncodec zoo list` names them")
    try:
        weights = zoo.resolve(name)
        yield Finding("SHA-256", True, weights.sha256)
        model = zoo.load(weights)
    except WeightsError as error:
        yield Finding("weights", False, str(error))
        return
    parameters = sum(p.numel() for p in model.parameters())
    yield Finding("loads", True, f"{parameters / 1e6:.2f} M parameters")
    if weights.card is None or not weights.card.check:
        yield Finding("test picture", False, "the card records none")
        return
    yield from _recorded(weights, weights.card.check)
    yield from _fresh(name, weights.card.check)


def _recorded(weights: zoo.Weights, expected: Mapping[str, Any]) -> Iterator[Finding]:
    """The file beside the weights decodes to the latents and the picture that the card tells of."""
    path = zoo.FOLDER / f"{weights.name}.bin"
    what = "recorded file"
    try:
        data = api.file_bytes(path)
        crc, found = api.info(data)["latents_crc"], _psnr(data, weights.name)
    except PaonError as error:
        yield Finding(what, False, str(error))
        return
    yield Finding(
        f"{what}, latents", crc == expected["latents_crc"], f"CRC-32 {crc} of {len(data)} bytes"
    )
    near = abs(found - expected["psnr"]) <= _PSNR_WITHIN
    yield Finding(f"{what}, picture", near, f"{found:.4f} dB, recorded {expected['psnr']:.4f} dB")


def _fresh(name: str, expected: Mapping[str, Any]) -> Iterator[Finding]:
    """The test picture, coded on this machine, comes to what the card tells of."""
    what = "coded here"
    try:
        _, found = observe(name)
    except PaonError as error:
        yield Finding(what, False, str(error))
        return
    if found["latents_crc"] == expected["latents_crc"]:
        yield Finding(what, True, "the very latents that are recorded")
        return
    near = abs(found["bytes"] / expected["bytes"] - 1) <= _BYTES_WITHIN
    near &= abs(found["psnr"] - expected["psnr"]) <= _PSNR_WITHIN
    yield Finding(
        what,
        near,
        f"{found['bytes']} bytes, {found['psnr']:.4f} dB; recorded {expected['bytes']} bytes, "
        f"{expected['psnr']:.4f} dB (machines round a few latents differently)",
    )


def _psnr(data: bytes, model: api.ModelSource) -> float:
    return psnr(read_image(PICTURE), read_image(api.decode(data, model=model)))
