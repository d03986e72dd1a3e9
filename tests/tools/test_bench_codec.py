"""The benchmark times what it says it times; how long anything takes is no test."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from paoncodec.errors import UsageError

SMALL = ["--threads", "1", "--runs", "1", "--peer-runs", "1", "--channels", "3"]


@pytest.fixture(scope="module")
def bench(tool):
    return tool("bench_codec")


@pytest.fixture(autouse=True)
def _threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_a_whole_run_on_tiny_models(bench, tiny_weights, pictures, capsys):
    bench.main([*SMALL, "--json", "--image", str(pictures / "a.png"), "--model", str(tiny_weights)])
    record = json.loads(capsys.readouterr().out)
    assert (record["width"], record["height"], record["threads"]) == (80, 48, 1)
    assert [line["what"].split(",")[0] for line in record["lines"]] == [
        *("encode", "decode"),
        *("encode", "encode", "g_a", "g_a", "decode", "decode", "g_s", "g_s"),
    ]
    for line in record["lines"]:
        assert line["seconds"] > 0
        if line["peer_seconds"] is not None:
            assert line["ratio"] == line["seconds"] / line["peer_seconds"]


def test_elic_meets_its_own_peer(bench, pictures, capsys):
    small = [*SMALL, "--skip", "shipped", "--channels", "6", "--image", str(pictures / "a.png")]
    bench.main([*small, "--arch", "elic-paon", "--json"])
    lines = json.loads(capsys.readouterr().out)["lines"]
    assert lines[0]["what"] == "encode, elic-paon N = 6, M = 134, predicted shift"
    assert [line["bar"] for line in lines] == [0.85, 0.85, None, None, 1.25, 1.25, None, None]
    assert all(line["peer_seconds"] > 0 for line in lines)


def test_a_part_can_be_left_out_and_the_table_says_the_threads(bench, tiny_weights, capsys):
    bench.main([*SMALL, "--skip", "untrained", "--model", str(tiny_weights)])
    head, _, *lines = capsys.readouterr().out.splitlines()
    assert head.startswith("512x512, 1 thread(s), median of 1")
    assert [line.split()[:2] for line in lines] == [
        ["encode,", "tiny.safetensors"],
        ["decode,", "tiny.safetensors"],
    ]


@pytest.mark.parametrize("option", ["--runs", "--peer-runs", "--threads", "--channels"])
def test_zero_of_anything_is_refused(bench, option):
    with pytest.raises(UsageError, match=f"{option} 0"):
        bench.main([option, "0"])


def test_channels_must_fit_the_peer(bench):
    with pytest.raises(UsageError, match="multiple of 3"):
        bench.main(["--channels", "4"])


def test_an_unknown_part_is_a_usage_error(bench):
    with pytest.raises(SystemExit) as exit_:
        bench.main(["--skip", "everything"])
    assert exit_.value.code == 2


def test_actions_take_turns(bench):
    calls = []
    actions = {name: lambda name=name: calls.append(name) for name in "ab"}
    seconds = bench.medians(actions, {"a": 3, "b": 1})
    assert calls == ["a", "b", "a", "a"]
    assert set(seconds) == {"a", "b"}


def test_a_bar_is_for_the_ratio_where_there_is_a_peer(bench):
    assert bench.Line("decode", 2.0, peer_seconds=8.0, bar=0.25).within is True
    assert bench.Line("decode", 2.1, peer_seconds=8.0, bar=0.25).within is False
    assert bench.Line("decode", 0.4, bar=0.5).within is True
    assert bench.Line("decode", 0.4).within is None


def test_a_grey_picture_becomes_a_padded_batch_of_three_channels(bench):
    picture = np.full((65, 10, 1), 51, np.uint8)
    x = bench.to_batch(picture)
    assert x.shape == (1, 3, 128, 64)
    assert torch.all(x == torch.tensor(51 / 255))
