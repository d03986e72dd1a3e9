"""Pictures in tiles come out as if they had been computed whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from paoncodec.errors import ImageError, UsageError
from paoncodec.images import Metadata, Picture
from paoncodec.vision.parts import to_range
from paoncodec.vision.superres import build, enlarge_picture, upscale


def picture(height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), np.uint8)


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (16, 16), (37, 50)])
def test_tiles_with_a_halo_are_seamless(tiny, size: tuple[int, int]) -> None:
    pixels = picture(*size)
    whole = upscale(tiny, pixels, tile=64)
    assert whole.shape == (2 * size[0], 2 * size[1], 3)
    assert np.array_equal(upscale(tiny, pixels, tile=16, halo=10), whole)


def test_without_a_halo_there_are_seams(tiny) -> None:
    pixels = picture(37, 50)
    assert not np.array_equal(upscale(tiny, pixels, tile=16, halo=0), upscale(tiny, pixels, 64))


@pytest.mark.parametrize("size", [(37, 50), (33, 64)])
def test_all_tiles_are_of_one_size(tiny, size) -> None:
    """Bounds of element-wise shifts depend on it."""
    seen = set()
    tiny.register_forward_pre_hook(lambda module, given: seen.add(given[0].shape[2:]))
    upscale(tiny, picture(*size), tile=16, halo=6)
    assert seen == {(28, 28)}


def test_values_are_those_of_the_network(tiny) -> None:
    pixels = picture(5, 6)
    x = to_range(torch.from_numpy(pixels).permute(2, 0, 1))[None]
    with torch.no_grad():
        y = (tiny(x)[0].permute(1, 2, 0) + 1) / 2 * 255
    assert np.array_equal(upscale(tiny, pixels), y.clamp(0, 255).round().numpy())


def test_samples_of_16_bits_are_finer_ones(tiny) -> None:
    pixels = picture(9, 7)
    fine = upscale(tiny, pixels.astype(np.uint16) * 257)
    assert fine.dtype == np.uint16
    assert np.abs(fine / 257 - upscale(tiny, pixels)).max() <= 0.51
    assert (fine % 257).any()


def test_transparency_goes_with_the_colours(tiny) -> None:
    samples, alpha = picture(9, 7), picture(9, 7, 1)[:, :, 0]
    metadata = Metadata(icc=b"profile")
    made = enlarge_picture(tiny, Picture(samples, alpha, metadata))
    assert np.array_equal(made.samples, upscale(tiny, samples))
    assert made.alpha.shape == (18, 14)
    assert (made.alpha != alpha.repeat(2, 0).repeat(2, 1)).any()
    assert made.metadata is metadata
    assert enlarge_picture(tiny, Picture(samples)).alpha is None
    even = enlarge_picture(tiny, Picture(samples, np.full((9, 7), 128, np.uint8)))
    assert np.array_equal(even.alpha, np.full((18, 14), 128))


def test_what_is_opaque_or_clear_stays_so(tiny) -> None:
    alpha = np.zeros((12, 12), np.uint8)
    alpha[:, 6:] = 255
    made = enlarge_picture(tiny, Picture(picture(12, 12), alpha)).alpha
    assert not made[:, :10].any()
    assert (made[:, 14:] == 255).all()


def test_grey_stays_grey(tiny) -> None:
    grey = picture(9, 7, 1)
    made = upscale(tiny, grey)
    assert made.shape == (18, 14, 1)
    colour = upscale(tiny, np.repeat(grey, 3, axis=2)).astype(float)
    assert np.abs(made[..., 0] - colour.mean(2)).max() <= 1


def test_learned_shifts_within_the_halo_leave_no_seams() -> None:
    torch.manual_seed(0)
    model = build("padenet-id", {"channels": 4, "blocks": 1, "scale": 2}).eval()
    for name, parameter in model.named_parameters():
        if "shifter" in name:
            torch.nn.init.uniform_(parameter, -0.1, 0.1)
    pixels = picture(40, 40)
    whole, tiled = (upscale(model, pixels, tile=t, halo=12) for t in (40, 16))
    # The bound of the shifts is a quarter of what is seen: far away here, and not quite the same.
    assert np.abs(whole.astype(int) - tiled).max() <= 1


def test_wrong_sizes_and_weights(tiny) -> None:
    with pytest.raises(UsageError, match="tile 0"):
        upscale(tiny, picture(4, 4), tile=0)
    torch.nn.init.constant_(tiny.last.bias, torch.nan)
    with pytest.raises(ImageError, match="not numbers"):
        upscale(tiny, picture(4, 4))
