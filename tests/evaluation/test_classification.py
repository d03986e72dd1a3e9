"""Classification measured on labelled pictures."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from paoncodec.errors import ImageError
from paoncodec.evaluation.classification import evaluate
from paoncodec.vision.classification import PadeResNet, classify
from paoncodec.vision.classification.data import LabelledImages

CLASSES = ("a", "b", "c")


@pytest.fixture
def model() -> PadeResNet:
    torch.manual_seed(0)
    return PadeResNet((1,), channels=4, classes=CLASSES, size=6).eval()


@pytest.fixture
def images() -> LabelledImages:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (7, 6, 6, 3), np.uint8)
    faults = (("bad.png", ImageError("bad.png: no picture")),)
    labels = np.array([0, 1, 2, 0, 1, 2, 0])
    return LabelledImages(pixels, labels, CLASSES, tuple("0123456"), faults)


def measure(images: LabelledImages, model: PadeResNet):
    heard: list[str] = []
    found = evaluate(
        images, model, name="it", dataset="seven", command=["paoncodec"], progress=heard.append
    )
    json.dumps(found, allow_nan=False)
    return found, heard


def test_figures_are_those_of_each_picture(images: LabelledImages, model: PadeResNet) -> None:
    found, heard = measure(images, model)
    assert heard == list(images.names)
    right, entropy, confusion = 0, 0.0, np.zeros((3, 3), int)
    for k, row in enumerate(found["images"]):
        shares = classify(model, images.pixels[k])
        label = CLASSES[images.labels[k]]
        best = next(iter(shares))
        assert (row["image"], row["class"], row["predicted"]) == (str(k), label, best)
        assert row["probability"] == pytest.approx(shares[best], rel=1e-4)
        right += best == label
        entropy -= np.log(shares[label])
        confusion[images.labels[k], CLASSES.index(best)] += 1
    assert found["results"]["accuracy"] == pytest.approx(right / 7)
    assert found["results"]["cross_entropy"] == pytest.approx(entropy / 7, rel=1e-4)
    assert found["confusion"] == confusion.tolist()
    assert found["dataset"] == {"name": "seven", "images": 7}
    assert (found["task"], found["classes"]) == ("classification", list(CLASSES))
    assert found["failures"] == [{"image": "bad.png", "error": "bad.png: no picture"}]


def test_unsound_weights_are_refused(images: LabelledImages, model: PadeResNet) -> None:
    torch.nn.init.constant_(model.head.bias, torch.nan)
    with pytest.raises(ImageError, match="not numbers"):
        measure(images, model)
