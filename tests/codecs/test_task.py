from __future__ import annotations

import dataclasses
import hashlib
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from paoncodec.codecs import load_weights
from paoncodec.codecs.recipe import CodecRecipe
from paoncodec.codecs.task import CodecTask, rate_distortion
from paoncodec.errors import UsageError, WeightsError
from paoncodec.images.crops import CropDataset, CropSpec
from paoncodec.layers.convolutions import gradients_in_bfloat16
from paoncodec.training import (
    Progress,
    RunDirectory,
    Samples,
    TrainConfig,
    Trainer,
    TrainingDiverged,
)
from tests.training.same_run import assert_same_run

TINY = {"N": 8, "M": 12, "shift": "none"}
#: Added to it for ELIC.
ELIC = {"groups": [4, 8], "channel_widths": [8], "channel_kernels": [3, 1]}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven pictures of slow waves under a little noise."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:96, :112] / 96
    for number in range(7):
        waves = [np.sin(a * y + b * x + c) for a, b, c in rng.normal(size=(3, 3)) * 4]
        pixels = 128 + 80 * np.stack(waves, axis=-1) + 4 * rng.normal(size=(96, 112, 3))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{number}.png")
    return folder


def recipe(folder: Path, arch: dict[str, Any] | None = None, **settings: Any) -> CodecRecipe:
    top = {k: settings.pop(k) for k in ("start", "lmbda") if k in settings}
    loop = {
        "steps": 6,
        "batch_size": 2,
        "crop": 64,
        "validation_crop": 64,
        "validation_fraction": 0.3,
        "warmup": 2,
        "validate_every": 2,
        "ema": 0.9,
        "workers": 0,
    }
    return CodecRecipe(
        "mbt-paon",
        {**TINY, **(arch or {})},
        top.pop("lmbda", 0.013),
        (str(folder),),
        lr_transforms=1e-3,
        lr_entropy=1e-3,
        train=TrainConfig(**{**loop, **settings}),
        **top,
    )


def loss_of(task: CodecTask, dtype: torch.dtype = torch.float32) -> tuple[Tensor, dict[str, float]]:
    """Of the first step's batch."""
    numbers = range(task.config.batch_size)
    batch = default_collate([task.data()[number] for number in numbers])
    samples = Samples(numbers, len(numbers), task.config.seed)

    def model(*given: Any) -> Any:
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype != torch.float32):
            return task.model(*given)

    return task.loss(model, batch, samples)


class Killed(Exception):
    """Ends a run as a power cut would."""


# Start


def test_one_picture_is_not_enough(pictures: Path) -> None:
    with pytest.raises(UsageError, match=r"0\.png: the only picture.* at least two"):
        CodecTask(recipe(pictures / "0.png"))


def test_an_unknown_architecture_or_option_is_named(pictures: Path) -> None:
    with pytest.raises(UsageError, match="mbt-paon"):
        CodecTask(dataclasses.replace(recipe(pictures), arch_name="elic"))
    with pytest.raises(UsageError, match="depth"):
        CodecTask(recipe(pictures, {"depth": 3}))


@pytest.mark.parametrize(
    ("arch", "options"),
    [
        ("mbt-paon", {"gdn": True}),
        ("mbt-paon", {"shift": "static"}),
        ("mbt-paon", {"widths": [4, 8, 16]}),
        ("mbt-2018", {}),
        ("elic-paon", ELIC),
        ("elic-paon", {**ELIC, "shift": "static", "attention": True, "blocks": 2}),
        ("elic-2022", ELIC),
    ],
)
def test_the_linear_start_fits_every_form_of_the_codec(
    pictures: Path, arch: str, options: dict[str, Any]
) -> None:
    task = CodecTask(dataclasses.replace(recipe(pictures, options), arch_name=arch))
    task.start()
    _, figures = loss_of(task)
    assert figures["psnr"] > 25


def test_a_random_start_leaves_the_weights_as_they_are(pictures: Path) -> None:
    task = CodecTask(recipe(pictures, start="random"))
    before = {k: v.clone() for k, v in task.model.state_dict().items()}
    task.start()
    torch.testing.assert_close(dict(task.model.state_dict()), before, rtol=0, atol=0)


def weights_of(folder: Path, path: Path, arch: dict[str, Any] | None = None) -> Path:
    """A weights file of the tiny codec, its parameters those of a start."""
    task = CodecTask(recipe(folder, arch))
    task.start()
    task.export(task.model, str(path), {})
    return path


def from_weights(folder: Path, path: Path, **settings: Any) -> CodecRecipe:
    return dataclasses.replace(recipe(folder), start="weights", start_from=str(path), **settings)


def test_a_start_from_weights_takes_their_parameters_and_their_hash(
    pictures: Path, tmp_path: Path
) -> None:
    path = weights_of(pictures, tmp_path / "a.safetensors")
    task = CodecTask(from_weights(pictures, path))
    task.start()
    donor, _ = load_weights(path)
    torch.testing.assert_close(
        dict(task.model.named_parameters()), dict(donor.named_parameters()), rtol=0, atol=0
    )
    assert all(parameter.requires_grad for parameter in task.model.parameters())
    described = task.describe()
    assert described["start_from"] == str(path)
    assert described["start_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    run = RunDirectory(tmp_path / "run")
    assert Trainer(task, run).fit()
    assert CodecRecipe.from_json(run.load_config() or {}) == task.recipe


def test_a_start_from_weights_that_do_not_fit_says_where(pictures: Path, tmp_path: Path) -> None:
    path = weights_of(pictures, tmp_path / "a.safetensors", {"hyper_width": 6})
    with pytest.raises(UsageError, match=r"other sizes or options: \S+ is 6\S* there and 8"):
        CodecTask(from_weights(pictures, path)).start()
    many = CodecTask(recipe(pictures, lmbda="variable"))
    many.export(many.model, str(tmp_path / "b.safetensors"), {})
    one = CodecTask(from_weights(pictures, tmp_path / "b.safetensors"))
    with pytest.raises(UsageError, match=r"gain\.log_gain is 6x12 there and missing in the one"):
        one.start()
    other = from_weights(pictures, path, arch_name="mbt-2018", arch={"N": 8, "M": 12})
    with pytest.raises(UsageError, match="weights of mbt-paon, to start mbt-2018 from"):
        CodecTask(other).start()


def test_a_start_from_a_file_that_is_gone_damaged_or_another_is_refused(
    pictures: Path, tmp_path: Path
) -> None:
    with pytest.raises(WeightsError, match=r"none\.safetensors: cannot be read"):
        CodecTask(from_weights(pictures, tmp_path / "none.safetensors"))
    path = weights_of(pictures, tmp_path / "a.safetensors")
    task = CodecTask(from_weights(pictures, path))
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(WeightsError, match=f"the run was to start from {task.recipe.start_sha256}"):
        task.start()
    path.write_bytes(b"text")
    with pytest.raises(WeightsError, match="not weights of a paoncodec model"):
        CodecTask(from_weights(pictures, path)).start()


# Steps


@pytest.mark.parametrize(("arch", "options"), [("mbt-paon", {}), ("elic-paon", ELIC)])
def test_optimisers_share_out_every_parameter(
    pictures: Path, arch: str, options: dict[str, Any]
) -> None:
    rates = {"lr_transforms": 4e-4, "lr_entropy": 1.5e-3, "weight_decay": 0.05}
    task = CodecTask(dataclasses.replace(recipe(pictures, options), arch_name=arch, **rates))
    names = {id(p): name for name, p in task.model.named_parameters()}
    groups = [group for optimizer in task.optimizers() for group in optimizer.param_groups]
    assert [group["lr"] for group in groups] == [4e-4, 1.5e-3, 1.5e-3, 1e-3]
    assert [group["weight_decay"] for group in groups] == [0, 0.05, 0, 0]
    members = [{names[id(p)] for p in group["params"]} for group in groups]
    transforms, kernels, entropy, aux = members
    assert {n.split(".")[0] for n in transforms} == {"g_a", "g_s"}
    assert {name.split(".")[-1] for name in aux} == {"quantiles"}
    assert len(aux) == 1
    assert set.union(*members) == set(names.values())
    assert sum(map(len, members)) == len(names)
    # What is left of a network when its biases, its prior and its gains are gone.
    assert all(task.model.get_parameter(name).ndim >= 2 for name in kernels)
    assert not any(name.endswith(("weight", "numerator", "denominator")) for name in entropy)


@pytest.mark.parametrize(
    ("arch", "start", "options"),
    [
        ("mbt-paon", "linear", {"shift": "predicted"}),
        ("mbt-paon", "linear", {"shift": "static", "gdn": True}),
        ("mbt-paon", "random", {"shift": "static", "gdn": True}),
        ("elic-paon", "linear", {**ELIC, "shift": "static", "attention": True}),
    ],
)
def test_every_parameter_learns_within_three_steps(
    pictures: Path, tmp_path: Path, arch: str, start: str, options: dict[str, Any]
) -> None:
    settings = recipe(pictures, options, start=start, steps=3, warmup=0)
    task = CodecTask(dataclasses.replace(settings, arch_name=arch))
    moved: set[str] = set()

    def note(progress: Progress) -> None:
        moved.update(
            n for n, p in task.model.named_parameters() if p.grad is not None and p.grad.any()
        )

    Trainer(task, RunDirectory(tmp_path / "run"), note).fit()
    assert {name for name, _ in task.model.named_parameters()} - moved == set()


def test_rate_and_distortion_by_hand() -> None:
    x = torch.zeros(2, 3, 4, 4)
    out = {
        "x_hat": torch.full_like(x, 0.1),
        "likelihoods": {"y": torch.full((2, 5), 0.25), "z": torch.full((2, 2), 0.5)},
    }
    loss, figures = rate_distortion(out, x, 0.01)
    bpp = (2 * 5 * 2 + 2 * 2 * 1) / 32
    assert figures["bpp"] == pytest.approx(bpp)
    assert figures["mse"] == pytest.approx(0.01)
    assert figures["psnr"] == pytest.approx(20, abs=1e-4)
    assert loss.item() == pytest.approx(0.01 * 255**2 * 0.01 + bpp)


def test_each_image_has_its_lambda_and_share() -> None:
    x = torch.zeros(2, 3, 4, 4)
    levels = torch.tensor([0.1, 0.2])[:, None, None, None]
    likelihoods = {"y": torch.stack([torch.full((6,), 0.25), torch.full((6,), 0.5)])}
    out = {"x_hat": x + levels, "likelihoods": likelihoods}
    lmbdas, shares = torch.tensor([0.01, 0.02]), torch.tensor([1.0, 0.5])
    loss, figures = rate_distortion(out, x, lmbdas, shares)
    first = 0.01 * 255**2 * 0.01 + 12 / 16
    second = 0.5 * (0.02 * 255**2 * 0.04 + 6 / 16)
    assert loss.item() == pytest.approx((first + second) / 2)
    assert figures["bpp"] == pytest.approx((12 + 6) / 32)


def test_one_network_learns_all_qualities(pictures: Path, tmp_path: Path) -> None:
    task = CodecTask(recipe(pictures, lmbda="variable", steps=4, batch_size=4))
    moved: set[str] = set()

    def note(progress: Progress) -> None:
        moved.update(
            n for n, p in task.model.named_parameters() if p.grad is not None and p.grad.any()
        )

    run = RunDirectory(tmp_path / "run")
    assert Trainer(task, run, note).fit()
    assert {name for name, _ in task.model.named_parameters()} - moved == set()
    model, about = load_weights(run.weights_file("last"))
    assert (about["lmbda"], model.config.variable_rate) == ("variable", True)
    validation = run.records()[-1]
    points = [
        (validation[f"validation_bpp_q{q}"], validation[f"validation_psnr_q{q}"])
        for q in range(1, 7)
    ]
    assert points == sorted(points)
    assert points[0][0] < points[-1][0]
    assert points[0][1] < points[-1][1]
    assert validation["validation_bpp"] == pytest.approx(sum(b for b, _ in points) / 6)


def test_bfloat16_is_near_float32(pictures: Path) -> None:
    losses = []
    for dtype in (torch.float32, torch.bfloat16):
        task = CodecTask(recipe(pictures))
        task.start()
        losses.append(loss_of(task, dtype)[1]["loss"])
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)


def test_gradients_in_bfloat16_are_those_of_float32(pictures: Path) -> None:
    """Values are equal; so are gradients, to what is rounded of their products."""
    found = []
    for reduced in (False, True):
        task = CodecTask(recipe(pictures))
        task.start()
        with gradients_in_bfloat16(reduced):
            loss = loss_of(task)[0]
        loss.backward()
        found.append((loss.item(), dict(task.model.named_parameters())))
    (loss, exact), (same, near) = found
    assert same == pytest.approx(loss, rel=1e-5)
    for name, parameter in exact.items():
        error = (near[name].grad - parameter.grad).norm() / parameter.grad.norm()
        assert error < 0.02, name
        if name.startswith(("g_a", "g_s")) and "bias" not in name:
            assert error > 1e-4, name


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_the_entropy_model_stays_in_float32(pictures: Path, tmp_path: Path, precision: str) -> None:
    task = CodecTask(recipe(pictures, precision=precision, steps=3))
    run = RunDirectory(tmp_path / "run")
    trainer = Trainer(task, run)
    seen: dict[str, set[torch.dtype]] = {}
    for name in ("g_a.0", "h_a", "h_s", "context_prediction", "entropy_parameters"):
        module = task.model.get_submodule(name)
        module.register_forward_hook(
            lambda _, __, out, name=name: seen.setdefault(name, set()).add(out.dtype)
        )
    assert trainer.fit()
    assert seen.pop("g_a.0") == {getattr(torch, precision)}
    assert set.union(*seen.values()) == {torch.float32}
    assert trainer.skipped < 3
    assert trainer.best_validation()["psnr"] > 20


def test_micro_batches_are_the_whole_batch(pictures: Path) -> None:
    task = CodecTask(recipe(pictures, lmbda="variable", batch_size=4))
    task.start()
    batch = default_collate([task.data()[number] for number in range(4)])

    def loss(numbers: range) -> tuple[Tensor, dict[str, float]]:
        samples = Samples(numbers, 4, 0)
        return task.loss(task.model, batch[numbers.start : numbers.stop], samples)

    whole, figures = loss(range(4))
    parts = [loss(range(2)), loss(range(2, 4))]
    torch.testing.assert_close((parts[0][0] + parts[1][0]) / 2, whole)
    for name, value in figures.items():
        assert sum(part[name] for _, part in parts) / 2 == pytest.approx(value, rel=1e-5)


def test_a_recipe_may_draw_high_qualities_more_often(pictures: Path) -> None:
    def drawn(tilt: float) -> Tensor:
        settings = recipe(pictures, lmbda="variable", batch_size=4)
        task = CodecTask(dataclasses.replace(settings, quality_tilt=tilt))
        seen: list[Tensor] = []

        def model(images: Tensor, quality: Tensor) -> dict[str, Any]:
            seen.append(quality)
            return task.model(images, quality)

        task.loss(model, torch.stack([task.data()[n] for n in range(4)]), Samples(range(4), 4, 0))
        return seen[0]

    assert (drawn(1.0) > drawn(0.0)).any()
    assert (drawn(1.0) >= drawn(0.0)).all()


def test_the_pictures_of_a_validation_are_crops_and_what_becomes_of_them(pictures: Path) -> None:
    for lmbda, columns in ((0.013, 2), ("variable", 4)):
        task = CodecTask(recipe(pictures, lmbda=lmbda))
        model = task.model.eval()
        with torch.no_grad():
            shown = task.pictures(model)
            crop = task._held_out()[0].float() / 255
            decoded = model(crop[None])["x_hat"][0].clamp(0, 1)
        assert list(shown) == [f"crop {n}" for n in range(min(4, len(task.validation)))]
        assert shown["crop 0"].shape == (3, 64, 64 * columns)
        assert torch.equal(shown["crop 0"][:, :, :64], crop)
        middle = 64 if lmbda == 0.013 else 128  # quality 4 of 1, 4, 6
        assert torch.equal(shown["crop 0"][:, :, middle : middle + 64], decoded)


def test_data_depend_on_the_number_alone(pictures: Path) -> None:
    task = CodecTask(recipe(pictures, shrink=[0.6, 0.9]))
    random = torch.get_rng_state()
    whole = [task.data()[number] for number in range(20)]
    assert {tuple(crop.shape) for crop in whole} == {(3, 64, 64)}
    later = task.data()
    for number in (19, 3, 11):
        assert torch.equal(later[number], whole[number])
    assert torch.equal(torch.get_rng_state(), random)
    assert len({crop.numpy().tobytes() for crop in whole}) == 20


def test_pictures_of_a_weighted_folder_are_drawn_as_often(pictures: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for number in range(7, 11):
        (other / f"{number}.png").write_bytes((pictures / f"{number - 7}.png").read_bytes())
    settings = dataclasses.replace(
        recipe(pictures), data=(str(pictures), str(other)), data_weights=(1.0, 3.0)
    )
    task = CodecTask(settings)
    data, seen = task.data(), Counter()
    epoch = sum(3 if path.parent == other else 1 for path in task.training)
    for number in range(2 * epoch):
        seen[task.training[data._order[number] % len(task.training)]] += 1
    assert {path: count // 2 for path, count in seen.items()} == {
        path: 3 if path.parent == other else 1 for path in task.training
    }


def test_a_picture_of_two_folders_has_the_weight_of_the_first(pictures: Path) -> None:
    both = (str(pictures / "0.png"), str(pictures))
    task = CodecTask(dataclasses.replace(recipe(pictures), data=both, data_weights=(5.0, 1.0)))
    weights = dict(zip(task.training, task._weights, strict=True))
    assert weights.pop(pictures / "0.png", 5.0) == 5.0
    assert set(weights.values()) == {1.0}


def test_one_batch_can_be_learnt_by_heart(pictures: Path, tmp_path: Path) -> None:
    class OneBatch(CodecTask):
        def data(self) -> Dataset[Tensor]:
            crops = super().data()
            return [crops[number % 2] for number in range(60)]

    losses: list[float] = []
    settings = recipe(pictures, start="random", steps=30, validate_every=30)
    task = OneBatch(dataclasses.replace(settings, lr_transforms=1e-2))
    Trainer(task, RunDirectory(tmp_path / "run"), lambda p: losses.append(p.figures["loss"])).fit()
    assert losses[-1] < 0.5 * losses[0]


def test_a_loss_that_is_not_finite_reaches_no_network_and_no_quantile(
    pictures: Path, tmp_path: Path
) -> None:
    class Bad(CodecTask):
        def loss(self, *given: Any) -> tuple[Tensor, dict[str, float]]:
            loss, figures = super().loss(*given)
            return loss * math.inf, figures

    task = Bad(recipe(pictures, steps=2))
    trainer = Trainer(task, RunDirectory(tmp_path / "run"))
    before = [p.detach().clone() for p in task.model.parameters()]
    assert trainer.fit()
    assert trainer.skipped == 2
    torch.testing.assert_close(
        [p.detach() for p in task.model.parameters()], before, rtol=0, atol=0
    )


# Validation and weights


def test_validation_is_of_pictures_that_are_not_trained_on(pictures: Path) -> None:
    task = CodecTask(recipe(pictures))
    assert task.validation
    assert not set(task.training) & set(task.validation)
    assert len(task.training) + len(task.validation) == 7


def test_validation_is_the_mean_over_crops_and_reads_them_once(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = CodecTask(recipe(pictures, validation_fraction=0.6))
    assert len(task.validation) > 1
    model = task.model.eval()
    with torch.no_grad():
        figures = task.validate(model)
        wanted: dict[str, list[float]] = {}
        for crop in CropDataset(task.validation, CropSpec(64, flips=False)):
            x = crop[None].float() / 255
            for name, value in rate_distortion(model(x), x, 0.013)[1].items():
                wanted.setdefault(name, []).append(value)
        assert figures == pytest.approx({k: sum(v) / len(v) for k, v in wanted.items()})

        monkeypatch.setattr(task, "validation", [tmp_path / "gone.png"])
        random = torch.get_rng_state()
        assert task.validate(model) == figures
        assert torch.equal(torch.get_rng_state(), random)


@pytest.fixture(scope="module")
def unbroken(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    run = RunDirectory(tmp_path_factory.mktemp("runs") / "unbroken")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("paoncodec.training.engine.LOG_EVERY", 1)
        assert Trainer(CodecTask(recipe(pictures)), run).fit()
    return run


@pytest.mark.parametrize(("killed", "resumed"), [(3, 2), (1, 0)])
def test_a_killed_run_goes_on_bit_for_bit_with_other_workers(
    pictures: Path,
    tmp_path: Path,
    unbroken: RunDirectory,
    monkeypatch: pytest.MonkeyPatch,
    killed: int,
    resumed: int,
) -> None:
    monkeypatch.setattr("paoncodec.training.engine.LOG_EVERY", 1)

    def kill(progress: Progress) -> None:
        if progress.step == killed:
            raise Killed

    path = tmp_path / "run"
    with pytest.raises(Killed):
        Trainer(CodecTask(recipe(pictures)), RunDirectory(path), kill).fit()
    run = RunDirectory(path, resume=True)
    again = Trainer(CodecTask(recipe(pictures, workers=1)), run)
    assert again.step == resumed
    assert again.fit()
    assert_same_run(run, unbroken)
    assert len(run.records()) == 6 + 3  # steps and validations


def test_three_steps_and_three_are_six(
    pictures: Path, tmp_path: Path, unbroken: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("paoncodec.training.engine.LOG_EVERY", 1)
    first = Trainer(CodecTask(recipe(pictures)), RunDirectory(tmp_path / "run"))
    first.listener = lambda p: first.request_stop() if p.step == 3 else None
    assert not first.fit()
    run = RunDirectory(tmp_path / "run", resume=True)
    second = Trainer(CodecTask(recipe(pictures)), run)
    assert second.step == 3
    assert second.fit()
    assert_same_run(run, unbroken)
    assert len(run.records()) == 6 + 3  # steps and validations


def test_exported_weights_are_the_average_and_ready_to_use(pictures: Path, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    trainer = Trainer(CodecTask(recipe(pictures, steps=2, lmbda=0.05)), run)
    shapes = {k: v.shape for k, v in trainer.learner.average.module.state_dict().items()}
    trainer.fit()
    assert {k: v.shape for k, v in trainer.learner.average.module.state_dict().items()} == shapes
    model, about = load_weights(run.weights_file("last"))
    assert about["arch"] == "mbt-paon"
    assert float(about["lmbda"]) == 0.05
    assert about["step"] == "2"
    x = trainer.task.data()[0][None].float() / 255
    average = trainer.learner.average.module.eval()
    with torch.no_grad():
        torch.testing.assert_close(model(x)["x_hat"], average(x)["x_hat"], rtol=0, atol=0)
        coded = model.compress(x)
        decoded = model.decompress(coded["strings"], coded["shape"])
    assert decoded["digests"] == coded["digests"]


def test_weights_that_no_tables_can_be_made_of_have_diverged(
    pictures: Path, tmp_path: Path
) -> None:
    run = RunDirectory(tmp_path / "run")
    trainer = Trainer(CodecTask(recipe(pictures, steps=1, start="random")), run)
    with torch.no_grad():
        for model in (trainer.task.model, trainer.learner.average.module):
            for parameter in model.entropy_bottleneck.parameters():
                parameter.fill_(math.nan)
    with pytest.raises(TrainingDiverged, match=r"^step 1: no weights file"):
        trainer.fit()
    assert run.load() is None
