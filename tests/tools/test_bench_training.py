"""The benchmark of training runs and says what it has measured; no test holds a time to a bar."""

import json
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from paoncodec.codecs import recipe as recipes


@pytest.fixture
def bench(tool, monkeypatch):
    """The benchmark, of a preset that is small enough to take a moment."""
    module = tool("bench_training")
    settings = json.loads((Path(recipes.__file__).parent / "presets" / "small.json").read_text())
    tiny = {**settings["arch"]["mbt-paon"], "N": 6, "M": 8, "widths": [6, 6, 6], "hyper_width": 6}

    def build(preset, arch, lmbda, data, **changes):
        given = {k: v for k, v in changes.items() if v is not None}
        loop = {**settings["train"], **given}
        return recipes.CodecRecipe(
            arch, tiny, lmbda, tuple(data), train=recipes.TrainConfig(**loop)
        )

    monkeypatch.setattr(module.CodecRecipe, "from_preset", build)
    return module


def test_every_network_in_every_precision(bench, capsys) -> None:
    threads = str(torch.get_num_threads())
    sizes = ["--batch-size", "1", "--crop", "64", "--runs", "1", "--threads", threads]
    bench.main(sizes)
    head, *lines, own, peers, reduced, full = capsys.readouterr().out.splitlines()
    lines, ratios = lines[:9], lines[9:]
    assert head == f"1 crops of 64x64, {threads} threads"
    names = [re.split(r"  +", line)[0] for line in lines]
    assert names == [
        *["mbt-paon"] * 3,
        *["CompressAI's mbt2018, same widths"] * 3,
        *["CompressAI's mbt2018, N = 6, M = 8"] * 3,
    ]
    rates = [float(re.search(r"(\d+\.\d) images/s$", line).group(1)) for line in lines]
    found = [re.search(r"widths, (\S+): (\d+\.\d\d) \(bar 0\.75\)$", line) for line in ratios]
    names = ["bfloat16-gradients", "bfloat16", "float32"]
    assert [ratio.group(1) for ratio in found] == names
    assert all(f" {name} " in line for name, line in zip(names, lines[:3], strict=True))
    for ratio, one, other in zip(found, rates[:3], rates[3:6], strict=True):
        assert float(ratio.group(2)) == pytest.approx(one / other, rel=0.05)
    ratio = float(found[0].group(2))
    counted = [re.search(r": (\S+) GMAC a step, (\S+) a second$", line) for line in (own, peers)]
    (ours, fast), (theirs, slow) = (map(float, found.groups()) for found in counted)
    assert theirs < ours < 2 * theirs
    assert fast / slow == pytest.approx(ratio * ours / theirs, rel=0.2)
    for line, precision in ((reduced, "bfloat16"), (full, "float32")):
        speed = re.match(rf"large matrices, {precision}: (\S+) GMAC a second$", line).group(1)
        assert float(speed) > 0


def test_products_are_those_of_all_convolutions(bench) -> None:
    recipe = bench.CodecRecipe.from_preset("small", "mbt-paon", 0.013, ["crops"])
    model = bench.of_same_widths(recipe)
    counted = bench.products(model, torch.rand(1, 3, 64, 64), 0.013)
    layers = []

    def note(layer, given, made) -> None:
        place = given[0] if isinstance(layer, nn.ConvTranspose2d) else made
        once = layer.weight.numel() * place.shape[2:].numel()
        layers.append(once * (2 if given[0] is crops else 3))  # crops have no gradient

    crops = torch.rand(1, 3, 64, 64)
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            layer.register_forward_hook(note)
    model(crops)
    # GDN's 1x1 convolutions and the bottleneck's small matrices are not layers.
    assert sum(layers) / 1e9 < counted < 1.2 * sum(layers) / 1e9


def test_a_step_in_detail(bench, monkeypatch, capsys) -> None:
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda model: compiled.append(model) or model)
    sizes = ["--batch-size", "1", "--crop", "64", "--runs", "1", "--precision", "float32"]
    bench.main([*sizes, "--ways", "--threads", str(torch.get_num_threads())])
    _, *lines = capsys.readouterr().out.splitlines()
    parts = ["forward and loss", "backward", "clipping and Adam"]
    assert [re.split(r"  +", line)[0] for line in lines] == [
        *parts,
        *["as it trains", "nothing compiled", "all compiled"],
    ]
    assert all(float(line.split()[-2]) > 0 for line in lines)
    assert len(compiled) == 1


def test_a_way_that_does_not_work_is_told(bench, monkeypatch, capsys) -> None:
    def broken(crops) -> None:
        raise AssertionError("expected size 24==24\nand more")

    monkeypatch.setattr(torch, "compile", lambda model: broken)
    sizes = ["--batch-size", "1", "--crop", "64", "--runs", "1", "--precision", "float32"]
    bench.main([*sizes, "--ways", "--threads", str(torch.get_num_threads())])
    last = capsys.readouterr().out.splitlines()[-1].split(maxsplit=3)
    assert last == ["all", "compiled", "float32", "fails: AssertionError: expected size 24==24"]


def test_a_step_trains(bench) -> None:
    torch.manual_seed(0)
    recipe = bench.CodecRecipe.from_preset("small", "mbt-paon", 0.013, ["crops"])
    for model in bench.networks(recipe).values():
        for last in (model.g_a[-1], model.h_a[-1]):  # latents that rounding leaves something of
            kernel = last.numerator if hasattr(last, "numerator") else last.weight
            kernel.data.mul_(100)
        before = [p.detach().clone() for p in model.parameters()]
        bench.TrainingStep(model.train(), torch.rand(1, 3, 64, 64), "float32", 0.013)()
        moved = [bool((p != b).any()) for p, b in zip(model.parameters(), before, strict=True)]
        names = [name for name, _ in model.named_parameters()]
        still = {name for name, changed in zip(names, moved, strict=True) if not changed}
        assert still == {"entropy_bottleneck.quantiles"}
