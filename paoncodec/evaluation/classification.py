"""Classification measured on pictures whose classes are known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from paoncodec.errors import ImageError
from paoncodec.vision.classification.data import LabelledImages
from paoncodec.vision.classification.networks import Classifier
from paoncodec.vision.classification.prediction import logits_of

__all__ = ["evaluate"]

#: Pictures that are computed between reports of progress.
_STRIDE = 250


def evaluate(
    images: LabelledImages,
    model: Classifier,
    *,
    name: str,
    dataset: str,
    command: Sequence[str],
    progress: Callable[[str], None],
) -> dict[str, Any]:
    """A result of all pictures, JSON-ready: each one's class, and the share that is right.

    Args:
        images: labelled by the model's classes (:meth:`.LabelledImages.of_classes`), of its size.
        model: in evaluation mode.
        name: of what is measured.
        dataset: what the pictures are.
        command: that measures.
        progress: called with the name of each picture that is done.

    Returns:
        ``results`` has the ``accuracy``, the mean ``cross_entropy`` in nats and the ``seconds`` of
        the network alone; ``confusion`` a row for each true class, of how many pictures were taken
        for which.

    Raises:
        ImageError: the network gives values that are not numbers.
    """
    begun = perf_counter()
    logits = torch.cat(list(_parts(images, model, progress)))
    seconds = perf_counter() - begun
    if not torch.isfinite(logits).all():
        raise ImageError("the network gives values that are not numbers: its weights are unsound")
    scores = logits.double().log_softmax(1).numpy()
    predicted = scores.argmax(1)
    every = np.arange(len(images))
    confusion = _confusion(images.labels, predicted, len(images.classes))
    return {
        "name": name,
        "task": "classification",
        "dataset": {"name": dataset, "images": len(images)},
        "results": {
            "accuracy": float((predicted == images.labels).mean()),
            "cross_entropy": float(-scores[every, images.labels].mean()),
            "seconds": seconds,
        },
        "classes": list(images.classes),
        "confusion": confusion.tolist(),
        "images": [
            {
                "image": images.names[k],
                "class": images.classes[images.labels[k]],
                "predicted": images.classes[predicted[k]],
                "probability": float(np.exp(scores[k, predicted[k]])),
            }
            for k in every
        ],
        "failures": [{"image": image, "error": str(error)} for image, error in images.faults],
        "command": list(command),
    }


def _parts(
    images: LabelledImages, model: Classifier, progress: Callable[[str], None]
) -> Iterator[torch.Tensor]:
    for first in range(0, len(images), _STRIDE):
        yield logits_of(model, images.pixels[first : first + _STRIDE])
        for name in images.names[first : first + _STRIDE]:
            progress(name)


def _confusion(
    labels: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64], classes: int
) -> npt.NDArray[np.int64]:
    """(classes, classes): true class by predicted class."""
    return np.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, -1)
