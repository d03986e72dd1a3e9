"""Files that people have decode for ever: the streams here, and that a change of one is found."""

from __future__ import annotations

import json
import math
import shutil
from itertools import product
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from paoncodec.bitstream import VERSION
from paoncodec.codecs import ARCHITECTURES
from paoncodec.errors import UsageError

HERE = Path(__file__).parent
STREAMS = sorted(path.stem for path in (HERE / "streams").glob("*.bin"))


@pytest.fixture(scope="module")
def conformance(tool) -> ModuleType:
    return tool("conformance")


@pytest.mark.parametrize("name", STREAMS)
def test_it_decodes_as_it_always_did(conformance: ModuleType, name: str) -> None:
    assert conformance.check(name) == []


def test_every_codec_and_version_has_a_stream(conformance: ModuleType) -> None:
    assert conformance.names() == STREAMS == sorted(conformance.CASES)
    found = set()
    for name in STREAMS:
        _, weights, expected = conformance.load(name)
        arch = conformance.MODELS[weights.stem][0]
        found.add((arch, expected.facts["version"]))
    # Version 3 is that of samples without latents: no network has a part in it.
    assert VERSION == 3
    assert found == {*product(ARCHITECTURES, (1, 2)), ("mbt-paon", 3)}


def test_the_streams_reach_escapes_alphas_and_metadata(conformance: ModuleType) -> None:
    streams = [conformance.load(name) for name in STREAMS]
    for _, _, expected in streams:
        ends = {
            name: np.abs(expected.arrays[name]).max() for name in {"y", "z"} & {*expected.arrays}
        }
        if ends and expected.arrays["y"].dtype == np.float32:  # a mean is half a step away at most
            assert 4093.5 <= ends.pop("y") <= 4094.5
            assert ends == {"z": 4095}
        else:
            assert ends == ({} if expected.facts["version"] == 3 else {"y": 4095, "z": 4095})
    for section in ("alpha", "samples"):
        holding = [data for data, _, has in streams if section in has.facts["sections"]]
        for chunk in (b"VP8L", b"IDAT"):
            assert chunk in b"".join(holding)
    assert any(expected.facts["metadata"] for _, _, expected in streams)
    for version in (2, 3):
        facts = [has.facts for *_, has in streams if has.facts["version"] == version]
        assert {(f["depth"], f["channels"]) for f in facts} >= {(8, 3), (16, 1), (16, 3)}


def test_they_take_little_room() -> None:
    files = [path for folder in ("streams", "weights") for path in (HERE / folder).iterdir()]
    assert 1e6 < sum(path.stat().st_size for path in files) < 1.5e6


def test_each_says_why_it_was_made() -> None:
    for name in STREAMS:
        about = json.loads((HERE / "streams" / f"{name}.json").read_text())
        assert all(entry["reason"].strip() for entry in about["reasons"])
        assert about["reasons"]


ARRAYS = {
    "y": np.arange(-6, 6, dtype=np.int16).reshape(3, 2, 2),
    "z": np.ones((2, 1, 1), np.int16),
    "samples": np.full((4, 5, 3), 100, np.uint8),
    "alpha": np.full((4, 5), 9, np.uint8),
}
FACTS = {"width": 5, "bpp": 2.5, "metadata": {"icc": "00"}}


def found(conformance: ModuleType, facts: dict | None = None, **arrays: np.ndarray) -> list[str]:
    """What is said of a stream of which this much is another than expected."""
    expected = conformance.Observed(ARRAYS, FACTS)
    kept = {name: array for name, array in {**ARRAYS, **arrays}.items() if array is not None}
    return conformance.differences(expected, conformance.Observed(kept, facts or FACTS))


def changed(name: str, by: int, dtype: type = np.int64) -> np.ndarray:
    """An array with another last value."""
    array = ARRAYS[name].astype(dtype)
    array.flat[-1] += by
    return array.astype(ARRAYS[name].dtype)


def test_no_change_is_found_where_there_is_none(conformance: ModuleType) -> None:
    assert found(conformance) == []


@pytest.mark.parametrize("by", [1, -1])
@pytest.mark.parametrize("name", ["y", "z", "alpha"])
def test_one_latent_or_transparency_is_found(conformance: ModuleType, name: str, by: int) -> None:
    [said] = found(conformance, **{name: changed(name, by)})
    assert said.startswith(f"{name}: 1 of ")


@pytest.mark.parametrize(("by", "count"), [(1, 0), (-1, 0), (2, 1), (-2, 1), (155, 1)])
def test_samples_may_be_off_by_one_level(conformance: ModuleType, by: int, count: int) -> None:
    assert len(found(conformance, samples=changed("samples", by))) == count


@pytest.mark.parametrize("by", [1, -1])
def test_samples_without_latents_are_exact(conformance: ModuleType, by: int) -> None:
    was, now = ({**ARRAYS, "samples": s} for s in (ARRAYS["samples"], changed("samples", by)))
    for arrays in (was, now):
        del arrays["y"], arrays["z"]
    [said] = conformance.differences(*(conformance.Observed(each, FACTS) for each in (was, now)))
    assert said.startswith("samples: 1 of ")


@pytest.mark.parametrize(("by", "count"), [(257, 0), (258, 1)])
def test_a_level_of_8_bits_is_257_of_16(conformance: ModuleType, by: int, count: int) -> None:
    deep = {**ARRAYS, "samples": np.full((4, 5, 1), 1000, np.uint16)}
    off = {**deep, "samples": deep["samples"] + np.uint16(by)}
    was, now = (conformance.Observed(arrays, FACTS) for arrays in (deep, off))
    assert len(conformance.differences(was, now)) == count


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["samples", "y"])
def test_what_is_no_number_is_found_on_either_side(
    conformance: ModuleType, name: str, bad: float
) -> None:
    sound = {key: array.astype(np.float64) for key, array in ARRAYS.items()}
    broken = {**sound, name: sound[name].copy()}
    broken[name].flat[3] = bad
    one, other = (conformance.Observed(arrays, FACTS) for arrays in (sound, broken))
    for was, now in ((one, other), (other, one), (other, other)):
        [said] = conformance.differences(was, now)
        assert said.startswith(f"{name}: 1 of ")


@pytest.mark.parametrize(
    "arrays",
    [
        {"samples": ARRAYS["samples"][:3]},
        {"samples": ARRAYS["samples"].astype(np.uint16)},
        {"alpha": None},
        {"more": np.zeros(1)},
    ],
)
def test_arrays_of_another_kind_are_found(conformance: ModuleType, arrays: dict) -> None:
    assert len(found(conformance, **arrays)) == 1


@pytest.mark.parametrize(
    "facts",
    [
        {**FACTS, "width": 6},
        {**FACTS, "metadata": {"icc": "01"}},
        {**FACTS, "metadata": {}},
        {**FACTS, "bpp": math.nan},
        {**FACTS, "new": None},
        {"width": 5, "bpp": 2.5},
    ],
)
def test_other_facts_are_found(conformance: ModuleType, facts: dict) -> None:
    assert len(found(conformance, facts)) == 1


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """All streams, to be spoilt."""
    return shutil.copytree(HERE, tmp_path / "conformance", ignore=shutil.ignore_patterns("*.py"))


def rewrite(folder: Path, name: str, key: str, by: int) -> None:
    """Changes one value of what a stream is expected to decode to."""
    path = folder / "streams" / f"{name}.npz"
    with np.load(path) as stored:
        arrays = dict(stored)
    arrays[key].flat[0] += arrays[key].dtype.type(by)
    np.savez_compressed(path, **arrays)


@pytest.mark.parametrize(("key", "by"), [("y", 1), ("z", 1), ("samples", 9), ("alpha", 1)])
def test_a_stream_that_decodes_to_something_else_fails(
    conformance: ModuleType, folder: Path, capsys, key: str, by: int
) -> None:
    name = "elic-2022-v2"
    rewrite(folder, name, key, by)
    with pytest.raises(SystemExit) as end:
        conformance.main(["check", name, "--folder", str(folder)])
    assert end.value.code == 1
    assert f"{name}: {key}: 1 of " in capsys.readouterr().out


def test_a_stream_that_is_refused_fails(conformance: ModuleType, folder: Path) -> None:
    path = folder / "streams" / "mbt-2018-v2.bin"
    path.write_bytes(path.read_bytes()[:-1])
    [said] = conformance.check("mbt-2018-v2", folder)
    assert "cut short" in said
    with (folder / "weights" / "elic-paon.safetensors").open("r+b") as file:
        file.seek(-2, 2)
        file.write(b"\1")  # a low byte of a weight
    [said] = conformance.check("elic-paon-v1", folder)
    assert "identity" in said


def test_a_stream_is_made_for_a_reason(conformance: ModuleType, tmp_path: Path) -> None:
    name = "mbt-paon-grey-v1"
    with pytest.raises(UsageError, match="for a reason"):
        conformance.make(name, " ", folder=tmp_path)
    assert not list(tmp_path.iterdir())
    with pytest.raises(SystemExit):
        conformance.main(["make", name, "--folder", str(tmp_path)])
    conformance.make(name, "the first", folder=tmp_path)
    assert conformance.check(name, tmp_path) == []
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match="is there"):
        conformance.make(name, "a whim", folder=tmp_path)
    assert {path: path.read_bytes() for path in before} == before
    conformance.make(name, "the second", replace=True, folder=tmp_path)
    about = json.loads((tmp_path / "streams" / f"{name}.json").read_text())
    assert [entry["reason"] for entry in about["reasons"]] == ["the first", "the second"]
    with pytest.raises(UsageError, match="choose among"):
        conformance.make("mbt-paon-v3", "a slip", folder=tmp_path)
