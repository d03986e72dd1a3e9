"""What the scripts of the paper's figures share: measuring weights as a curve, and its claims."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from paoncodec import zoo
from paoncodec.cli.comparing import warn_of_other_pictures
from paoncodec.cli.errors import reporting
from paoncodec.codecs import load_weights
from paoncodec.errors import UsageError
from paoncodec.evaluation.anchors import anchor_file
from paoncodec.evaluation.bdrate import bd_rate
from paoncodec.evaluation.checkpoints import CheckpointCoder
from paoncodec.evaluation.coders import Coder, PaonCoder
from paoncodec.evaluation.plots import rd_plot, savings_plot
from paoncodec.evaluation.results import Result, load_result
from paoncodec.evaluation.runs import Options, evaluate, settings_of
from paoncodec.images.crops import find_images

PAPER = "Padé Neurons for Efficient Neural Models"


@dataclass(frozen=True)
class Claim:
    """What the paper says of a curve, in its words' numbers: quoted, not measured here."""

    curve: str
    text: str


def check_network(path: str, arch: str, **options: object) -> None:
    """Refuses weights of another network than a curve is named after.

    Args:
        path: of the weights, or their name.
        arch: their architecture.
        **options: of it, as the weights' configuration has them.

    Raises:
        UsageError: they are something else.
        WeightsError: they cannot be read.
    """
    model, metadata = load_weights(zoo.resolve(path).path)
    config = model.config.to_json()
    found = {name: config.get(name) for name in options}
    if metadata["arch"] == arch and found == options:
        return
    wanted, is_there = (
        " with ".join([kind, *(f"{name}: {value}" for name, value in details.items())])
        for kind, details in ((arch, options), (metadata["arch"], found))
    )
    raise UsageError(f"{path}: weights of {is_there}; the curve is of {wanted}")


def measured_curve(
    name: str, weights: Sequence[str], images: Path, out: Path, options: Options
) -> Result:
    """Weights, one file a λ or one for all, measured on pictures; the result file stays in `out`.

    Raises:
        UsageError: a picture could not be measured.
    """
    named = {path.name: path for path in find_images(images)}
    print(f"measuring {name} on {len(named)} pictures", file=sys.stderr)
    result = evaluate(
        named,
        settings_of([PaonCoder(path) for path in weights]),
        options,
        name=name,
        dataset=images.resolve().name.lower(),
        command=sys.argv,
    )
    for failure in result["failures"]:
        raise UsageError(f"{failure['image']} could not be measured: {failure['error']}")
    place = out / f"{name}.json"
    place.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return load_result(place)


def published(name: str) -> Result:
    """A curve that ships with the package."""
    return load_result(anchor_file(name))


def draw(figure: str, results: Sequence[Result], anchor: Result, out: Path) -> list[Path]:
    """Part a, curves, and where they can be compared part b, savings; the files written."""
    written = [out / f"{figure}a.pdf"]
    written[0].write_bytes(rd_plot([*results, anchor], "psnr", "pdf"))
    comparable = [result for result in results if isinstance(_against(result, anchor), float)]
    if comparable:
        written.append(out / f"{figure}b.pdf")
        written[1].write_bytes(savings_plot(comparable, anchor, "psnr", "pdf"))
    return written


def report(results: Sequence[Result], anchor: Result, claims: Sequence[Claim]) -> str:
    """BD-rates measured here beside what the paper claims; says so where pictures differ."""
    for result in results:
        warn_of_other_pictures(result, anchor)
    said = {claim.curve: claim.text for claim in claims}
    lines = [f"BD-rate against {anchor.name} (PSNR, PCHIP), measured | claimed in the paper"]
    for result in results:
        rate = _against(result, anchor)
        figure = f"{rate:+.2f} %" if isinstance(rate, float) else rate
        lines.append(f"{result.name:<24} {figure} | {said.get(result.name, '–')}")
    return "\n".join(lines)


def _against(result: Result, anchor: Result) -> float | str:
    """In per cent, or why there is no such figure."""
    try:
        return bd_rate(result.curve("psnr"), anchor.curve("psnr"))
    except UsageError as error:
        return str(error)


def coder_of(path: str, arch: str | None = None) -> Coder:
    """Weights of ours, or with `arch` a checkpoint of CompressAI."""
    return PaonCoder(path) if arch is None else CheckpointCoder(arch, path)


def parser_of(description: str | None) -> argparse.ArgumentParser:
    """With what all figures take."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=Path, required=True, metavar="DIR", help="the Kodak set")
    parser.add_argument("--out", type=Path, default=Path("build/paper"), help="%(default)s")
    parser.add_argument("--jobs", type=int, default=1, help="processes (%(default)s)")
    return parser


def options_of(arguments: argparse.Namespace) -> Options:
    arguments.out.mkdir(parents=True, exist_ok=True)
    return Options(jobs=arguments.jobs)


def run(main: Callable[[], None]) -> None:
    """A script whose errors are one line and an exit code, as those of `paoncodec`."""
    with reporting(traceback=False):
        main()
