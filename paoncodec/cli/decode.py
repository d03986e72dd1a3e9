"""`paoncodec decode`: a `.bin` file becomes a picture again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import click

from paoncodec import api
from paoncodec.cli.arguments import MODEL, PATH
from paoncodec.cli.batch import Made, find_items, require_folder_options, run_batch
from paoncodec.cli.errors import noting
from paoncodec.cli.files import STREAM, check_output, default_output, input_file, write_output
from paoncodec.cli.limits import max_memory_option, region_option
from paoncodec.region import Region

if TYPE_CHECKING:
    from paoncodec.images import Picture

__all__ = ["decode"]


@click.command()
@click.argument("file", type=PATH)
@click.option(
    "-o",
    "--output",
    type=PATH,
    metavar="PATH",
    help="Picture to write, - for PNG on stdout; its suffix says the format: png, ppm, pgm, pnm, "
    "bmp, tif, tiff or webp without loss, jpg or jpeg with a little. Transparency wants png, tif, "
    "tiff or webp, 16 bits png, tif or tiff. A folder if FILE is one.  [default: FILE as .png]",
)
@click.option(
    "--max-pixels",
    type=click.IntRange(min=1),
    default=api.MAX_PIXELS,
    show_default=True,
    help="Refuse larger pictures.",
)
@click.option(
    "--model", type=MODEL, help="Name or file of the weights, if FILE was made with your own."
)
@region_option
@max_memory_option
@click.option("-f", "--force", is_flag=True, help="Replace an existing output.")
@click.option("-r", "--recursive", is_flag=True, help="Of a folder: search those in it too.")
@click.option("--jobs", type=click.IntRange(1), default=1, help="Of a folder: so many at a time.")
@click.option("--resume", is_flag=True, help="Of a folder: leave out what is done.")
@click.option("--format", "suffix", help="Of a folder: suffix of its pictures.  [default: png]")
def decode(
    file: str,
    output: str | None,
    max_pixels: int,
    model: str | None,
    region: Region | None,
    max_memory: int | None,
    force: bool,
    recursive: bool,
    jobs: int,
    resume: bool,
    suffix: str | None,
) -> None:
    """Decode FILE, written by `paoncodec encode`, a folder of such files, or - for stdin.

    A folder needs -o and is mirrored there; its files end in .bin. A file that cannot be decoded is
    named and stops none of the others; the exit code is then that of the first such file.
    """
    options = _Options(max_pixels, model, region, max_memory)
    if Path(file).is_dir():
        ending = (suffix or "png").lstrip(".")
        from paoncodec.images import check_format

        check_format(ending)
        items, done = find_items(
            Path(file),
            output,
            frozenset({".bin"}),
            f".{ending}",
            recursive=recursive,
            resume=resume,
            force=force,
        )
        run_batch(items, _Decode(ending, options), jobs, skipped=done)
        return
    require_folder_options(
        {
            "--recursive": recursive,
            "--jobs": jobs > 1,
            "--resume": resume,
            "--format": suffix is not None,
        }
    )
    data = api.file_bytes(input_file(file))
    facts = api.info(data)  # a bad file is reported before anything about the output
    target = output or default_output(file, ".png")
    check_output(target, file, force)
    picture_format = "png" if target == STREAM else Path(target).suffix[1:]
    options.check_format(picture_format, facts)
    start = perf_counter()
    picture = options.picture(data)
    seconds = perf_counter() - start
    from paoncodec.images import picture_bytes

    with noting() as notes:
        content = picture_bytes(picture, picture_format)
    write_output(target, content, force)
    for note in notes:
        click.echo(f"note: {note}", err=True)
    height, width, _ = picture.samples.shape
    click.echo(f"{len(data)} bytes -> {width}x{height} px in {seconds:.2f} s", err=True)


@dataclass(frozen=True)
class _Options:
    """How a file is decoded."""

    max_pixels: int
    model: str | None
    region: Region | None
    max_memory: int | None

    def check_format(self, picture_format: str, facts: dict[str, Any]) -> None:
        """Refuses a format that cannot hold the picture of which ``facts`` tell, before seconds
        are spent on decoding it."""
        from paoncodec.images import check_format

        part = self.region
        check_format(
            picture_format,
            channels=facts["channels"],
            depth=facts["depth"],
            alpha="alpha" in facts["sections"],
            sides=(part.height, part.width) if part else (facts["height"], facts["width"]),
        )

    def picture(self, data: bytes) -> Picture:
        return api.decode_picture(
            data,
            max_pixels=self.max_pixels,
            model=self.model,
            region=self.region,
            max_memory=self.max_memory,
        )


@dataclass(frozen=True)
class _Decode:
    """What to make of each file."""

    format: str
    options: _Options

    def __call__(self, source: Path) -> Made:
        from paoncodec.images import picture_bytes

        data = api.file_bytes(source)
        facts = api.info(data)
        self.options.check_format(self.format, facts)
        picture = self.options.picture(data)
        height, width, _ = picture.samples.shape
        return Made(picture_bytes(picture, self.format), width * height)
