"""NIfTI in and out, and files that are refused."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import nibabel
import numpy as np
import pytest

from paoncodec.errors import ImageError, UsageError
from paoncodec.vision.segmentation.volumes import (
    Volume,
    canonical,
    check_pair,
    read_labels,
    read_volume,
    write_labels,
    write_volume,
)

AFFINE = np.array([[0, -1.5, 0, 10], [2.0, 0, 0, -20], [0, 0.1, 5, 3], [0, 0, 0, 1]])


@pytest.fixture
def volume() -> Volume:
    values = np.random.default_rng(0).integers(-1000, 400, (5, 6, 7)).astype(np.float32)
    return Volume(values, AFFINE)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_volume_comes_back(volume: Volume, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    write_volume(path, volume)
    found = read_volume(path)
    assert found.values.dtype == np.float32
    np.testing.assert_array_equal(found.values, volume.values)
    np.testing.assert_allclose(found.affine, AFFINE, atol=1e-6)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert nibabel.load(path).get_data_dtype() == np.int16


def test_labels_come_back(tmp_path: Path) -> None:
    labels = Volume(np.arange(60, dtype=np.uint8).reshape(3, 4, 5), AFFINE)
    write_labels(tmp_path / "a.nii.gz", labels)
    found = read_labels(tmp_path / "a.nii.gz", 60)
    assert found.values.dtype == np.uint8
    np.testing.assert_array_equal(found.values, labels.values)
    np.testing.assert_allclose(found.affine, AFFINE, atol=1e-6)
    with pytest.raises(ImageError, match=r"a\.nii\.gz: has the label 59: .* from 0 to 58"):
        read_labels(tmp_path / "a.nii.gz", 59)


@pytest.mark.parametrize(("sform", "qform", "space"), [(0, 1, 1), (4, 1, 4), (2, 0, 2)])
def test_the_space_of_the_affine_is_kept(
    sform: int, qform: int, space: int, tmp_path: Path
) -> None:
    image = nibabel.Nifti1Image(np.zeros((2, 2, 2), np.int16), AFFINE)
    image.set_sform(AFFINE, sform)
    image.set_qform(AFFINE, qform)
    nibabel.save(image, tmp_path / "a.nii")
    found = read_volume(tmp_path / "a.nii")
    assert found.space == canonical(found).space == space
    labels = read_labels(tmp_path / "a.nii", 2)
    write_labels(tmp_path / "b.nii", labels)
    assert nibabel.load(tmp_path / "b.nii").header["sform_code"] == space


@pytest.mark.filterwarnings("error")
def test_nothing_is_said_of_codes_that_are_none(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """nibabel takes them for 0 and says so, without the file's name."""
    image = nibabel.Nifti1Image(np.zeros((2, 2, 2), np.int16), AFFINE)
    image.set_qform(AFFINE, 1)
    nibabel.save(image, tmp_path / "a.nii")
    content = bytearray((tmp_path / "a.nii").read_bytes())
    content[254:256] = (-1).to_bytes(2, "little", signed=True)  # sform_code
    (tmp_path / "a.nii").write_bytes(content)
    assert read_volume(tmp_path / "a.nii").space == 1
    assert capfd.readouterr().err == ""


def test_scaling_of_the_header_is_applied(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.ones((2, 2, 2), np.int16), AFFINE)
    image.header.set_slope_inter(2, -1024)
    nibabel.save(image, tmp_path / "a.nii")
    assert np.unique(read_volume(tmp_path / "a.nii").values).tolist() == [-1022]


@pytest.mark.parametrize("value", [-1.0, 0.5, np.nan, 3.0])
def test_labels_that_are_no_classes(value: float, tmp_path: Path) -> None:
    values = np.zeros((2, 2, 2), np.float32)
    values[1, 0, 1] = value
    nibabel.save(nibabel.Nifti1Image(values, AFFINE), tmp_path / "a.nii")
    with pytest.raises(ImageError, match=f"has the label {value:g}"):
        read_labels(tmp_path / "a.nii", 3)


def saved(tmp_path: Path, values: np.ndarray, affine: np.ndarray | None = AFFINE) -> Path:
    path = tmp_path / "bad.nii"
    nibabel.save(nibabel.Nifti1Image(values, affine), path)
    return path


def test_volumes_that_are_none(tmp_path: Path) -> None:
    cases = [
        (np.zeros((2, 2, 2, 3), np.float32), AFFINE, "4 dimensions"),
        (np.zeros((2, 2), np.float32), AFFINE, "2 dimensions"),
        (np.zeros((4, 4, 0), np.float32), AFFINE, "4 x 4 x 0 voxels has no slices"),
        (np.zeros((2, 2, 2), np.float32), None, "has no affine"),
        (np.full((2, 2, 2), np.inf, np.float32), AFFINE, "not finite"),
    ]
    for values, affine, said in cases:
        path = saved(tmp_path, values, affine)
        with pytest.raises(ImageError, match=said) as caught:
            read_volume(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_flat_affine(tmp_path: Path) -> None:
    path = saved(tmp_path, np.zeros((2, 2, 2), np.float32))
    data = bytearray(path.read_bytes())
    data[280:296] = bytes(16)  # the first row of the sform
    path.write_bytes(data)
    with pytest.raises(ImageError, match="its affine is none"):
        read_volume(path)


def test_files_that_are_none(volume: Volume, tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    write_volume(path, volume)
    sound = path.read_bytes()
    damaged = bytearray(sound)
    damaged[len(sound) // 2 :] = b"\xff" * (len(sound) - len(sound) // 2)
    for content in (b"", b"no volume", sound[: len(sound) // 2], bytes(damaged)):
        path.write_bytes(content)
        with pytest.raises(ImageError, match=r"a\.nii\.gz: not a sound NIfTI"):
            read_volume(path)
    with pytest.raises(ImageError, match="not a sound NIfTI"):
        read_volume(tmp_path / "nowhere.nii")


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    nibabel.save(nibabel.MGHImage(np.zeros((2, 2, 2), np.float32), AFFINE), tmp_path / "a.mgz")
    with pytest.raises(ImageError, match="not a NIfTI file but MGHImage"):
        read_volume(tmp_path / "a.mgz")


def test_pairs(volume: Volume) -> None:
    check_pair(volume, Volume(volume.values, AFFINE + 1e-4), "case")
    with pytest.raises(ImageError, match="case: a volume of 5x6x7 voxels with labels of 5x6x6"):
        check_pair(volume, Volume(volume.values[..., 1:], AFFINE), "case")
    with pytest.raises(ImageError, match="different affines"):
        check_pair(volume, Volume(volume.values, AFFINE + 1), "case")


def test_outputs_that_cannot_be(volume: Volume, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"written as \.nii or"):
        write_volume(tmp_path / "a.png", volume)
    with pytest.raises(UsageError, match="cannot be written"):
        write_volume(tmp_path / "nowhere" / "a.nii", volume)


def test_axes_go_right_front_and_up(volume: Volume) -> None:
    found = canonical(volume)
    assert (found.affine.diagonal() > 0).all()
    assert found.values.shape == (6, 5, 7)
    place = np.array([3, 1, 6])
    there = volume.affine @ [*place, 1]
    same = np.rint(np.linalg.inv(found.affine) @ there).astype(int)
    assert found.values[tuple(same[:3])] == volume.values[tuple(place)]


@pytest.mark.parametrize(
    ("place", "form", "values", "said"),
    [
        (70, "<h", (1234,), "not a sound NIfTI file"),  # a format that does not exist
        (40, "<h", (99,), "not a sound NIfTI file"),  # so many dimensions
        (40, "<4h", (3, -5, 6, 7), "no slices|not a sound NIfTI file"),
        (40, "<4h", (3, 32000, 32000, 32000), "cut short: .* 32000 x 32000 x 32000 voxels"),
        (108, "<f", (-100.0,), "not a sound NIfTI file"),  # where the voxels begin
        (108, "<f", (1e20,), "cut short|not a sound NIfTI file"),
        (108, "<f", (np.inf,), "not a sound NIfTI file"),
    ],
    ids=str,
)
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_headers_that_are_wrong(
    volume: Volume,
    place: int,
    form: str,
    values: tuple[float, ...],
    said: str,
    suffix: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    write_volume(tmp_path / "sound.nii", volume)
    content = bytearray((tmp_path / "sound.nii").read_bytes())
    struct.pack_into(form, content, place, *values)
    path = tmp_path / f"bad{suffix}"
    path.write_bytes(gzip.compress(content) if suffix == ".nii.gz" else content)
    with pytest.raises(ImageError, match=said) as caught:
        read_volume(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


@pytest.mark.filterwarnings("error")
def test_voxels_that_are_no_plain_numbers(tmp_path: Path) -> None:
    colours = np.zeros((2, 2, 2), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    for values in (np.full((2, 2, 2), 1 + 2j, np.complex64), colours):
        with pytest.raises(ImageError, match=r"bad\.nii: its voxels are .*: must be plain numbers"):
            read_volume(saved(tmp_path, values))
    with pytest.raises(ImageError, match="not finite"):
        read_volume(saved(tmp_path, np.full((2, 2, 2), 1e300)))
