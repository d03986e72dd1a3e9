"""Training samples: functions of their number, augmented as the paper says."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from paoncodec.vision.classification.data import LabelledImages
from paoncodec.vision.classification.samples import AugmentedImages, split


@pytest.fixture
def images() -> LabelledImages:
    pixels = np.random.default_rng(0).integers(1, 256, (20, 6, 6, 3), np.uint8)
    names = tuple(f"{k}.png" for k in range(20))
    return LabelledImages(pixels, np.arange(20) % 2, ("even", "odd"), names)


def pixels_of(values: torch.Tensor) -> np.ndarray:
    """(3, S, S) in [-1, 1] → uint8 (S, S, 3)."""
    return ((values + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).numpy()


def test_samples_are_functions_of_their_number(images: LabelledImages) -> None:
    first, again = (AugmentedImages(images, 2, 40.0, seed=3) for _ in range(2))
    backwards = {k: again[k] for k in (45, 21, 0)}
    for k, (values, label) in backwards.items():
        assert torch.equal(first[k][0], values)
        assert first[k][1] == label
    other = AugmentedImages(images, 2, 40.0, seed=4)
    assert not torch.equal(first[0][0], other[0][0])


def test_an_epoch_has_each_picture_once(images: LabelledImages) -> None:
    data = AugmentedImages(images, 0, None, seed=0)
    for epoch in range(2):
        drawn = [data[epoch * 20 + k] for k in range(20)]
        sums = sorted(int(pixels_of(values).sum()) for values, _ in drawn)
        assert sums == sorted(images.pixels.sum((1, 2, 3)).tolist())
        assert sum(label for _, label in drawn) == 10


def test_labels_stay_with_their_pictures(images: LabelledImages) -> None:
    data = AugmentedImages(images, 0, None, seed=1)
    by_sum = dict(zip(images.pixels.sum((1, 2, 3)).tolist(), images.labels, strict=True))
    for k in range(20):
        values, label = data[k]
        assert by_sum[int(pixels_of(values).sum())] == label


def test_upright_pictures_are_moved_and_mirrored_from_left_to_right() -> None:
    """9 places, 2 ways to lie, and the planes as they were."""
    marked = np.zeros((1, 6, 6, 3), np.uint8)
    marked[0, 2, 2], marked[0, 2, 3, 0], marked[0, 3, 2, 1] = 255, 120, 60
    images = LabelledImages(marked, np.array([0]), ("even", "odd"), ("0.png",))
    data = AugmentedImages(images, 1, None, seed=0, upright=True)
    found = {pixels_of(data[k][0]).tobytes() for k in range(200)}
    wide = np.pad(marked[0], ((1, 1), (1, 1), (0, 0)))
    crops = [wide[y : y + 6, x : x + 6] for y in range(3) for x in range(3)]
    assert found == {np.ascontiguousarray(c[:, ::s]).tobytes() for c in crops for s in (1, -1)}


def test_pictures_are_moved_turned_mirrored_and_shuffled(images: LabelledImages) -> None:
    """Of a picture whose three planes mark its corner: 9 places, 8 ways to lie, 6 orders."""
    marked = np.zeros((1, 6, 6, 3), np.uint8)
    marked[0, 2, 2], marked[0, 2, 3, 0], marked[0, 3, 2, 1] = 255, 120, 60
    one = LabelledImages(marked, np.array([0]), ("a", "b"), ("one",))
    data = AugmentedImages(one, 1, None, seed=0)
    places, ways, orders = set(), set(), set()
    for k in range(400):
        pixels = pixels_of(data[k][0])
        planes = [tuple(sorted(pixels[..., c][pixels[..., c] > 0])) for c in range(3)]
        orders.add(tuple(planes))
        [corner] = np.argwhere((pixels == 255).all(2))
        along = [np.argwhere(pixels == value)[0, :2] - corner for value in (120, 60)]
        ways.add(tuple(map(tuple, along)))
        places.add(tuple(corner))
    assert len(orders) == 6
    assert len(ways) == 8
    assert len(places) == 16  # those of nine moves, and of their turned and mirrored forms


def test_the_border_is_black(images: LabelledImages) -> None:
    data = AugmentedImages(images, 3, None, seed=0)
    seen = [pixels_of(data[k][0]) for k in range(40)]
    black = [(pixels == 0).all(2) for pixels in seen]
    assert {mask.any() for mask in black} >= {np.True_}
    for mask in black:  # whole rows and columns at the edges
        rows, columns = mask.all(1), mask.all(0)
        assert np.array_equal(mask, rows[:, None] | columns[None])
    assert max(mask.all(1).sum() for mask in black) == 3


def test_noise_has_the_asked_for_ratio(images: LabelledImages) -> None:
    clean, dirty = (AugmentedImages(images, 0, n, seed=0) for n in (None, 40.0))
    pairs = [(clean[k][0], dirty[k][0]) for k in range(20)]
    power = sum(c.square().mean().item() for c, _ in pairs)
    noise = sum((d - c).square().mean().item() for c, d in pairs)
    assert 10 * np.log10(power / noise) == pytest.approx(40, abs=0.5)


@pytest.mark.parametrize(("fraction", "held_out"), [(0.25, 5), (0.001, 1), (0.999, 19)])
def test_a_share_is_held_out(images: LabelledImages, fraction: float, held_out: int) -> None:
    training, validation = split(images, fraction)
    assert len(validation) == held_out
    assert sorted(training.names + validation.names) == sorted(images.names)
    for part in (training, validation):
        for pixels, label, name in zip(part.pixels, part.labels, part.names, strict=True):
            number = int(name.removesuffix(".png"))
            assert np.array_equal(pixels, images.pixels[number])
            assert label == images.labels[number]
    assert split(images, fraction)[1].names == validation.names
