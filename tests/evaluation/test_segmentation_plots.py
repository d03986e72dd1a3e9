"""Overlays of cases and box plots of organs."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from paoncodec.errors import UsageError
from paoncodec.evaluation.segmentation_plots import box_plot, overlays
from paoncodec.vision.segmentation.phantom import CLASSES, make_phantom

NAMES = tuple(CLASSES.values())


def result(name: str, classes: tuple[str, ...] = ("liver", "aorta")) -> dict:
    rows = [
        {"case": str(k), "dice": {"liver": 0.5 + k / 10, "aorta": None if k else 0.9}}
        for k in range(4)
    ]
    return {"name": name, "classes": list(classes), "results": {"dice": {}}, "cases": rows}


def opened(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(content)).convert("RGB")).astype(int)


def test_overlays_show_what_differs_and_where() -> None:
    image, truth = make_phantom(0, (20, 18, 16))
    liver = np.where(truth.values == 1, truth.values, 0)
    found, nothing = (opened(overlays(image, truth, part, NAMES)) for part in (liver, 0 * liver))
    height, width, _ = found.shape
    different = (found != nothing).any(2)
    assert not different[: height // 2 - 30].any()  # the true labels are above
    axial = np.flatnonzero(different[:, : width // 3].any(0))
    assert len(axial)
    assert axial.mean() < width / 6  # the patient's right is on the left


def test_boxes_of_several_results() -> None:
    one = box_plot([result("one")])
    two = box_plot([result("one"), result("two")])
    assert opened(one).shape == opened(two).shape
    assert one != two
    assert box_plot([result("one")], picture_format="svg").startswith(b"<?xml")


def test_results_that_cannot_be_drawn() -> None:
    for results, measure, said in (
        ([], "dice", "give a result file"),
        ([result("one"), result("two", ("liver",))], "dice", "two: has other classes than one"),
        ([result("one")], "hd95", "one: says no hd95; measure it with --surfaces"),
    ):
        with pytest.raises(UsageError, match=said):
            box_plot(results, measure)
