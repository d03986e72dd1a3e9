"""AdamW of weights in 16 bits: torch's, but for what is said of it."""

from __future__ import annotations

import copy

import pytest
import torch

from paoncodec.vision.classification.optimizer import RoundedAdamW


def gradients(steps: int) -> list[torch.Tensor]:
    torch.manual_seed(0)
    return [torch.randn(5) * 0.01 for _ in range(steps)]


def run(optimizer: torch.optim.Optimizer, given: list[torch.Tensor], scale: float = 1) -> None:
    [parameter] = optimizer.param_groups[0]["params"]
    for gradient in given:
        parameter.grad = (scale * gradient).to(parameter.dtype)
        optimizer.step()


def test_of_float32_it_is_torchs() -> None:
    ours, theirs = (torch.nn.Parameter(torch.linspace(-1, 1, 5)) for _ in range(2))
    run(RoundedAdamW([ours], lr=0.1, weight_decay=0.3), gradients(20))
    run(torch.optim.AdamW([theirs], lr=0.1, weight_decay=0.3), gradients(20))
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_each_step_is_rounded_from_float32(dtype: torch.dtype) -> None:
    """One step is torch's of the same numbers; no bits are kept beside the weights."""
    start = torch.linspace(-1, 1, 5).to(dtype)
    [gradient] = [g.to(dtype).float() for g in gradients(1)]
    ours, wide = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.float())
    run(RoundedAdamW([ours], lr=0.01), [gradient])
    run(torch.optim.AdamW([wide], lr=0.01), [gradient])
    assert torch.equal(ours, wide.to(dtype))
    small = torch.nn.Parameter(torch.ones(5, dtype=dtype))
    run(RoundedAdamW([small], lr=1e-5, weight_decay=0), gradients(100))
    assert (small == 1).all()


def test_small_gradients_count_in_float16() -> None:
    """Their squares are 0 there."""
    parameter = torch.nn.Parameter(torch.zeros(5, dtype=torch.float16))
    run(RoundedAdamW([parameter], lr=0.01), [torch.full((5,), 1e-4)])
    torch.testing.assert_close(parameter.float(), torch.full((5,), -0.01), rtol=2e-3, atol=0)


def test_the_scale_is_taken_back() -> None:
    ours, theirs = (torch.nn.Parameter(torch.linspace(-1, 1, 5)) for _ in range(2))
    run(RoundedAdamW([ours], lr=0.1, scale=1024), gradients(5), 1024)
    run(torch.optim.AdamW([theirs], lr=0.1), gradients(5))
    assert torch.equal(ours, theirs)


def test_a_state_comes_back_whole() -> None:
    parameter = torch.nn.Parameter(torch.ones(5, dtype=torch.bfloat16))
    optimizer = RoundedAdamW([parameter], lr=0.1)
    run(optimizer, gradients(3))
    saved, value = copy.deepcopy(optimizer.state_dict()), parameter.detach().clone()
    run(optimizer, gradients(4)[3:])
    again = torch.nn.Parameter(value)
    other = RoundedAdamW([again], lr=0.1)
    other.load_state_dict(saved)
    assert other.state[again]["exp_avg"].dtype == torch.float32
    run(other, gradients(4)[3:])
    assert torch.equal(again, parameter)
    for name, moment in optimizer.state[parameter].items():
        assert torch.equal(other.state[again][name], moment), name


def test_a_closure_gives_its_loss() -> None:
    parameter = torch.nn.Parameter(torch.ones(1))
    parameter.grad = torch.ones(1)
    assert RoundedAdamW([parameter]).step(lambda: 3.0) == 3.0
