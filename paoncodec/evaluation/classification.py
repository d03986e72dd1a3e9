"""Classification measured on pictures whose classes are known."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from paoncodec.errors import ImageError, UsageError
from paoncodec.vision.augment import photons as of_photons
from paoncodec.vision.classification.data import Block
from paoncodec.vision.classification.networks import Classifier
from paoncodec.vision.classification.prediction import Answered, answers
from paoncodec.vision.classification.samples import Pictures

__all__ = ["evaluate"]

#: With the number of a picture, of its noise.
_NOISE_SEED = 0


def evaluate(
    images: Pictures,
    model: Classifier,
    *,
    name: str,
    dataset: str,
    command: Sequence[str],
    progress: Callable[[str], None],
    photons: float | None = None,
) -> dict[str, Any]:
    """A result of all pictures, JSON-ready: each one's class, and the share that is right.

    Args:
        images: labelled by the model's classes (:meth:`.LabelledImages.of_classes`), of its size.
        model: in evaluation mode.
        name: of what is measured.
        dataset: what the pictures are.
        command: that measures.
        progress: called with the name of each picture that is done.
        photons: what white is of in pictures with Poisson noise, the same for all models
            (:func:`.photons`); None: pictures as they are.

    Returns:
        ``results`` has the ``accuracy``, the mean ``cross_entropy`` in nats and the ``seconds`` of
        reading and computing; with more than five classes also ``top5``, the share whose class is
        among the five likeliest. ``confusion`` has a row for each true class, of how many pictures
        were taken for which.

    Raises:
        ImageError: the network gives values that are not numbers, or no picture can be read.
        UsageError: photons are out of range.
    """
    if photons is not None and not 0 < photons < math.inf:
        raise UsageError(f"photons {photons}: must be above 0, e.g. 255")
    begun = perf_counter()
    parts = list(_parts(images, model, photons, progress))
    seconds = perf_counter() - begun
    logits = torch.cat([part.logits for part in parts])
    places = np.concatenate([part.block.places for part in parts])
    faults = [*images.faults, *(fault for part in parts for fault in part.block.faults)]
    if not len(places):
        raise ImageError(f"no picture can be used: {faults[0][1]}")
    if not torch.isfinite(logits).all():
        raise ImageError("the network gives values that are not numbers: its weights are unsound")
    scores = logits.double().log_softmax(1).numpy()
    labels, predicted = images.labels[places], scores.argmax(1)
    return {
        "name": name,
        "task": "classification",
        "dataset": {"name": dataset, "images": len(places)},
        **({} if photons is None else {"photons": photons}),
        "results": {**_means(scores, labels), "seconds": seconds},
        "classes": list(images.classes),
        "confusion": _confusion(labels, predicted, len(images.classes)).tolist(),
        "images": [
            {
                "image": images.names[place],
                "class": images.classes[labels[k]],
                "predicted": images.classes[predicted[k]],
                "probability": float(np.exp(scores[k, predicted[k]])),
            }
            for k, place in enumerate(places)
        ],
        "failures": [{"image": image, "error": str(error)} for image, error in faults],
        "command": list(command),
    }


def _means(scores: npt.NDArray[np.float64], labels: npt.NDArray[np.int64]) -> dict[str, float]:
    """Figures of all pictures, from logarithms of probabilities (pictures, classes)."""
    own = scores[np.arange(len(labels)), labels]
    before = (scores > own[:, None]).sum(1)  # classes that are likelier than the true one
    return {
        "accuracy": float((scores.argmax(1) == labels).mean()),
        **({"top5": float((before < 5).mean())} if scores.shape[1] > 5 else {}),
        "cross_entropy": float(-own.mean()),
    }


def _noisy(block: Block, white: float) -> Block:
    """Pictures with Poisson noise, each always with the same."""
    made = [
        of_photons(one, white, np.random.default_rng((_NOISE_SEED, int(place))))
        for one, place in zip(block.pixels, block.places, strict=True)
    ]
    return block._replace(pixels=np.array(made, np.uint8).reshape(block.pixels.shape))


def _parts(
    images: Pictures, model: Classifier, photons: float | None, progress: Callable[[str], None]
) -> Iterator[Answered]:
    altered = None if photons is None else partial(_noisy, white=photons)
    for part in answers(model, images, altered):
        yield part
        for name in (
            *(images.names[place] for place in part.block.places),
            *(name for name, _ in part.block.faults),
        ):
            progress(name)


def _confusion(
    labels: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64], classes: int
) -> npt.NDArray[np.int64]:
    """(classes, classes): true class by predicted class."""
    return np.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, -1)
