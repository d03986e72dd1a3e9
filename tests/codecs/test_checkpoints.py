"""CompressAI's checkpoints: ours and its own go on and code, and none runs code."""

from __future__ import annotations

import os
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from compressai.models import (
    Elic2022Official,
    JointAutoregressiveHierarchicalPriors,
    MeanScaleHyperprior,
)
from torch import Tensor, nn

from paoncodec.codecs import ELIC2022, MBT2018, ELICPaon, MBTPaon, load_weights, save_weights
from paoncodec.codecs.checkpoints import read_checkpoint
from paoncodec.codecs.registry import load_start, weights_start
from paoncodec.coding import is_checkpoint
from paoncodec.errors import TablesMade, UsageError, WeightsError

MBT: dict[str, Any] = {"N": 4, "M": 6, "hyper_width": 5}
ELIC: dict[str, Any] = {"N": 4, "M": 6, "groups": (2, 4), "channel_widths": (5,)}
ELIC["channel_kernels"] = (3, 3)
OURS: dict[str, Callable[[], MBTPaon | ELICPaon]] = {
    "mbt-paon": lambda: MBTPaon(**MBT, gdn=True, padding="zeros"),
    "mbt-2018": lambda: MBT2018(**MBT),
    "elic-paon": lambda: ELICPaon(**ELIC, blocks=3, relu=True, padding="zeros"),
    "elic-2022": lambda: ELIC2022(**ELIC),
}


def save(model: nn.Module, path: Path, **others: Any) -> Path:
    """As CompressAI's examples/train.py does, with its optimizers and scheduler."""
    optimizer = torch.optim.Adam(model.parameters(), 1e-4)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, "min")
    checkpoint = {
        "epoch": 3,
        "state_dict": model.state_dict(),
        "loss": torch.tensor(1.5),
        "optimizer": optimizer.state_dict(),
        "aux_optimizer": optimizer.state_dict(),
        "lr_scheduler": scheduler.state_dict(),
        **others,
    }
    torch.save(checkpoint, path)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    return save(MBTPaon(**MBT), tmp_path / "checkpoint.pth.tar")


@pytest.mark.parametrize("arch", OURS)
@torch.no_grad()
def test_ours_are_known_by_their_tensors_and_code(arch: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = OURS[arch]()
    model.update()
    file = save(model, tmp_path / "x.pth.tar", lmbda=0.025)
    assert is_checkpoint(file)
    loaded, about = load_weights(file)
    assert about == {"arch": arch, "lmbda": "0.025"}
    assert loaded.config == model.config
    x = torch.rand(1, 3, 64, 64)
    coded = model.eval().compress(x)
    assert loaded.compress(x) == coded
    assert loaded.decompress(coded["strings"], coded["shape"])["digests"] == coded["digests"]


@torch.no_grad()
def test_tables_that_are_there_are_not_made_again(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = MBTPaon(**MBT)
    model.update()
    model.y_tables.offsets += 1  # no longer what would be made
    loaded, _ = load_weights(save(model, tmp_path / "x.pth.tar"))
    for name, table in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], table)


@torch.no_grad()
def test_tables_that_are_not_there_are_made_with_a_warning(path: Path, tmp_path: Path) -> None:
    with pytest.warns(TablesMade, match="no probability tables in it"):
        loaded, about = load_weights(path)
    assert about == {"arch": "mbt-paon"}
    model, _ = load_start(path)
    assert not len(model.y_tables)
    model.update()
    for name, table in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], table)
    frozen = tmp_path / "frozen.safetensors"
    save_weights(loaded, frozen, about["arch"], {"lmbda": "0.013"})
    load_weights(frozen)


def test_the_state_dict_may_stand_alone_or_come_from_several_devices(tmp_path: Path) -> None:
    model = MBTPaon(**MBT, variable_rate=True)
    state = {f"module.{name}": tensor for name, tensor in model.state_dict().items()}
    for i, content in enumerate(
        (state, {"network": state}, {"model_state_dict": state, "epoch": 3})
    ):
        torch.save(content, tmp_path / f"{i}.pth")
        loaded, about = load_start(tmp_path / f"{i}.pth")
        assert about == {"arch": "mbt-paon", "lmbda": "variable"}
        assert loaded.config == model.config
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert read_checkpoint(tmp_path / "old.pth")[1]["arch"] == "mbt-paon"


@torch.no_grad()
def test_compressais_own_are_a_start_and_code(tmp_path: Path) -> None:
    """Of whatever age: with tables of other sizes, and names that its zoo's files still have."""
    torch.manual_seed(0)
    x = torch.rand(1, 3, 64, 64)
    mbt, elic = JointAutoregressiveHierarchicalPriors(6, 8), Elic2022Official(6, 8, [2, 6])
    for model, arch in ((mbt, "mbt-paon"), (elic, "elic-paon")):
        model.eval().update(scale_table=torch.linspace(0.2, 30, 17))
        old = {
            name.replace("entropy_bottleneck.matrices.", "entropy_bottleneck._matrix").replace(
                "entropy_bottleneck.biases.", "entropy_bottleneck._bias"
            ): tensor
            for name, tensor in model.state_dict().items()
        }
        assert sum("_matrix" in name for name in old) == 5
        torch.save(old, tmp_path / "x.pth.tar")
        ours, about = load_start(tmp_path / "x.pth.tar")
        assert about == {"arch": arch}
        wanted = model(x.clone())["x_hat"]
        torch.testing.assert_close(ours.eval()(x)["x_hat"], wanted, rtol=1e-5, atol=1e-5)
        with pytest.warns(TablesMade):
            coder, about = load_weights(tmp_path / "x.pth.tar")
        assert about == {"arch": arch}
        coded = coder.compress(x)
        found = coder.decompress(coded["strings"], coded["shape"])["x_hat"]
        (y_hat,), _ = coder.decompress_latents(coded["strings"], coded["shape"])
        picture = model.g_s(y_hat[None].clone()).clamp(0, 1)
        torch.testing.assert_close(found, picture, rtol=1e-5, atol=1e-5)
        y = model.g_a(x.clone())
        if arch == "mbt-paon":
            assert torch.equal(y_hat[None], y.round())
        else:  # means of exact arithmetic are on a grid
            around_means = model.latent_codec(y)["y_hat"]
            torch.testing.assert_close(y_hat[None], around_means, rtol=0, atol=2e-4)


@pytest.mark.parametrize("options", [{}, {"shift": "static"}, {"shift": "none"}], ids=str)
def test_a_start_has_the_shift_of_the_model_it_is_for(options: dict, tmp_path: Path) -> None:
    theirs = JointAutoregressiveHierarchicalPriors(4, 6)
    torch.save(theirs.state_dict(), tmp_path / "x.pth.tar")
    ours = MBTPaon(4, 6, gdn=True, padding="zeros", **options)
    weights_start(ours, "mbt-paon", tmp_path / "x.pth.tar")
    assert torch.equal(ours.g_a[0].numerator, 2 * theirs.g_a[0].weight)
    assert not ours.g_s[0].denominator.any()
    with pytest.raises(UsageError, match="weights of a model with other sizes or options"):
        weights_start(MBTPaon(4, 6, **options), "mbt-paon", tmp_path / "x.pth.tar")
    with pytest.raises(UsageError, match="weights of mbt-paon, to start elic-paon from"):
        weights_start(ELICPaon(**ELIC), "elic-paon", tmp_path / "x.pth.tar")


@pytest.mark.parametrize("option", [{"rounding": "means"}, {"padding": "zeros"}], ids=str)
def test_options_that_no_shape_tells_must_be_the_same(option: dict, tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = tmp_path / "weights.safetensors"
    save_weights(ELICPaon(**ELIC, **option), path, "elic-paon", {"lmbda": "0.013"})
    weights_start(ELICPaon(**ELIC, **option, variable_rate=True), "elic-paon", path)
    [(name, value)] = option.items()
    with pytest.raises(UsageError, match=f"other sizes or options: {name} is {value} there"):
        weights_start(ELICPaon(**ELIC), "elic-paon", path)


class Hostile:
    """Makes a folder when it is unpickled."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, (str(self.place),)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("load", [load_weights, load_start, read_checkpoint])
def test_what_is_in_a_pickle_is_not_run(
    load: Callable[[Path], Any], zipped: bool, tmp_path: Path
) -> None:
    place, file = tmp_path / "made", tmp_path / "hostile.pth.tar"
    content = {"state_dict": MBTPaon(**MBT).state_dict(), "loss": Hostile(place)}
    torch.save(content, file, _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsError, match="which could run code") as caught:
        load(file)
    assert "\n" not in str(caught.value)
    assert not place.exists()
    torch.load(file, weights_only=False)
    assert place.exists()  # it would have


def test_a_bare_pickle_is_not_run_either(tmp_path: Path) -> None:
    place, file = tmp_path / "made", tmp_path / "hostile.pkl"
    file.write_bytes(pickle.dumps(Hostile(place), protocol=2))
    with pytest.raises(WeightsError):
        load_weights(file)
    assert not place.exists()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


def changed(change: Callable[[dict[str, Tensor]], object]) -> Callable[[Path], None]:
    def rewrite(path: Path) -> None:
        content = torch.load(path, weights_only=True)
        change(content["state_dict"])
        torch.save(content, path)

    return rewrite


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (cut, "not a checkpoint that can be loaded"),
        (lambda path: torch.save([1, 2], path), "no state dict"),
        (lambda path: torch.save({"state_dict": {"a": 1}}, path), "no state dict"),
        (lambda path: save(MeanScaleHyperprior(4, 6), path), "weights of another model"),
        (changed(lambda t: t.pop("h_s.0.weight")), "not weights of a paoncodec model"),
        (changed(lambda t: t.pop("y_tables.steps")), "y_tables.steps"),
        (changed(lambda t: t.update(more=torch.zeros(1))), "more"),
        (changed(lambda t: t["h_s.0.weight"].fill_(torch.nan)), "h_s.0"),
    ],
)
def test_damage_is_told_in_a_line(path: Path, damage: Callable[[Path], None], said: str) -> None:
    damage(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TablesMade)
        with pytest.raises(WeightsError, match=said) as caught:
            load_weights(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
