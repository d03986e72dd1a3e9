"""What several of the maintainers' scripts need: Pillow's codecs, cards, errors in a line."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt

from paoncodec.errors import PaonError
from paoncodec.images import to_pil
from paoncodec.zoo import WeightsCard


def bits_per_pixel(size: int, picture: npt.NDArray[np.uint8]) -> float:
    """Of a file of `size` bytes that holds `picture` (H, W, C): every byte counts."""
    height, width = picture.shape[:2]
    return 8 * size / (height * width)


def jpeg(picture: npt.NDArray[np.uint8], quality: int) -> bytes:
    """Pillow's JPEG with optimised Huffman tables and its default 4:2:0; quality 1 to 95."""
    buffer = io.BytesIO()
    to_pil(picture).save(buffer, "JPEG", quality=quality, optimize=True)
    return buffer.getvalue()


def webp(picture: npt.NDArray[np.uint8], quality: int) -> bytes:
    """Pillow's lossy WebP at its slowest and best (method 6); quality 0 to 100."""
    buffer = io.BytesIO()
    to_pil(picture).save(buffer, "WEBP", quality=quality, method=6)
    return buffer.getvalue()


def write_card(card: WeightsCard, folder: Path) -> None:
    """Write `<name>.json` into a zoo's folder."""
    text = json.dumps(asdict(card), indent=2, ensure_ascii=False) + "\n"
    write_whole(folder / f"{card.name}.json", text.encode())


def write_whole(path: Path, content: bytes) -> None:
    """Write beside `path`, then rename: a crash leaves the old file or the new one."""
    beside = path.with_name(f".{path.name}.part")
    beside.write_bytes(content)
    beside.replace(path)


def run(main: Callable[[], None]) -> None:
    """Run a script; an error that paoncodec raises on purpose becomes its line and exit code."""
    try:
        main()
    except PaonError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
