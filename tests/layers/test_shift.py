"""The shifter: where features go, how far they may, what comes back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from paoncodec.layers import NoShift, PaLaConv2d, PredictedShift, StaticShift, shift2d
from paoncodec.layers import shift as shift_module
from paoncodec.layers.shift import PredictedShifter, StaticShifter, build_shifter


def picture(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


def bilinear(x: np.ndarray, dx: float, dy: float) -> np.ndarray:
    """(H, W) at the positions (i + dy, j + dx), clipped to the picture."""
    height, width = x.shape
    out = np.empty_like(x)
    for i, j in np.ndindex(height, width):
        row, column = np.clip(i + dy, 0, height - 1), np.clip(j + dx, 0, width - 1)
        top, left = int(row), int(column)
        bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
        above = (1 - column + left) * x[top, left] + (column - left) * x[top, right]
        below = (1 - column + left) * x[bottom, left] + (column - left) * x[bottom, right]
        out[i, j] = (1 - row + top) * above + (row - top) * below
    return out


@pytest.mark.parametrize("images", [1, 2])
def test_each_channel_moves_by_its_own_fraction_of_a_pixel(images: int) -> None:
    x = picture(2, 3, 5, 6, dtype=torch.float64)
    shift = picture(images, 3, 2, dtype=torch.float64) * 3
    moved = shift2d(x, shift)
    for image, channel in np.ndindex(2, 3):
        dx, dy = shift[min(image, images - 1), channel].tolist()
        expected = bilinear(x[image, channel].numpy(), dx, dy)
        np.testing.assert_allclose(moved[image, channel], expected, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_zero_shift_is_the_identity(dtype: torch.dtype) -> None:
    x = picture(2, 3, 4, 5).to(dtype)
    assert torch.equal(shift2d(x, torch.zeros(1, 3, 2)), x)


@pytest.mark.parametrize("spec", [NoShift(), StaticShift(2.0), PredictedShift()])
def test_every_shifter_starts_as_the_identity(spec) -> None:
    x = picture(2, 3, 4, 5)
    assert torch.equal(build_shifter(spec, 3)(x), x)


@pytest.mark.parametrize(("dx", "dy"), [(1, 0), (0, -2), (2, 1), (-3, -1)])
def test_an_integer_shift_is_a_roll_inside_and_repeats_the_border(dx: int, dy: int) -> None:
    shifter = StaticShifter(3, bound=3)
    with torch.no_grad():
        shifter.shift.copy_(torch.tensor([dx, dy], dtype=torch.float32).expand(3, 2))
    x = picture(2, 3, 8, 9)
    moved, rolled = shifter(x), x.roll((-dy, -dx), (2, 3))
    rows = slice(max(-dy, 0), 8 - max(dy, 0))
    columns = slice(max(-dx, 0), 9 - max(dx, 0))
    assert torch.equal(moved[..., rows, columns], rolled[..., rows, columns])
    clipped = x[..., (torch.arange(8) + dy).clamp(0, 7), :]
    assert torch.equal(moved, clipped[..., (torch.arange(9) + dx).clamp(0, 8)])


@pytest.mark.parametrize("far", [20.0, 1e9, float("inf")])
def test_a_shift_past_the_picture_gives_its_border(far: float) -> None:
    x = picture(1, 2, 4, 5)
    moved = shift2d(x, torch.tensor([[[0.0, far], [-far, 0.0]]]))
    assert torch.equal(moved[0, 0], x[0, 0, -1:].expand(4, 5))
    assert torch.equal(moved[0, 1], x[0, 1, :, :1].expand(4, 5))


def test_gradients() -> None:
    shift = torch.tensor([[[0.3, -1.4], [2.2, 0.6]]], dtype=torch.float64, requires_grad=True)
    x = picture(2, 2, 4, 5, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(shift2d, (x, shift))


@pytest.mark.parametrize("learned", [2.0, 2.5, 1e6, -2.5])
def test_a_static_shift_is_kept_within_its_bound(learned: float) -> None:
    shifter = StaticShifter(2, bound=2)
    torch.nn.init.constant_(shifter.shift, learned)
    kept = 2.0 if learned > 0 else -2.0
    x = picture(1, 2, 7, 7)
    assert torch.equal(shifter(x), shift2d(x, torch.full((1, 2, 2), kept)))


def step(shifter: StaticShifter, x: Tensor, wanted: float) -> float:
    """One step of descent towards a shift in x; returns the shift after it."""
    shifter.zero_grad()
    target = shift2d(x, torch.tensor([[[wanted, 0.0]]]))
    (shifter(x) - target)[..., 4:-4].square().mean().backward()
    with torch.no_grad():
        shifter.shift -= shifter.shift.grad
    return shifter.shift[0, 0].item()


@pytest.mark.parametrize("sign", [1, -1])
def test_a_shift_past_its_bound_comes_back(sign: int) -> None:
    x = torch.linspace(0, 2, 12).expand(1, 1, 12, 12) ** 2
    shifter = StaticShifter(1, bound=1.5)
    with torch.no_grad():
        shifter.shift[0, 0] = sign * 2.0
    places = [step(shifter, x, wanted=0.0) for _ in range(40)]
    assert abs(places[0]) < 2.0
    assert abs(places[-1]) < 0.1


@pytest.mark.parametrize("sign", [1, -1])
def test_descent_beyond_the_bound_is_not_followed(sign: int) -> None:
    """Or a shift would wander off unseen and be long in coming back."""
    x = torch.linspace(0, 2, 12).expand(1, 1, 12, 12) ** 2
    shifter = StaticShifter(1, bound=0.5)
    places = [sign * step(shifter, x, wanted=sign * 3.0) for _ in range(40)]
    past = next(i for i, place in enumerate(places) if place >= 0.5)
    assert len(set(places[past:])) == 1


def test_the_state_dict_carries_the_bound() -> None:
    shifter = StaticShifter(1, bound=3)
    assert shifter.state_dict()["bound"].item() == 3
    other = StaticShifter(1, bound=1)
    other.load_state_dict(shifter.state_dict())
    torch.nn.init.constant_(other.shift, 9.0)
    x = picture(1, 1, 9, 9)
    assert torch.equal(other(x), shift2d(x, torch.full((1, 1, 2), 3.0)))


def test_predicted_shifts_follow_the_average_of_each_image_alone() -> None:
    shifter = PredictedShifter(2)
    with torch.no_grad():
        shifter.predict.weight.normal_(0, 1, generator=torch.Generator().manual_seed(1))
        shifter.predict.bias.copy_(torch.tensor([0.5, -0.5, 0.2, 1.0]))
    x = picture(3, 2, 6, 6, dtype=torch.float32) + torch.arange(3.0)[:, None, None, None]
    moved = shifter(x)
    for i in range(3):
        mean = x[i].mean((1, 2))
        raw = shifter.predict.weight[..., 0, 0] @ mean + shifter.predict.bias
        shift = torch.where(raw > 0, raw, 0.25 * raw).reshape(1, 2, 2)
        torch.testing.assert_close(moved[i : i + 1], shift2d(x[i : i + 1], shift))


@pytest.mark.parametrize("shift", [(0.3, -1.4), (-2.6, 7.7), (11.5, 0.0)])
@pytest.mark.parametrize(
    ("border", "theirs"), [("replicate", "border"), ("zeros", "zeros"), ("mirror", "reflection")]
)
def test_borders_are_those_of_grid_sample(border, theirs, shift: tuple[float, float]) -> None:
    x = picture(1, 1, 5, 6, dtype=torch.float64)
    scale = torch.tensor([2 / 6, 2 / 5], dtype=torch.float64)
    moves = torch.tensor(shift, dtype=torch.float64)
    matrix = torch.cat((torch.eye(2, dtype=torch.float64), (moves * scale)[:, None]), 1)[None]
    grid = F.affine_grid(matrix, x.shape, align_corners=False)
    expected = F.grid_sample(x, grid, padding_mode=theirs, align_corners=False)
    torch.testing.assert_close(shift2d(x, moves[None, None], border), expected)


@pytest.mark.parametrize(
    "shifter", [StaticShifter(2, 3.0, rounded=True), PredictedShifter(2, rounded=True)]
)
def test_rounded_shifts_copy_pixels_and_learn(shifter: torch.nn.Module) -> None:
    x = picture(1, 2, 7, 7)
    moves = shifter.shift if isinstance(shifter, StaticShifter) else shifter.predict.bias
    torch.nn.init.constant_(moves, 1.4)
    assert torch.equal(shifter(x), shift2d(x, torch.ones(1, 2, 2)))
    shifter(x).square().sum().backward()
    assert (moves.grad != 0).all()


@pytest.mark.parametrize("spec", [StaticShift, PredictedShift])
def test_an_unknown_border_is_refused(spec) -> None:
    with pytest.raises(ValueError, match=r"'reflect': choose one of replicate, zeros, mirror"):
        spec(border="reflect")


@pytest.mark.parametrize("bound", [0.0, -1.0, float("nan")])
def test_a_bound_must_be_positive(bound: float) -> None:
    with pytest.raises(ValueError, match=f"bound {bound}: must be > 0"):
        StaticShift(bound)


def test_an_unknown_shift_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'static'.*NoShift, StaticShift or PredictedShift"):
        PaLaConv2d(2, 2, 3, shift="static")  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_one_channel_after_the_other_gives_the_same_bits(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = picture(2, 6, 5, 7, dtype=dtype)
    shift = picture(2, 6, 2) * 4
    shift[0, :4] = torch.tensor([[0, 0], [1, -2], [-7, 5], [-100, 100]])
    moved = shift2d(x, shift)
    padded = F.pad(moved, (2, 2, 2, 2), mode="replicate")
    monkeypatch.setattr(shift_module, "_LARGE_PLANE", 1)
    assert torch.equal(shift2d(x, shift), moved)
    assert torch.equal(shift2d(x, shift, padding=2), padded)
    monkeypatch.setattr(shift_module, "_shift_planes", None)
    learned = shift2d(x, shift.requires_grad_())
    assert torch.equal(learned, moved)
    assert learned.requires_grad
    with torch.no_grad():
        assert shift2d(x, shift * torch.inf)[0, 0].isnan().any()


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-6), (torch.bfloat16, 2e-2)]
)
@pytest.mark.parametrize("size", [(2, 1), (1, 5), (5, 7)])
@pytest.mark.parametrize("padding", [0, 1, 3])
def test_taps_of_what_is_channels_last_give_the_same(
    size: tuple[int, int],
    padding: int,
    dtype: torch.dtype,
    tolerance: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x = picture(2, 6, *size, dtype=dtype)
    shift = picture(2, 6, 2).clamp(-1, 1)
    shift[0, :3] = torch.tensor([[0, 0], [1, -1], [-0.5, 0.25]])
    expected = F.pad(shift2d(x, shift), (padding,) * 4, mode="replicate")
    assert torch.equal(shift2d(x, shift, padding=padding), expected)
    monkeypatch.setattr(shift_module, "_LARGE_PLANE", 1)
    monkeypatch.setattr(shift_module, "_shift_planes", None)
    with torch.autocast("cpu", torch.bfloat16):
        moved = shift2d(x.to(memory_format=torch.channels_last), shift, padding=padding)
    assert moved.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(moved[0, :2], expected[0, :2])
    torch.testing.assert_close(moved, expected, rtol=tolerance, atol=tolerance)


def test_taps_are_for_a_pixel_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    x, shift = picture(1, 2, 5, 7), torch.tensor([[[0.5, 1.25], [0, -2]]])
    expected = shift2d(x, shift)
    monkeypatch.setattr(shift_module, "_LARGE_PLANE", 1)
    assert torch.equal(shift2d(x.to(memory_format=torch.channels_last), shift), expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_taps_of_a_half_precision_shift_keep_what_is_even(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shift_module, "_LARGE_PLANE", 1)
    monkeypatch.setattr(shift_module, "_shift_planes", None)
    x = torch.full((1, 8, 5, 7), 100.0).to(memory_format=torch.channels_last)
    moved = shift2d(x, picture(1, 8, 2).clamp(-1, 1).to(dtype))
    torch.testing.assert_close(moved, x, rtol=1e-6, atol=0)


def test_mirrored_shifts_of_wide_maps_are_exact() -> None:
    x = picture(1, 1, 1, 4096)
    shift = torch.tensor([[[-0.3, 0.0]]])
    expected = shift2d(x.double(), shift.double(), "mirror").float()
    torch.testing.assert_close(shift2d(x, shift, "mirror"), expected)
