"""A learned image codec whose non-linearity is the Padé neuron.

    data = paoncodec.encode("photo.png")     # bytes of a .bin file
    image = paoncodec.decode(data)           # Pillow image

Importing the package is cheap: the functions, and torch with them, are loaded on first use.
"""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"

_LAZY = ("decode", "decode_picture", "encode", "info", "load_codec")

__all__ = ["__version__", *_LAZY]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from paoncodec import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
