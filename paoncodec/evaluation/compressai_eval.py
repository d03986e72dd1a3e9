"""CompressAI's own evaluation with our models among its architectures.

`python -m compressai.utils.eval_model` takes the names in the tables of `compressai.zoo`, which no
other package is asked to add to; that models are in its registry does not help. This module adds
ours and hands over, so arguments, measurement and output are CompressAI's:

    python -m paoncodec.evaluation.compressai_eval checkpoint DIR -a mbt-paon -p CHECKPOINT.pth.tar
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NoReturn

import click
from torch import Tensor

from paoncodec.codecs import ARCHITECTURES
from paoncodec.codecs.checkpoints import read_state
from paoncodec.codecs.trainable import TrainableCodec
from paoncodec.coding.weights_file import built, telling_of
from paoncodec.errors import PaonError

__all__ = ["add_to_zoo", "main"]


@dataclass(frozen=True)
class _AsCoded:
    """An architecture whose estimates are of its probability tables, as our own are."""

    model: type[TrainableCodec]

    def from_state_dict(self, state: Mapping[str, Tensor]) -> TrainableCodec:
        model = self.model.from_state_dict(state)
        model.as_coded = True
        return model


def add_to_zoo() -> None:
    """Adds our architectures to the tables by which CompressAI's tools find theirs."""
    from compressai.zoo import image, image_models

    for name, model in ARCHITECTURES.items():
        image.model_architectures[name] = _AsCoded(model)
        image_models[name] = partial(_pretrained, name)


def _pretrained(name: str, **_: object) -> NoReturn:
    raise SystemExit(f"{name}: its weights are not in CompressAI's zoo; evaluate a `checkpoint`")


def main(arguments: Sequence[str]) -> None:
    """Does what `eval_model` does with these arguments.

    Raises:
        WeightsError: a checkpoint cannot be loaded, or is not of the architecture.
        ValueError: a picture whose sides the model cannot halve often enough.
    """
    add_to_zoo()
    from compressai.utils.eval_model import __main__ as eval_model

    wanted = eval_model.setup_args().parse_args(list(arguments))
    for path in getattr(wanted, "checkpoint_paths", ()):
        _check(wanted.architecture, path)
    eval_model.main(list(arguments))


def _check(architecture: str, path: str) -> None:
    """Refuses a file in one line, where CompressAI's command would end in a traceback."""
    state, _ = read_state(path)
    if architecture in ARCHITECTURES:
        with telling_of(path):
            built(lambda: ARCHITECTURES[architecture].from_state_dict(state), state)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (PaonError, ValueError) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(getattr(error, "exit_code", 2))
