"""`paoncodec encode`: a picture becomes a `.bin` file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, BinaryIO

import click

from paoncodec import api
from paoncodec.cli.arguments import MODEL, PATH
from paoncodec.cli.batch import Made, find_items, require_folder_options, run_batch
from paoncodec.cli.errors import noting
from paoncodec.cli.files import check_output, default_output, input_file, write_output
from paoncodec.cli.limits import max_memory_option
from paoncodec.errors import UsageError, WeightsError

__all__ = ["encode"]


@click.command()
@click.argument("image", type=PATH)
@click.option(
    "-o",
    "--output",
    type=PATH,
    metavar="PATH",
    help="File to write, - for stdout; a folder if IMAGE is one.  [default: IMAGE as .bin]",
)
@click.option(
    "-q",
    "--quality",
    type=click.FloatRange(1, 6),
    help="1 (small) to 6 (good).  [default: that of the model, or 4]",
)
@click.option("--target-bpp", type=float, help="At most so many bits per pixel.")
@click.option("--target-size", type=int, metavar="BYTES", help="At most so many bytes.")
@click.option("--target-psnr", type=float, metavar="DB", help="At least so good.")
@click.option(
    "--model",
    "models",
    multiple=True,
    type=MODEL,
    help="Name of shipped weights, or a weights file. With a target it may be given several times, "
    f"for models of one quality each.  [default: {api.DEFAULT_MODEL}]",
)
@click.option(
    "--lossless/--lossy",
    default=None,
    help="Keep all samples as they are, or never.  [default: where that takes less]",
)
@click.option("--strip", is_flag=True, help="Leave out the colour profile, EXIF and XMP.")
@click.option("--verify", is_flag=True, help="Decode what was made before it is written.")
@max_memory_option
@click.option("-f", "--force", is_flag=True, help="Replace an existing output.")
@click.option("-r", "--recursive", is_flag=True, help="Of a folder: search those in it too.")
@click.option("--jobs", type=click.IntRange(1), default=1, help="Of a folder: so many at a time.")
@click.option("--resume", is_flag=True, help="Of a folder: leave out what is done.")
def encode(
    image: str,
    output: str | None,
    quality: float | None,
    target_bpp: float | None,
    target_size: int | None,
    target_psnr: float | None,
    models: tuple[str, ...],
    lossless: bool | None,
    strip: bool,
    verify: bool,
    max_memory: int | None,
    force: bool,
    recursive: bool,
    jobs: int,
    resume: bool,
) -> None:
    """Encode IMAGE, a picture file, a folder of them, or - for stdin.

    Pictures of any size, in any format that Pillow reads: grey, RGB, palettes and CMYK (made sRGB),
    transparency, 16 bits of PNG and TIFF. Colour profile, EXIF and XMP are kept, and so is
    transparency, without loss. Of an animation the first frame is taken. What is smaller without
    loss, as many drawings and screenshots are, is kept without loss.

    A target is met by a search over the qualities of the model, or among several models.

    A folder needs -o and is mirrored there. A file that cannot be encoded is named and stops none
    of the others; the exit code is then that of the first such file.
    """
    targets = {"target_bpp": target_bpp, "target_size": target_size, "target_psnr": target_psnr}
    work = _Encode(quality, models, targets, lossless, strip, verify, max_memory)
    if Path(image).is_dir():
        items, done = find_items(
            Path(image),
            output,
            _suffixes(),
            ".bin",
            recursive=recursive,
            resume=resume,
            force=force,
        )
        # Without a target, what one file cannot have none can.
        general = (WeightsError,) if any(targets.values()) else (WeightsError, UsageError)
        run_batch(items, work, jobs, skipped=done, fatal=general)
        return
    require_folder_options({"--recursive": recursive, "--jobs": jobs > 1, "--resume": resume})
    source = input_file(image)
    target = output or default_output(image, ".bin")
    check_output(target, image, force)
    start = perf_counter()
    with noting() as notes:
        data = work.data(source)
    seconds = perf_counter() - start
    write_output(target, data, force)
    for note in notes:
        click.echo(f"note: {note}", err=True)
    facts = api.info(data)
    for note in work.choice(facts):
        click.echo(note, err=True)
    how = "lossless" if "samples" in facts["sections"] else f"quality {facts['quality']:g}"
    click.echo(
        f"{facts['width']}x{facts['height']} px -> {len(data)} bytes ({facts['bpp']:.3f} bpp, "
        f"{how}) in {seconds:.2f} s",
        err=True,
    )


@dataclass(frozen=True)
class _Encode:
    """What to make of each picture."""

    quality: float | None
    models: tuple[str, ...]
    targets: dict[str, Any]
    lossless: bool | None
    strip: bool
    verify: bool
    max_memory: int | None

    def data(self, source: Path | BinaryIO) -> bytes:
        """The bytes of its file."""
        models = self.models or api.DEFAULT_MODEL
        return api.encode(
            source,
            self.quality,
            models,
            **self.targets,
            lossless=self.lossless,
            strip=self.strip,
            verify=self.verify,
            max_memory=self.max_memory,
        )

    def __call__(self, source: Path) -> Made:
        data = self.data(source)
        facts = api.info(data)
        return Made(data, facts["width"] * facts["height"], self.choice(facts))

    def choice(self, facts: dict[str, Any]) -> tuple[str, ...]:
        """What to say of the model that a file was made with, where there were several."""
        several = len(self.models)
        return (f"nearest of {several} models: {facts['model']}",) if several > 1 else ()


def _suffixes() -> frozenset[str]:
    """Of the files that Pillow opens."""
    from PIL import Image

    return frozenset(
        suffix for suffix, name in Image.registered_extensions().items() if name in Image.OPEN
    )
