"""What trainings of super-resolution came to: a table of results, curves, and crops of a picture.

    python tools/superres_figures.py --results set5-*.json --runs runs/x4-* --out docs/images

The table, in Markdown, is of the result files of `paoncodec vision eval`, a row for each model and
scale and a column for each set. Curves are of the held-out PSNR of each run, against steps and
against minutes. With --picture, an original, crops of what each run's best weights make of it when
it is reduced stand beside bicubic's; --box is left, top and side of the crop.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from _common import run
from PIL import Image, ImageDraw, ImageFont

from paoncodec.errors import ImageError, UsageError
from paoncodec.images import read_image, to_pil, write_image
from paoncodec.training import RunDirectory
from paoncodec.vision.superres import load_weights, upscale
from paoncodec.vision.superres.metrics import figures_of
from paoncodec.vision.superres.resize import enlarge, reduce

Pixels = npt.NDArray[np.uint8]

#: Side of a crop on the sheet, pixels, and what is around it.
SIDE = 256
GAP = 10
TEXT_SIZE = 16
LINE = 22


def table(results: Sequence[dict[str, Any]]) -> str:
    """PSNR-RGB, PSNR-Y and SSIM-Y of each model on each set."""
    sets = sorted({found["dataset"]["name"] for found in results})
    rows = sorted({(found["scale"], found["name"]) for found in results})
    cells = {
        (found["scale"], found["name"], found["dataset"]["name"]): found["results"]
        for found in results
    }
    head = " | ".join(f"{name}: PSNR-RGB, PSNR-Y, SSIM-Y" for name in sets)
    lines = [f"| model | {head} |", f"| --- |{' --- |' * len(sets)}"]
    for scale, name in rows:
        shown = [_cell(cells.get((scale, name, dataset))) for dataset in sets]
        lines.append(f"| {name} ×{scale} | {' | '.join(shown)} |")
    return "\n".join(lines)


def _cell(means: dict[str, float] | None) -> str:
    if not means:
        return "–"
    return f"{means['psnr-rgb']:.2f}, {means['psnr-y']:.2f}, {means['ssim-y']:.4f}"


def draw_curves(runs: Sequence[RunDirectory], path: Path, minutes: bool = True) -> None:
    """Held-out PSNR of each run, against steps and, with ``minutes``, against those."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9 if minutes else 5.4, 3.6), layout="constrained")
    axes = figure.subplots(1, 1 + minutes, sharey=True, squeeze=False)[0]
    for one in runs:
        seen = [r for r in one.records() if r.get("validation_psnr") is not None]
        psnr = [r["validation_psnr"] for r in seen]
        spent = ([r["step"] for r in seen], [r["seconds"] / 60 for r in seen])
        for axis, along in zip(axes, spent, strict=False):
            axis.plot(along, psnr, marker=".", label=one.path.name)
    for axis, label in zip(axes, ("steps", "minutes"), strict=False):
        axis.set(xlabel=label)
    axes[0].set(ylabel="PSNR of held-out patches, RGB, dB")
    axes[0].legend()
    figure.savefig(path, dpi=120)


def draw_crops(
    runs: Sequence[RunDirectory], original: Pixels, box: tuple[int, int, int]
) -> Image.Image:
    """The original, bicubic, and each run's enlargement, side by side."""
    models = {one.path.name: load_weights(one.weights_file("best"))[0] for one in runs}
    scales = {model.scale for model in models.values()}
    if len(scales) != 1:
        raise UsageError(f"crops are of runs of one scale, these are of {sorted(scales)}")
    [scale] = scales
    height, width = (scale * (side // scale) for side in original.shape[:2])
    original = original[:height, :width]
    left, top, side = box
    if left < 0 or top < 0 or side < 1 or left + side > width or top + side > height:
        raise ImageError(f"box {box}: not inside a picture of {width}x{height}")
    low = reduce(original, scale)
    versions = {"original": original, "bicubic": enlarge(low, scale)}
    versions.update({name: upscale(model, low) for name, model in models.items()})
    page = Image.new(
        "RGB", (GAP + (SIDE + GAP) * len(versions), 2 * LINE + SIDE + 2 * GAP), "white"
    )
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(TEXT_SIZE)
    for number, (name, picture) in enumerate(versions.items()):
        x = GAP + number * (SIDE + GAP)
        psnr = figures_of(original, picture, scale)["psnr-y"]
        said = "" if name == "original" else f"PSNR-Y {psnr:.2f} dB"
        draw.text((x, GAP // 2), name, fill="black", font=font)
        draw.text((x, GAP // 2 + LINE), said, fill="black", font=font)
        part = to_pil(picture[top : top + side, left : left + side])
        page.paste(part.resize((SIDE, SIDE), Image.Resampling.NEAREST), (x, 2 * LINE + GAP))
    return page


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", nargs="+", type=Path, default=[], help="of vision eval")
    parser.add_argument("--runs", nargs="+", type=Path, default=[], help="directories of runs")
    parser.add_argument("--steps-only", action="store_true", help="minutes would mislead: no curve")
    parser.add_argument("--picture", type=Path, help="an original to show crops of")
    parser.add_argument("--box", nargs=3, type=int, default=(0, 0, 64), help="left, top, side")
    parser.add_argument("--out", type=Path, help="folder of the figures")
    options = parser.parse_args(argv)
    if options.runs and options.out is None:
        raise UsageError("no --out: name a folder for the figures")
    runs = [RunDirectory(path, resume=True) for path in options.runs]
    for one in runs:
        if not one.metrics_file.exists():
            raise UsageError(f"{one.path}: not the directory of a run that has begun")
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
    if options.results:
        print(table([json.loads(path.read_text(encoding="utf-8")) for path in options.results]))
    if runs:
        draw_curves(runs, options.out / "superres_curves.png", not options.steps_only)
    if runs and options.picture:
        left, top, side = options.box
        sheet = draw_crops(runs, read_image(options.picture), (left, top, side))
        write_image(np.asarray(sheet), options.out / "superres_crops.png")


if __name__ == "__main__":
    run(main)
