"""Architectures by name, and weights files: nothing lost, nothing made again, damage named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from paoncodec.codecs import ARCHITECTURES, MBTPaon, build, load_weights, save_weights
from paoncodec.errors import UsageError, WeightsError

OPTIONS = {"N": 4, "M": 6, "shift": "none", "hyper_width": 5, "context_width": 7}


@pytest.fixture
def model() -> MBTPaon:
    torch.manual_seed(0)
    return build("mbt-paon", OPTIONS)


@pytest.fixture
def path(model: MBTPaon, tmp_path: Path) -> Path:
    file = tmp_path / "weights.safetensors"
    save_weights(model, file, "mbt-paon", {"lmbda": "0.013"})
    return file


def test_build() -> None:
    model = build("mbt-paon", {"N": 4, "M": 6, "widths": [4, 5, 6]})  # lists, as JSON has them
    assert type(model) is ARCHITECTURES["mbt-paon"]
    assert model.config.widths == (4, 5, 6)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("mbt", {}, "architecture 'mbt': choose one of mbt-paon, mbt-2018"),
        ("mbt-paon", {"wide": 3}, "wide"),
        ("mbt-paon", {"N": 4, "M": 4, "shift": "left"}, "shift 'left': choose one of"),
        ("mbt-paon", {"N": "many", "M": 4}, "architecture mbt-paon"),
        ("mbt-paon", {"N": 0, "M": 4}, ">= 1"),
    ],
)
def test_what_cannot_be_built(name: str, options: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build(name, options)


def test_a_weights_file_says_what_it_is(path: Path, model: MBTPaon) -> None:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    assert metadata.pop("lmbda") == "0.013"
    assert metadata.pop("arch") == "mbt-paon"
    assert type(model.config)(**json.loads(metadata.pop("config"))) == model.config
    assert metadata == {}


@torch.no_grad()
def test_what_is_saved_is_loaded(path: Path, model: MBTPaon) -> None:
    assert len(model.y_tables) == 0  # the model itself got no tables
    torch.manual_seed(1)
    loaded, metadata = load_weights(path)
    assert metadata["lmbda"] == "0.013"
    assert loaded.config == model.config
    assert not loaded.training
    assert not any(p.requires_grad for p in loaded.parameters())
    for name, parameter in model.named_parameters():
        # The quantiles only frame the tables, and are found anew when those are made.
        if not name.endswith(".quantiles"):
            assert torch.equal(loaded.get_parameter(name), parameter)
    x = torch.rand(1, 3, 64, 64)
    coded = loaded.compress(x)
    assert loaded.decompress(coded["strings"], coded["shape"])["digests"] == coded["digests"]


@torch.no_grad()
def test_nothing_is_made_at_load(path: Path) -> None:
    """The tables and what they do are the file's, whatever the state of the process."""
    stored = load_file(path)
    y, z = torch.randn(6, 8, 4) * 5, torch.randn(5, 2, 1) * 3
    threads, strings = torch.get_num_threads(), set()
    try:
        for seed, count in ((0, 1), (1, 2), (2, 1)):
            torch.manual_seed(seed)
            torch.set_num_threads(count)
            loaded, _ = load_weights(path)
            for name, tensor in loaded.state_dict().items():
                assert tensor.dtype == stored[name].dtype
                assert torch.equal(tensor, stored[name])
            strings.add(loaded.exact().encode(y, z))
            assert loaded.update() is False
    finally:
        torch.set_num_threads(threads)
    assert len(strings) == 1
    assert set(stored) == set(loaded.state_dict())


@torch.no_grad()
def test_tables_changed_in_the_file_are_the_ones_used(path: Path) -> None:
    """What would be lost if loading built tables of its own."""
    y, z = torch.randn(6, 4, 4) * 5, torch.randn(5, 1, 1) * 3
    before = load_weights(path)[0].exact().encode(y, z)
    rewrite(path, lambda t: t["y_tables.cumulative"][1:2].add_(1))
    loaded, _ = load_weights(path)
    after = loaded.exact().encode(y, z)
    assert after.digest == before.digest
    assert loaded.exact().decode(after.y, after.z, (1, 1))[1] == after.digest
    rewrite(path, lambda t: t["y_tables.offsets"].add_(3))
    assert load_weights(path)[0].exact().encode(y, z).y != before.y


def test_half_the_size_for_files_that_travel(path: Path, model: MBTPaon, tmp_path: Path) -> None:
    small = tmp_path / "half.safetensors"
    save_weights(model, small, "mbt-paon", {}, half=True)
    assert small.stat().st_size < path.stat().st_size
    one, other = load_file(path), load_file(small)
    halved = {name for name, t in other.items() if t.dtype == torch.float16}
    assert "h_s.2.weight" in halved
    assert not any("tables" in n or "bottleneck" in n or "bias" in n for n in halved)
    loaded, _ = load_weights(small)
    for name, tensor in loaded.state_dict().items():
        assert tensor.dtype == one[name].dtype
        expected = one[name].half().float() if name in halved else one[name]
        assert torch.equal(tensor, expected)


def rewrite(path: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
    change(tensors)
    save_file(tensors, path, metadata=metadata)


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.clear(),
        lambda t: t.pop("h_s.0.weight"),
        lambda t: t.pop("g_a.0.numerator"),
        lambda t: t.pop("y_tables.steps"),
        lambda t: t.pop("context_prediction.weight"),
        lambda t: t.update(more=torch.zeros(2)),
        lambda t: t.update({"h_s.0.weight": torch.zeros(2, 2)}),
        lambda t: t.update({"h_s.4.weight": torch.zeros(())}),
        lambda t: t.update({"h_a.4.weight": torch.zeros(0, 3)}),
        lambda t: t["h_s.0.weight"].fill_(torch.nan),
        lambda t: t["h_s.0.weight"].fill_(1e6),
        lambda t: t["entropy_bottleneck.quantiles"].fill_(torch.inf),
        lambda t: t["y_tables.cumulative"].zero_(),
        lambda t: t.update({"z_tables.offsets": t["z_tables.offsets"][:-1]}),
    ],
)
def test_weights_that_do_not_fit(path: Path, change: Callable[[dict], object]) -> None:
    rewrite(path, change)
    with pytest.raises(WeightsError) as caught:
        load_weights(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_files_that_are_no_weights(tmp_path: Path, path: Path) -> None:
    data = path.read_bytes()
    bad = tmp_path / "bad.safetensors"
    for content in (b"", b"PAON", data[:7], data[:1000], data[:-1], b"\xff" * 100):
        bad.write_bytes(content)
        with pytest.raises(WeightsError, match=r"bad\.safetensors: not weights"):
            load_weights(bad)
    save_file({"a": torch.zeros(1)}, bad, metadata={"arch": "mbt"})
    for other in (bad, tmp_path, tmp_path / "none.safetensors"):
        with pytest.raises(WeightsError, match="not weights"):
            load_weights(other)


@torch.no_grad()
def test_half_precision_is_half_the_size_and_nearly_the_same(
    tmp_path: Path, model: MBTPaon
) -> None:
    full, half = tmp_path / "full.safetensors", tmp_path / "half.safetensors"
    save_weights(model, full, "mbt-paon", {})
    save_weights(model, half, "mbt-paon", {}, half=True)
    assert half.stat().st_size < full.stat().st_size
    loaded, _ = load_weights(half)
    for name, parameter in model.named_parameters():
        if not name.endswith(".quantiles"):
            found = loaded.get_parameter(name)
            assert found.dtype == torch.float32
            assert torch.allclose(found, parameter, rtol=2**-11, atol=2**-24)


def test_equal_weights_are_equal_files(tmp_path: Path, model: MBTPaon) -> None:
    paths = [tmp_path / f"{i}.safetensors" for i in range(4)]
    for path in paths:
        save_weights(model, path, "mbt-paon", {"lmbda": "0.013", "step": "7", "more": "x"})
    assert len({path.read_bytes() for path in paths}) == 1
