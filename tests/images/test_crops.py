"""Crops are pure functions of (seed, epoch, picture), and no picture is left out in silence."""

from __future__ import annotations

import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from paoncodec.errors import ImageError, UsageError
from paoncodec.images.crops import (
    CropDataset,
    CropSequence,
    CropSpec,
    EpochOrder,
    find_images,
    find_unreadable,
    split,
)


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def coordinates(height: int, width: int) -> np.ndarray:
    """A picture whose samples say where they are: (row, column, 0)."""
    rows, columns = np.mgrid[:height, :width].astype(np.uint8)
    return np.stack([rows, columns, np.zeros_like(rows)], axis=2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(3)
    for number in range(6):
        size = (40 + number, 50, 3)
        save(tmp_path / "pictures" / f"{number}.png", rng.integers(0, 256, size, dtype=np.uint8))
    return tmp_path / "pictures"


def test_crops_are_uint8_channels_first(folder: Path) -> None:
    crop = CropDataset(folder, CropSpec(size=16))[0]
    assert crop.shape == (3, 16, 16)
    assert crop.dtype == torch.uint8
    assert crop.is_contiguous()


def test_a_crop_is_a_window_of_its_picture(tmp_path: Path) -> None:
    save(tmp_path / "a.png", coordinates(60, 80))
    dataset = CropDataset(tmp_path, CropSpec(size=16, flips=False))
    for crop in map(dataset.__getitem__, range(20)):
        top, left = int(crop[0, 0, 0]), int(crop[1, 0, 0])
        window = coordinates(60, 80)[top : top + 16, left : left + 16]
        np.testing.assert_array_equal(crop.numpy(), window.transpose(2, 0, 1))


def test_crops_reach_every_edge(tmp_path: Path) -> None:
    save(tmp_path / "a.png", coordinates(18, 19))
    dataset = CropDataset(tmp_path, CropSpec(size=16, flips=False))
    corners = {tuple(dataset[index][:2, 0, 0].tolist()) for index in range(200)}
    assert corners == {(top, left) for top in range(3) for left in range(4)}


def test_flips_give_all_four_and_nothing_else(tmp_path: Path) -> None:
    picture = coordinates(8, 8)
    save(tmp_path / "a.png", picture)
    dataset = CropDataset(tmp_path, CropSpec(size=8))
    seen = {dataset[index].numpy().tobytes() for index in range(60)}
    flipped = [picture, picture[::-1], picture[:, ::-1], picture[::-1, ::-1]]
    assert seen == {view.transpose(2, 0, 1).tobytes() for view in flipped}


def test_transposition_doubles_them(tmp_path: Path) -> None:
    picture = coordinates(8, 8)
    save(tmp_path / "a.png", picture)
    dataset = CropDataset(tmp_path, CropSpec(size=8, flips=False, transpose=True))
    seen = {dataset[index].numpy().tobytes() for index in range(30)}
    assert seen == {picture.transpose(axes).tobytes() for axes in ((2, 0, 1), (2, 1, 0))}


def test_stretched_crops_have_factors_of_their_own_for_height_and_width(tmp_path: Path) -> None:
    """Each within the range, and within what its side of the picture allows."""
    height, width, size = 48, 120, 32
    save(tmp_path / "a.png", coordinates(height, width))
    spec = CropSpec(size=size, shrink=(0.4, 0.8), flips=False, stretch=True)
    dataset = CropDataset(tmp_path, spec)
    crops = np.stack([dataset[index].numpy() for index in range(60)]).astype(float)
    # Rows and columns are channels 0 and 1: their slopes are what a pixel stands for.
    inner = slice(6, -6)
    rows = np.diff(crops[:, 0, inner, inner], axis=1).mean((1, 2))
    columns = np.diff(crops[:, 1, inner, inner], axis=2).mean((1, 2))
    assert rows.max() <= height / size + 0.05
    assert columns.max() <= 1 / 0.4 + 0.05
    assert columns.max() > height / size + 0.3
    assert min(rows.min(), columns.min()) >= 1 / 0.8 - 0.05
    assert np.abs(rows - columns).max() > 0.5


def test_grey_pictures_have_three_equal_channels(tmp_path: Path) -> None:
    save(tmp_path / "a.png", coordinates(20, 20)[:, :, 1])
    for shrink in (None, (0.7, 0.7)):
        crop = CropDataset(tmp_path, CropSpec(size=8, shrink=shrink))[0]
        assert crop.shape == (3, 8, 8)
        assert torch.equal(crop[0], crop[1])
        assert torch.equal(crop[0], crop[2])


@pytest.mark.parametrize("shrink", [None, (0.5, 0.8)])
def test_crops_depend_on_seed_epoch_and_picture_only(
    folder: Path, shrink: tuple[float, float] | None
) -> None:
    def crops(seed: int, cache_bytes: int, order: range) -> dict[int, bytes]:
        spec = CropSpec(size=16, shrink=shrink, seed=seed, cache_bytes=cache_bytes)
        dataset = CropDataset(folder, spec)
        return {index: dataset[index].numpy().tobytes() for index in order}

    first = crops(5, 0, range(18))
    assert crops(5, 1 << 20, range(17, -1, -1)) == first
    assert len(set(first.values())) == 18
    assert not set(first.values()) & set(crops(6, 0, range(18)).values())


def test_workers_change_nothing(folder: Path) -> None:
    dataset = CropDataset(folder, CropSpec(size=16, shrink=(0.5, 0.8)))

    def batches(workers: int) -> list[torch.Tensor]:
        numbers = [[0, 1, 2, 3], [4, 5, 6], [7, 8, 9, 10], [11, 12]]
        sequence = CropSequence(dataset, EpochOrder([1.0] * 6, seed=1))
        return list(DataLoader(sequence, batch_sampler=numbers, num_workers=workers))

    for alone, shared in zip(batches(0), batches(2), strict=True):
        assert torch.equal(alone, shared)


def test_iteration_ends_after_one_epoch(folder: Path) -> None:
    dataset = CropDataset(folder, CropSpec(size=16))
    crops = list(dataset)
    assert len(crops) == len(dataset) == 6
    assert torch.equal(crops[3], dataset[3])


def test_negative_indexes_are_refused(folder: Path) -> None:
    with pytest.raises(IndexError):
        CropDataset(folder)[-1]


def test_shrinking_is_reducing_the_whole_picture_and_cropping(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    save(tmp_path / "a.png", pixels)
    dataset = CropDataset(tmp_path, CropSpec(size=16, shrink=(0.5, 0.5), flips=False))
    # At one half, an even corner of the picture is a whole pixel of the reduced one, and an odd
    # one is a pixel of the picture reduced from its second row or column on.
    image = Image.fromarray(pixels)
    windows = set()
    for x, y in ((0, 0), (0, 1), (1, 0), (1, 1)):
        wide, high = 48 - x, 48 - y
        box = (x, y, x + 2 * wide, y + 2 * high)
        reduced = np.array(image.resize((wide, high), Image.Resampling.LANCZOS, box=box))
        views = np.lib.stride_tricks.sliding_window_view(reduced, (16, 16), axis=(0, 1))
        windows |= {view.tobytes() for row in views for view in row}
    assert all(dataset[index].numpy().tobytes() in windows for index in range(10))


def test_a_picture_too_small_for_its_factor_is_reduced_as_far_as_it_goes(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    save(tmp_path / "a.png", pixels)
    dataset = CropDataset(tmp_path, CropSpec(size=16, shrink=(0.5, 0.6), flips=False))
    image, lanczos = Image.fromarray(pixels), Image.Resampling.LANCZOS
    boxes = [(left, 0, left + 20, 20) for left in range(5)]
    squares = {np.array(image.resize((16, 16), lanczos, box=box)).tobytes() for box in boxes}
    found = {dataset[k].permute(1, 2, 0).numpy().tobytes() for k in range(10)}
    assert len(found) > 1
    assert found <= squares


def test_a_picture_smaller_than_the_crop_is_padded_by_reflection(tmp_path: Path) -> None:
    picture = coordinates(5, 30)
    save(tmp_path / "a.png", picture)
    crop = CropDataset(tmp_path, CropSpec(size=16, flips=False))[0]
    rows = [1, 2, 3, 4, 3, 2, 1, 0, 1, 2, 3, 4, 3, 2, 1, 0]
    assert crop[0, :, 0].tolist() in (
        rows,
        rows[::-1],
        np.pad(range(5), (5, 6), "reflect").tolist(),
    )
    assert (crop[1, 0, 1:] - crop[1, 0, :-1] == 1).all()


def test_a_single_pixel_fills_its_crop(tmp_path: Path) -> None:
    save(tmp_path / "a.png", np.full((1, 1, 3), 9, np.uint8))
    assert (CropDataset(tmp_path, CropSpec(size=8))[0] == 9).all()


def test_an_unreadable_picture_is_named_once_and_replaced(folder: Path) -> None:
    bad = folder / "2.png"
    bad.write_bytes(bad.read_bytes()[:100])
    dataset = CropDataset(folder, CropSpec(size=16))
    with pytest.warns(UserWarning, match=r"2\.png"):
        crop = dataset[2]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(dataset[2], crop)
    good = np.array(Image.open(folder / "3.png"))
    windows = np.lib.stride_tricks.sliding_window_view(good, (16, 16), axis=(0, 1))
    views = [crop.numpy()[:, :: (-1) ** a, :: (-1) ** b] for a in (0, 1) for b in (0, 1)]
    assert any((windows == view).all(axis=(2, 3, 4)).any() for view in views)


def test_a_picture_that_is_not_carried_is_named(folder: Path) -> None:
    Image.new("RGBA", (64, 64)).save(folder / "0.png")
    with pytest.warns(UserWarning, match=r"0\.png: has transparency"):
        CropDataset(folder, CropSpec(size=16))[0]


@pytest.mark.filterwarnings("ignore:picture left out")
def test_nothing_readable_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(ImageError, match="none of the 1"):
        CropDataset(tmp_path)[0]


def test_the_cache_keeps_to_its_budget_and_is_used(folder: Path) -> None:
    one = 40 * 50 * 3
    dataset = CropDataset(folder, CropSpec(size=16, cache_bytes=2 * one + 200))
    before = [dataset[index] for index in range(6)]
    for name in ("0.png", "1.png"):
        (folder / name).unlink()
    for index, crop in enumerate(before):
        assert torch.equal(dataset[index], crop)


@pytest.mark.filterwarnings("ignore:picture left out")
def test_without_a_budget_nothing_is_kept(folder: Path) -> None:
    dataset = CropDataset(folder, CropSpec(size=16))
    first, second = dataset[0], dataset[1]
    (folder / "0.png").unlink()
    # Another picture takes the place of the one that is gone.
    assert not torch.equal(dataset[0], first)
    assert torch.equal(dataset[1], second)


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": 0},
        {"shrink": (0.0, 0.5)},
        {"shrink": (0.8, 0.5)},
        {"shrink": (0.5, 1.5)},
        {"stretch": True},
        {"seed": -1},
        {"cache_bytes": -1},
    ],
)
def test_illegal_crops_cannot_be_asked_for(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        CropSpec(**wrong)  # type: ignore[arg-type]


def test_find_images_searches_folders_by_suffix(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.png", "deep/er/c.webp", "notes.txt", ".hidden.png", "d.tiff"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [path.relative_to(tmp_path).as_posix() for path in find_images(tmp_path)]
    assert found == ["a.png", "b.JPG", "d.tiff", "deep/er/c.webp"]


def test_find_images_joins_places_and_repeats_nothing(tmp_path: Path) -> None:
    one = save(tmp_path / "x" / "1.png", coordinates(2, 2))
    two = save(tmp_path / "y" / "2.png", coordinates(2, 2))
    assert find_images([two, tmp_path / "x", tmp_path / "y"]) == [two, one]


def test_no_pictures_is_a_usage_error(tmp_path: Path) -> None:
    for source in (tmp_path, tmp_path / "missing", []):
        with pytest.raises(UsageError):
            CropDataset(source)


NAMES = [Path(f"/data/{number:04d}.png") for number in range(1000)]


def test_split_parts_everything_in_order() -> None:
    training, validation = split(NAMES, 0.1, seed=4)
    assert sorted(training + validation) == NAMES
    assert training == sorted(training)
    assert 60 < len(validation) < 140


def test_split_depends_on_names_and_seed_only() -> None:
    _, validation = split(NAMES, 0.1, seed=4)
    elsewhere = [Path("/other") / path.name for path in reversed(NAMES[:500])]
    assert {path.name for path in split(elsewhere, 0.1, seed=4)[1]} == {
        path.name for path in validation if path in NAMES[:500]
    }
    assert split(NAMES, 0.1, seed=5)[1] != validation
    assert set(validation) <= set(split(NAMES, 0.2, seed=4)[1])


def test_split_of_a_few_leaves_something_on_both_sides() -> None:
    for count in range(2, 12):
        for fraction in (0.001, 0.999):
            training, validation = split(NAMES[:count], fraction)
            assert training
            assert validation


def test_split_without_validation() -> None:
    assert split(NAMES, 0.0) == (NAMES, [])
    assert split(NAMES[:1], 0.5)[0] + split(NAMES[:1], 0.5)[1] == NAMES[:1]
    with pytest.raises(UsageError):
        split(NAMES, 1.0)


def test_an_epoch_draws_every_picture_once() -> None:
    order = EpochOrder([1.0] * 10, seed=2)
    assert len(order) == 10
    epochs = [[order[10 * epoch + place] for place in range(10)] for epoch in range(3)]
    assert [sorted(epoch) for epoch in epochs] == [
        list(range(start, start + 10)) for start in (0, 10, 20)
    ]
    assert len({tuple(index % 10 for index in epoch) for epoch in epochs}) == 3


def draws(order: EpochOrder, epoch: int) -> list[int]:
    return [order[epoch * len(order) + place] for place in range(len(order))]


def test_weights_multiply_the_draws_of_an_epoch() -> None:
    order = EpochOrder([1.0] * 5 + [3.0] * 4 + [1.5] * 6 + [0.25] * 8)
    assert len(order) == 5 + 12 + 9 + 2
    seen = [Counter(index % 23 for index in draws(order, epoch)) for epoch in range(40)]
    for counts in seen:
        assert [counts[p] for p in range(9)] == [1] * 5 + [3] * 4
        assert sorted(counts[p] for p in range(9, 15)) == [1, 1, 1, 2, 2, 2]
        assert sorted(counts[p] for p in range(15, 23)) == [0] * 6 + [1] * 2
    # Which of them are drawn more often is another matter each epoch.
    for picture in range(9, 23):
        assert 2 <= sum(counts[picture] > (picture < 15) for counts in seen) <= 38


def test_every_draw_is_a_crop_of_its_own() -> None:
    order = EpochOrder([2.5] * 4 + [1.0] * 3)
    indexes = [index for epoch in range(20) for index in draws(order, epoch)]
    assert len(set(indexes)) == len(indexes)


def test_a_picture_of_a_small_weight_is_drawn_all_the_same() -> None:
    order = EpochOrder([1.0] * 5 + [0.01])
    assert sorted(index % 6 for index in draws(order, 3)) == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("weights", [[1.0] * 7, [0.5, 2.5, 2.5, 1.0]])
def test_a_draw_depends_on_its_number_and_the_seed_alone(weights: list[float]) -> None:
    whole = [EpochOrder(weights, seed=2)[k] for k in range(40)]
    again = EpochOrder(weights, seed=2)
    assert [again[k] for k in range(39, -1, -1)] == whole[::-1]
    assert [EpochOrder(weights, seed=3)[k] for k in range(40)] != whole


def test_orders_are_of_something() -> None:
    for weights in ([], [1.0, 0.0]):
        with pytest.raises(UsageError):
            EpochOrder(weights)
    with pytest.raises(IndexError):
        EpochOrder([1.0])[-1]


def test_a_sequence_is_the_crops_in_their_order(folder: Path) -> None:
    crops, order = CropDataset(folder, CropSpec(size=16)), EpochOrder([1.0] * 6, seed=1)
    sequence = CropSequence(crops, order)
    for number in (0, 5, 6, 17):
        assert torch.equal(sequence[number], crops[order[number]])


def test_unreadable_pictures_are_found(folder: Path) -> None:
    (folder / "empty.png").touch()
    (folder / "text.png").write_text("no picture")
    paths = find_images(folder)
    read, faults = find_unreadable(paths, seconds=60)
    assert read == 8
    assert sorted(Path(fault.split(":")[0]).name for fault in faults) == ["empty.png", "text.png"]
    assert find_unreadable(paths, seconds=0)[0] == 1
