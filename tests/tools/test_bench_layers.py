"""The layers' benchmark runs and says what it has measured; no test holds a time to a bar."""

import re

import pytest
import torch

from paoncodec.layers import PaLaConv2d, PaLaDeformConv2d


@pytest.fixture
def bench(tool):
    return tool("bench_layers")


@pytest.mark.parametrize("compiled", [[], ["--compile"]])
def test_a_run_on_small_maps(bench, capsys, compiled) -> None:
    threads = torch.get_num_threads()
    sizes = {"channels": 3, "few": 2, "side": 8, "batch": 2, "large-batch": 1, "runs": 1}
    bench.main([*(f"--{k}={v}" for k, v in {**sizes, "threads": threads}.items()), *compiled])
    head, *lines = capsys.readouterr().out.splitlines()
    assert f"8x8, {threads} thread(s), median of 1" in head
    starts = [line.split(",")[0] for line in lines[:2]]
    assert starts == ["kernel 5", "kernel 3"]
    for line in lines[:2]:
        ratio, verdict = re.search(r"ratio (\d+\.\d{3}), bar 1\.25 (kept|missed)$", line).groups()
        assert verdict == ("kept" if float(ratio) <= 1.25 else "missed")
    assert [line.split(", batch")[0] for line in lines[2:]] == [
        f"{layer} {sizes}"
        for layer in ("PaLaConv2d", "PaLaDeformConv2d")
        for sizes in ("[1/1] 3x3 2->2", "[2/1] 3x3 2->2", "[1/1] 5x5 stride 2 3->3")
    ]
    for line in lines[2:]:
        speed, memory = re.search(r": ([\d.]+) times .* (kept|missed); ([\d.]+) of", line).group(
            1, 3
        )
        assert float(speed) > 0
        assert float(memory) > 0


@pytest.mark.parametrize("degrees", [(1, 1), (2, 1), (1, 2)])
@pytest.mark.parametrize("stride", [1, 2])
def test_both_layers_of_a_case_compute_the_same(bench, degrees, stride: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 6, 5)
    pairs = [
        (PaLaConv2d(3, 3, 3, stride, degrees=degrees), bench.PlainPaLa(3, 3, stride, degrees)),
        (
            PaLaDeformConv2d(3, 3, 3, stride, degrees=degrees),
            bench.PlainDeformPaLa(3, 3, stride, degrees),
        ),
    ]
    for ours, plain in pairs:
        with torch.no_grad():
            for p in plain.parameters():
                p.normal_(0, 0.2)
            if hasattr(plain, "predict"):  # the plain one lets the kernel leave the picture
                plain.predict.weight.zero_()
                plain.predict.bias.zero_()
            ours.numerator.copy_(torch.cat([layer.weight for layer in plain.num]))
            ours.denominator.copy_(torch.cat([layer.weight for layer in plain.den]))
            ours.bias.copy_(plain.bias.flatten())
        torch.testing.assert_close(ours(x), plain(x))


def test_steps_take_turns_after_a_round_that_is_not_counted(bench) -> None:
    seen: list[str] = []
    taken = bench.medians([lambda: seen.append("a"), lambda: seen.append("b")], runs=2)
    assert "".join(seen) == "ababab"
    assert len(taken) == 2
    assert min(taken) > 0


@pytest.mark.parametrize("option", ["--threads", "--runs", "--channels", "--side", "--large-batch"])
def test_zero_of_anything_is_refused(bench, option: str, capsys) -> None:
    with pytest.raises(SystemExit) as stop:
        bench.main([option, "0"])
    assert stop.value.code == 2
    assert f"{option} 0: must be >= 1" in capsys.readouterr().err
