"""Compiled quotients are those of the plain functions, values and gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, _dynamo

from paoncodec.layers import Kind, PadeSpec, fused, rational
from paoncodec.layers.fused import can_compile, fused_quotients


@pytest.fixture
def compiler() -> Iterator[None]:
    """Switched on, with nothing compiled yet."""
    _dynamo.reset()
    can_compile.cache_clear()
    with _dynamo.config.patch(disable=False):
        if not can_compile():
            pytest.skip("no C++ compiler")
        yield
    _dynamo.reset()
    can_compile.cache_clear()


def terms(
    spec: PadeSpec,
    channels: int,
    dtype: torch.dtype,
    layout: torch.memory_format = torch.contiguous_format,
    size: tuple[int, int, int] = (2, 5, 7),
) -> tuple[list[Tensor], Tensor]:
    """Stacks and a bias; away from the poles of the vanilla kind."""
    generator = torch.Generator().manual_seed(0)
    batch, *plane = size
    stacks = [
        (torch.rand(batch, degrees * channels, *plane, generator=generator) + 0.2)
        .to(dtype)
        .contiguous(memory_format=layout)
        .requires_grad_()
        for degrees in (2 * spec.shared, spec.longest - spec.shared)
        if degrees
    ]
    return stacks, torch.linspace(-1, 1, channels).requires_grad_()


def results(
    stacks: list[Tensor], bias: Tensor, spec: PadeSpec, fuse: bool
) -> tuple[Tensor, list[Tensor]]:
    with fused_quotients(fuse):
        y = rational(stacks, bias, spec)
    upstream = torch.rand(y.shape, generator=torch.Generator().manual_seed(1)).to(y.dtype)
    return y.detach(), list(torch.autograd.grad(y, (*stacks, bias), upstream))


CASES: list[tuple[tuple[int, int], Kind]] = [
    ((1, 1), "smooth"),
    ((2, 1), "absolute"),
    pytest.param((2, 3), "smooth", marks=pytest.mark.slow),
    pytest.param((0, 1), "smooth", marks=pytest.mark.slow),
    pytest.param((1, 2), "vanilla", marks=pytest.mark.slow),
]


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize(("degrees", "kind"), CASES)
def test_compiled_quotients_are_the_plain_ones(degrees: tuple[int, int], kind: Kind) -> None:
    spec = PadeSpec(*degrees, kind)
    for dtype in (torch.float32, torch.bfloat16):
        for layout in (torch.contiguous_format, torch.channels_last):
            for channels in (20, 5):
                stacks, bias = terms(spec, channels, dtype, layout)
                value, gradients = results(stacks, bias, spec, fuse=True)
                wide = [s.detach().float().requires_grad_() for s in stacks]
                plain, others = results(wide, bias, spec, fuse=False)
                near = {"rtol": 0.01, "atol": 0.01} if dtype == torch.bfloat16 else {}
                for one, other in zip((value, *gradients[:-1]), (plain, *others), strict=False):
                    assert one.dtype == dtype
                    torch.testing.assert_close(one.float(), other, **near)
                near = {"rtol": 0.02, "atol": 0.1} if dtype == torch.bfloat16 else {}
                torch.testing.assert_close(gradients[-1], others[-1], **near)


@pytest.mark.usefixtures("compiler")
def test_one_compilation_is_for_all_sizes_and_under_autocast() -> None:
    spec = PadeSpec()
    results(*terms(spec, 20, torch.float32), spec, fuse=True)
    with _dynamo.config.patch(error_on_recompile=True):
        for channels, size in ((17, (3, 8, 8)), (48, (4, 6, 20))):
            results(*terms(spec, channels, torch.float32, size=size), spec, fuse=True)
        stacks, bias = terms(spec, 24, torch.float32)
        with torch.autocast("cpu", torch.bfloat16):
            results(stacks, torch.nn.Parameter(bias.detach()), spec, fuse=True)


@pytest.mark.parametrize(
    ("stack", "groups"),
    [
        (torch.zeros(1, 4, 2, 2), 2),
        (torch.zeros(1, 4), 1),
        (torch.zeros(1, 4, 2, 2, dtype=torch.float64), 1),
        (torch.zeros(1, 4, 2, 2, dtype=torch.float16), 1),
        (torch.zeros(1, 4, 2, 2, device="meta"), 1),
    ],
)
def test_what_is_not_compiled(stack: Tensor, groups: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "can_compile", lambda: True)
    sound = torch.zeros(1, 4, 2, 2)
    assert not fused.is_fused([sound], 1)
    with fused_quotients():
        assert fused.is_fused([sound], 1)
        assert not fused.is_fused([stack], groups)
        with fused_quotients(False):
            assert not fused.is_fused([sound], 1)


@pytest.mark.parametrize("fails", [0, 1])
def test_a_compiler_that_fails_later_is_done_without(
    fails: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the value, or at its gradient: a full disk, for example."""
    spec = PadeSpec()
    stacks, bias = terms(spec, 4, torch.float32)
    plain = results(stacks, bias, spec, fuse=False)
    asked: list[str] = []

    def compiled(function: Callable[..., object]) -> Callable[..., object]:
        asked.append(function.__name__)
        return _broken(function) if len(asked) > fails else function

    monkeypatch.setattr(fused, "can_compile", lambda: True)
    monkeypatch.setattr(fused, "_compiled", compiled)
    monkeypatch.setattr(fused, "_failures", [])
    assert fused.failure() is None
    torch.testing.assert_close(results(stacks, bias, spec, fuse=True), plain)
    assert fused.failure() == "RuntimeError: no C++ compiler"
    torch.testing.assert_close(results(stacks, bias, spec, fuse=True), plain)
    assert asked == ["_value", "_slopes"][: fails + 1]


def test_what_is_no_fault_of_the_compiler_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "_compiled", _broken)
    monkeypatch.setattr(fused, "_failures", [])
    stacks, _ = terms(PadeSpec(), 4, torch.float32)
    with pytest.raises(RuntimeError, match="size of tensor"):
        fused.value(stacks, torch.zeros(3), PadeSpec())
    assert fused.failure() is None


def _broken(function: Callable[..., object]) -> Callable[..., object]:
    def run(*given: object) -> object:
        raise RuntimeError("no C++ compiler")

    return run


@pytest.mark.parametrize("why", ["no compiler", "switched off"])
def test_where_nothing_can_be_compiled_all_goes_on(
    why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if why == "no compiler":
        monkeypatch.setattr(torch, "compile", _broken)
    can_compile.cache_clear()
    spec = PadeSpec()
    stacks, bias = terms(spec, 4, torch.float32)
    with _dynamo.config.patch(disable=why == "switched off"):
        assert not can_compile()
        value, _ = results(stacks, bias, spec, fuse=True)
    can_compile.cache_clear()
    torch.testing.assert_close(value, results(stacks, bias, spec, fuse=False)[0])
