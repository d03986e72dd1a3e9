"""The layers' benchmark runs and says what it has measured; no test holds a time to a bar."""

import re

import pytest
import torch


@pytest.fixture
def bench(tool):
    return tool("bench_layers")


def test_a_run_on_small_maps(bench, capsys) -> None:
    threads = torch.get_num_threads()
    bench.main(["--channels", "3", "--side", "8", "--runs", "1", "--threads", str(threads)])
    head, *lines = capsys.readouterr().out.splitlines()
    assert f"3 channels, 8x8, batch 1, {threads} thread(s), median of 1" in head
    assert [line.split(":")[0] for line in lines] == ["kernel 5", "kernel 3"]
    for line in lines:
        ratio, verdict = re.search(r"ratio (\d+\.\d{3}), bar 1\.25 (kept|missed)$", line).groups()
        assert verdict == ("kept" if float(ratio) <= 1.25 else "missed")


def test_steps_take_turns_after_a_round_that_is_not_counted(bench) -> None:
    seen: list[str] = []
    taken = bench.medians([lambda: seen.append("a"), lambda: seen.append("b")], runs=2)
    assert "".join(seen) == "ababab"
    assert len(taken) == 2
    assert min(taken) > 0


@pytest.mark.parametrize("option", ["--threads", "--runs", "--channels", "--side"])
def test_zero_of_anything_is_refused(bench, option: str, capsys) -> None:
    with pytest.raises(SystemExit) as stop:
        bench.main([option, "0"])
    assert stop.value.code == 2
    assert f"{option} 0: must be >= 1" in capsys.readouterr().err
