"""Pairs of patches: they belong together, and are functions of their number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from paoncodec.errors import ImageError, PictureLeftOut
from paoncodec.images import read_image
from paoncodec.vision.parts import to_range
from paoncodec.vision.superres.data import PatchPairs, PatchSpec
from paoncodec.vision.superres.resize import reduce


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in "abc":
        pixels = rng.integers(0, 256, (60, 70, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    return tmp_path


def place_of(patch: np.ndarray, pixels: np.ndarray) -> tuple[int, int]:
    """Where a patch (H, W, 3) is in a picture."""
    windows = np.lib.stride_tricks.sliding_window_view(pixels, patch.shape)[:, :, 0]
    [(top, left)] = np.argwhere((windows == patch).all((2, 3, 4)))
    return int(top), int(left)


@pytest.mark.parametrize("scale", [2, 4])
def test_the_small_patch_is_cut_from_the_reduced_picture(folder: Path, scale: int) -> None:
    pairs = PatchPairs(folder, PatchSpec(scale, 6, augment=False))
    for index in range(3):
        low, high = pairs[index]
        pixels = read_image(pairs._crops.paths[index])
        top, left = place_of(high.permute(1, 2, 0).numpy(), pixels)
        # On the grid that has a pixel's corner where the patch has its own.
        whole = reduce(pixels[top % scale :, left % scale :], scale)
        rows, columns = top // scale, left // scale
        wanted = whole[rows : rows + 6, columns : columns + 6]
        assert torch.equal(low, to_range(torch.from_numpy(wanted).permute(2, 0, 1)))


def test_pairs_are_functions_of_their_number(folder: Path) -> None:
    spec = PatchSpec(2, 8, noise=40.0, seed=3)
    first, again = PatchPairs(folder, spec), PatchPairs(folder, spec)
    backwards = {k: again[k] for k in (7, 4, 1)}
    for k in (1, 4, 7):
        assert all(map(torch.equal, first[k], backwards[k]))
    assert not torch.equal(first[1][1], first[4][1])


def test_both_are_augmented_alike(folder: Path) -> None:
    spec = PatchSpec(4, 6)
    pairs = PatchPairs(folder, spec)
    for k in range(12):
        low, high = pairs[k]
        again = reduce(high.permute(1, 2, 0).numpy(), 4)[2:-2, 2:-2]
        small = to_range(torch.from_numpy(again).permute(2, 0, 1))
        torch.testing.assert_close(low[:, 2:-2, 2:-2], small, rtol=0, atol=1e-6)


def test_colours_are_shuffled_and_patches_turned(folder: Path) -> None:
    ramp = np.zeros((40, 40, 3), np.uint8)
    ramp[..., 0], ramp[..., 1] = 200, np.arange(40)
    path = folder / "ramp.png"
    Image.fromarray(ramp).save(path)
    seen = set()
    pairs = PatchPairs(path, PatchSpec(2, 4))
    for k in range(200):
        high = pairs[k][1].numpy().astype(int)
        order = np.argsort(high.mean((1, 2)))
        changes = np.sign(high[order[1], -1, 0] - high[order[1], 0, 0])
        changes = (changes, np.sign(high[order[1], 0, -1] - high[order[1], 0, 0]))
        seen.add((tuple(order), *changes))
    assert len({order for order, *_ in seen}) == 6
    assert len({tuple(turn) for _, *turn in seen}) == 4


def test_noise_has_the_asked_for_ratio(folder: Path) -> None:
    plain, noisy = (PatchPairs(folder, PatchSpec(2, 20, noise=n)) for n in (None, 40.0))
    clean, dirty = plain[0][0], noisy[0][0]
    assert torch.equal(plain[0][1], noisy[0][1])
    ratio = 10 * torch.log10(clean.square().mean() / (dirty - clean).square().mean())
    assert ratio.item() == pytest.approx(40, abs=0.5)


def test_a_picture_smaller_than_a_patch_is_left_out(tmp_path: Path) -> None:
    Image.new("RGB", (40, 31)).save(tmp_path / "small.png")
    with (
        pytest.warns(PictureLeftOut, match=r"small\.png: 40x31 pixels, needs 32 a side"),
        pytest.raises(
            ImageError,
            match=r"none of the 1 pictures can be used; one of them: .*small\.png: 40x31",
        ),
    ):
        PatchPairs(tmp_path, PatchSpec(4, 8))[0]


def test_a_small_picture_held_out_is_continued(tmp_path: Path) -> None:
    Image.new("RGB", (5, 3), (10, 20, 30)).save(tmp_path / "tiny.png")
    low, high = PatchPairs(tmp_path, PatchSpec(4, 8, augment=False, small=True))[0]
    assert (low.shape, high.shape) == ((3, 8, 8), (3, 32, 32))
    assert (high == high[:, :1, :1]).all()


def test_what_the_kernel_sees_around_a_patch_may_be_missing(tmp_path: Path) -> None:
    Image.new("RGB", (32, 32), (10, 20, 30)).save(tmp_path / "tiny.png")
    low, high = PatchPairs(tmp_path, PatchSpec(4, 8, augment=False))[0]
    assert low.shape == (3, 8, 8)
    assert torch.equal(
        high, torch.tensor([10, 20, 30], dtype=torch.uint8)[:, None, None] + 0 * high
    )
