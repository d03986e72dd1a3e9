"""`paoncodec vision predict`: what a trained network makes of a picture or a volume."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import BinaryIO

import click

from paoncodec.cli.errors import noting
from paoncodec.cli.files import STREAM, check_output, input_file, write_output
from paoncodec.cli.vision.foreign import refuse_foreign
from paoncodec.errors import ImageError, UsageError
from paoncodec.vision_zoo import default_vision, resolve_vision

__all__ = ["predict"]

_OWN = {
    "superres": ("output", "scale", "tile", "halo", "force"),
    "classification": ("resize", "top", "as_json"),
    "segmentation": ("output", "force"),
}


@click.command()
@click.argument("image")
@click.option("--task", type=click.Choice(list(_OWN)), required=True, help="What it is for.")
@click.option(
    "--model",
    metavar="MODEL",
    help="Name in the zoo, or file that training has made.  [default for superres: padenet-id-x4 "
    "or, with --scale 2, padenet-id-x2]",
)
@click.option(
    "--scale",
    type=click.Choice(["2", "4"]),
    help="superres, in place of --model: how many times larger.  [default: 4]",
)
@click.option(
    "-o",
    "--output",
    help="superres: picture to write, as `decode` writes it, - for stdout (PNG); segmentation: "
    "volume of labels, .nii or .nii.gz.",
)
@click.option(
    "--tile", type=click.IntRange(1), help="superres: side of what is computed at a time, pixels."
)
@click.option("--halo", type=click.IntRange(0), help="superres: what is seen around it, pixels.")
@click.option(
    "-f", "--force", is_flag=True, help="superres, segmentation: replace an existing output."
)
@click.option(
    "--resize", is_flag=True, help="classification: reduce the square in the middle to size."
)
@click.option(
    "--top", type=click.IntRange(1), default=5, help="classification: classes that are named.  [5]"
)
@click.option(
    "--json", "as_json", is_flag=True, help="classification: one JSON object, all classes."
)
@click.option("--threads", type=click.IntRange(1), help="Threads of torch.")
def predict(
    image: str,
    task: str,
    model: str | None,
    scale: str | None,
    output: str | None,
    tile: int | None,
    halo: int | None,
    force: bool,
    resize: bool,
    top: int,
    as_json: bool,
    threads: int | None,
) -> None:
    """Enlarge IMAGE, say what is on it, or what each voxel is. IMAGE is a picture file or - for
    stdin; for segmentation a NIfTI volume, .nii or .nii.gz.

    superres: as many times larger as the weights are for, whatever `paoncodec encode` takes.
    Pictures of any size are computed in tiles: memory grows with the picture and not the network's
    features.

    classification: a line for each of the likeliest classes, with its probability.

    segmentation: a volume of labels, of the same place.
    """
    refuse_foreign(task, _OWN)
    if model is None:
        model = default_vision(task, int(scale) if scale else None)
    elif scale is not None:
        raise UsageError("--scale and --model: a model has its own scale, give one of them")
    source = input_file(image)
    if "output" in _OWN[task]:
        if output is None:
            raise UsageError("no --output: name what to write")
        check_output(output, image, force)
    if task == "segmentation" and not _nifti(image, output or ""):
        raise UsageError("segmentation takes and makes .nii or .nii.gz files, and no streams")

    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    weights = resolve_vision(model, task)
    if output is None:
        click.echo(_label(source, weights, resize, top, as_json))
    elif task == "segmentation":
        _segment(image, weights, output)
    else:
        _enlarge(source, weights, output, tile, halo, force)


def _nifti(*names: str) -> bool:
    return all(name.endswith((".nii", ".nii.gz")) for name in names)


def _enlarge(
    source: Path | BinaryIO,
    weights: Path,
    output: str,
    tile: int | None,
    halo: int | None,
    force: bool,
) -> None:
    from paoncodec.images import check_format, picture_bytes, read_picture
    from paoncodec.vision.superres import enlarge_picture, load_weights
    from paoncodec.vision.superres.tiles import HALO, TILE

    network, _ = load_weights(weights)
    form = "png" if output == STREAM else Path(output).suffix[1:]
    with noting() as notes:
        picture = read_picture(source)
        height, width, channels = picture.samples.shape
        check_format(
            form,
            channels=channels,
            depth=picture.depth,
            alpha=picture.alpha is not None,
            sides=(network.scale * height, network.scale * width),
        )
        begun = perf_counter()
        large = enlarge_picture(network, picture, tile or TILE, HALO if halo is None else halo)
        seconds = perf_counter() - begun
        content = picture_bytes(large, form)
    write_output(output, content, force)
    for note in notes:
        click.echo(f"note: {note}", err=True)
    before, after = (f"{p.shape[1]}x{p.shape[0]}" for p in (picture.samples, large.samples))
    click.echo(f"{before} -> {after} px in {seconds:.2f} s", err=True)


def _segment(image: str, weights: Path, output: str) -> None:
    from paoncodec.vision.segmentation import load_weights, segment
    from paoncodec.vision.segmentation.inference import normalised
    from paoncodec.vision.segmentation.volumes import read_volume, write_labels

    segmenter, _ = load_weights(weights)
    volume = read_volume(image)
    begun = perf_counter()
    labels = segment(segmenter.model, normalised(volume.values, segmenter.window))
    seconds = perf_counter() - begun
    write_labels(output, replace(volume, values=labels))
    size = "x".join(map(str, labels.shape))
    click.echo(f"{size} voxels, {len(segmenter.classes)} classes in {seconds:.2f} s", err=True)


def _label(source: Path | BinaryIO, weights: Path, resize: bool, top: int, as_json: bool) -> str:
    """What is on the picture."""
    from paoncodec.images import read_image
    from paoncodec.vision.classification import classify, load_weights
    from paoncodec.vision.classification.prediction import fitted

    network, _ = load_weights(weights)
    pixels = read_image(source)
    if resize:
        pixels = fitted(pixels, network.size)
    try:
        found = classify(network, pixels)
    except ImageError as error:
        raise ImageError(f"{source if isinstance(source, Path) else 'stdin'}: {error}") from error
    if as_json:
        return json.dumps({"label": next(iter(found)), "probabilities": found})
    width = max(map(len, found))
    return "\n".join(f"{name:<{width}}  {share:.4f}" for name, share in list(found.items())[:top])
