"""Volumes from slices: directions, averages, memory."""

from __future__ import annotations

import errno
import os

import numpy as np
import pytest
import torch
from torch import Tensor

from paoncodec.errors import UsageError
from paoncodec.vision.segmentation import ResUNet, build, inference
from paoncodec.vision.segmentation.inference import normalised, probabilities, segment

SHAPE = (9, 12, 7)


@pytest.fixture(scope="module")
def model() -> ResUNet:
    torch.manual_seed(0)
    return build("pure-resunet", 3, {"widths": (4, 6), "depths": (1, 1)}).eval()


@pytest.fixture(scope="module")
def values() -> np.ndarray:
    return np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)


def directly(model: ResUNet, values: np.ndarray, axis: int) -> np.ndarray:
    """One slice after the other."""
    made = np.empty((*values.shape, model.classes), np.float32)
    for number in range(values.shape[axis]):
        place = [slice(None)] * 3
        place[axis] = number
        x = torch.from_numpy(np.ascontiguousarray(values[tuple(place)]))[None, None]
        with torch.no_grad():
            made[tuple(place)] = model(x).softmax(1)[0].permute(1, 2, 0).numpy()
    return made


@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 1, 2), (2, 0)])
def test_it_is_the_mean_of_the_directions(model, values, axes) -> None:
    expected = np.mean([directly(model, values, axis) for axis in axes], axis=0)
    with probabilities(model, values, axes, batch=4) as found:
        np.testing.assert_allclose(found, expected, atol=1e-5)
        np.testing.assert_allclose(found.sum(-1), 1, atol=1e-5)
    labels = segment(model, values, axes, batch=4)
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, found.argmax(-1))


def test_large_volumes_are_in_a_file(model, values, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with probabilities(model, values) as small:
        assert not isinstance(small, np.memmap)
        expected = np.array(small)
    need = 4 * values.size * model.classes
    with probabilities(model, values, memory=need - 1) as large:
        assert isinstance(large, np.memmap)
        assert len(list(tmp_path.iterdir())) == 1
        np.testing.assert_array_equal(large, expected)
    assert not list(tmp_path.iterdir())
    np.testing.assert_array_equal(
        segment(model, values, memory=0), segment(model, values, memory=need)
    )


def test_the_file_has_its_room_before_it_is_used(model, values, monkeypatch, tmp_path) -> None:
    """Writing to a mapped file for which the disk has no room would end the process."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with probabilities(model, values, axes=(0,), memory=0) as large:
        (file,) = tmp_path.rglob("probabilities")
        assert file.stat().st_size == large.nbytes
        if hasattr(os, "posix_fallocate"):
            assert 512 * file.stat().st_blocks >= large.nbytes


def test_a_file_system_may_not_take_room_ahead(model, values, monkeypatch) -> None:
    def unknown(*words: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    expected = segment(model, values)
    monkeypatch.setattr(os, "posix_fallocate", unknown, raising=False)
    np.testing.assert_array_equal(segment(model, values, memory=0), expected)


def test_a_full_disk_is_said(model, values, monkeypatch, tmp_path) -> None:
    def full(*words: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(UsageError, match="No space left on device"):
        segment(model, values, memory=0)
    assert not list(tmp_path.iterdir())


def test_no_more_slices_at_a_time_than_told(model, values, monkeypatch) -> None:
    seen: list[int] = []

    def hear(module: object, inputs: Tensor) -> Tensor:
        seen.append(len(inputs))
        return torch.zeros(*inputs[:, 0].shape, 3)

    monkeypatch.setattr(inference, "_probable", hear)
    segment(model, values, batch=5)
    assert max(seen) == 5
    assert sum(seen) == sum(SHAPE)


def test_the_window() -> None:
    values = np.array([-1000, -160, 70, 300, 1000], np.float32)
    assert normalised(values).tolist() == [-1, -1, 0, 1, 1]
    assert normalised(values).dtype == np.float32


def test_impossible_arguments_are_refused(model, values) -> None:
    for options, said in (
        ({"axes": ()}, "axes"),
        ({"axes": (0, 3)}, "axes"),
        ({"axes": (1, 1)}, "axes"),
        ({"batch": 0}, "batch 0"),
    ):
        with pytest.raises(UsageError, match=said):
            segment(model, values, **options)
    for wrong in (values[0], values[:, :0]):
        with pytest.raises(ValueError, match="must be a volume with voxels"):
            segment(model, wrong)
