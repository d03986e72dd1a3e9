"""Let atheris look for bytes that crash a reader, hang it or take its memory.

pip install atheris
python tools/fuzz.py file build/fuzz -max_total_time=600        whole files
python tools/fuzz.py latents build/fuzz -max_total_time=600     payloads, all checksums right
python tools/fuzz.py samples build/fuzz -max_total_time=600     image files of samples without loss
python tools/fuzz.py weights build/fuzz -max_total_time=600     weights files and checkpoints

Starts from the streams and weights of tests/conformance; the folder keeps what covers new code, and
further options are libFuzzer's. Any end but a result or a PaonError is a finding: libFuzzer writes
the bytes to a file, which `python tools/fuzz.py TARGET FILE` runs again. Mend it, and keep the case
in tests/test_hostile.py. The same readers are tested by hypothesis there, without atheris.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path

try:
    import atheris
except ImportError:  # a finding is run again without it
    atheris = None

# Only code that is imported here is watched; to watch torch would take an hour.
with atheris.instrument_imports(include=["paoncodec"]) if atheris else nullcontext():
    import paoncodec
    from paoncodec import api, codecs, zoo  # noqa: F401 - api: what is imported on first use, too
    from paoncodec.bitstream import Container, SectionKind, read, write
    from paoncodec.errors import PaonError
    from paoncodec.images import read_lossless

CONFORMANCE = Path(__file__).resolve().parents[1] / "tests" / "conformance"
_NAME = "mbt-2018"
_STREAM = CONFORMANCE / "streams" / f"{_NAME}-v1.bin"
_WEIGHTS = CONFORMANCE / "weights" / f"{_NAME}.safetensors"
_SIDE_BYTES = 2


def file(data: bytes) -> None:
    """A file of these bytes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        paoncodec.decode(data, model=_WEIGHTS, max_pixels=2**20)


def latents(data: bytes) -> None:
    """A file whose width, height and payloads these bytes are, and whose checksums are right.

    Two bytes for each side, two for the length of z's payload; the rest is that of y.
    """
    container = read(_STREAM.read_bytes())
    width, height, length = (
        int.from_bytes(data[i : i + _SIDE_BYTES], "little") for i in range(0, 6, _SIDE_BYTES)
    )
    z, y = data[6 : 6 + length], data[6 + length :]
    header = replace(container.header, width=max(1, width), height=max(1, height))
    made = write(header, {SectionKind.Z: z, SectionKind.Y: y})
    paoncodec.decode(made, model=_WEIGHTS, max_pixels=2**22)


def samples(data: bytes) -> None:
    """An image file of these bytes, of the kind of one of the lossless streams."""
    for stream in _lossless_streams():
        header = stream.header
        shape = header.height, header.width, header.channels
        with suppress(ValueError):  # what `decode` makes a PaonError of
            found = read_lossless(data, shape, header.depth)
            if found.shape != shape or 8 * found.itemsize != header.depth:
                raise AssertionError(f"{found.dtype} {found.shape} for {shape}")


def _lossless_streams() -> list[Container]:
    paths = sorted(_STREAM.parent.glob("lossless-*.bin"))
    return [read(path.read_bytes()) for path in paths]


def weights(data: bytes) -> None:
    """A weights file of these bytes."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / "weights"
        path.write_bytes(data)
        # As the model is, so is the coder.
        codecs.load_weights(path)
        zoo.load_coder(zoo.Weights("fuzzed", path, "", None))


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    "file": file,
    "latents": latents,
    "samples": samples,
    "weights": weights,
}


def seeds(target: str) -> list[bytes]:
    """What to start from."""
    if target == "weights":
        return [_WEIGHTS.read_bytes()]
    if target == "samples":
        return [stream.sections[SectionKind.SAMPLES] for stream in _lossless_streams()]
    if target == "file":
        return [path.read_bytes() for path in sorted(_STREAM.parent.glob("*.bin"))]
    container = read(_STREAM.read_bytes())
    z, y = (container.sections[kind] for kind in (SectionKind.Z, SectionKind.Y))
    numbers = (container.header.width, container.header.height, len(z))
    return [b"".join(n.to_bytes(_SIDE_BYTES, "little") for n in numbers) + z + y]


def one(target: str, data: bytes) -> None:
    """Run a target; what is refused as it should be is no finding."""
    with suppress(PaonError):
        TARGETS[target](data)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("corpus", type=Path, help="folder of inputs, or a file to run again")
    arguments, options = parser.parse_known_args()
    if arguments.corpus.is_file():
        one(arguments.target, arguments.corpus.read_bytes())
        return
    if atheris is None:
        parser.error("atheris is missing: pip install atheris")
    arguments.corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(arguments.target)):
        (arguments.corpus / f"{arguments.target}-{number}").write_bytes(seed)
    atheris.Setup(
        ["fuzz", str(arguments.corpus), *options], lambda data: one(arguments.target, data)
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
