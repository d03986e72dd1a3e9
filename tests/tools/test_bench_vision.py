"""The benchmark of vision networks trains them for a few steps; no test holds a time to a bar."""

import re

import pytest
import torch


@pytest.fixture
def bench(tool):
    """The benchmark; it sets the number of threads of the process."""
    threads = torch.get_num_threads()
    yield tool("bench_vision")
    torch.set_num_threads(threads)


def test_a_step_of_each_network(bench, capsys) -> None:
    words = ["--batch-size", "2", "--runs", "1"]
    bench.main(["superres", "resnet", "padenet-id", "--scale", "2", *words])
    lines = capsys.readouterr().out.splitlines()
    assert [re.sub("[0-9]+", "N", line) for line in lines] == [
        "resnet: N ms a step",
        "padenet-id: N ms a step",
    ]


def test_an_epoch_is_of_cifar10s_pictures(bench, monkeypatch, capsys) -> None:
    monkeypatch.setattr(
        bench, "medians", lambda steps, runs, clock: [step() or 0.5 for step in steps]
    )
    bench.main(["classification", "resnet20", "--batch-size", "5", "--precision", "bfloat16"])
    assert capsys.readouterr().out == "resnet20: 500 ms a step, 75.0 minutes an epoch\n"
