"""Encode and decode the bundled photograph with the default weights and say what came out."""

from __future__ import annotations

import argparse
import shutil
from importlib import resources
from pathlib import Path

import paoncodec
from paoncodec.images import psnr, read_image, write_image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/demo"), help="where files go")
    folder: Path = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)

    original, coded, decoded = (
        folder / name for name in ("original.png", "photo.bin", "decoded.png")
    )
    with resources.as_file(resources.files("paoncodec") / "demo" / "photo.png") as photo:
        shutil.copyfile(photo, original)
    # JPEG sizes that people compare with hold no colour profile either.
    coded.write_bytes(paoncodec.encode(original, strip=True))
    write_image(read_image(paoncodec.decode(coded)), decoded)
    print(report(original, coded, decoded))


def report(original: Path, coded: Path, decoded: Path) -> str:
    """What a person wants to know, measured on the files themselves."""
    before, after = read_image(original), read_image(decoded)
    height, width, _ = before.shape
    size = coded.stat().st_size
    return "\n".join(
        [
            f"original  {original}  {width}x{height}, {original.stat().st_size} bytes",
            f"encoded   {coded}  {size} bytes, {8 * size / (width * height):.3f} bpp",
            f"decoded   {decoded}  PSNR {psnr(before, after):.2f} dB",
        ]
    )


if __name__ == "__main__":
    main()
