"""`paoncodec complexity`."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from paoncodec.cli import main


def run(*words: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, ["complexity", *words])
    return result.exit_code, result.stdout, result.stderr


def test_table_1_stands_beside_the_papers() -> None:
    code, out, _ = run("--table-1")
    assert code == 0
    head, *rows = out.split("\n\n")[0].splitlines()
    assert head.split()[:3] == ["1x3x256x256,", "5x5,", "[1/1]"]
    for row, numbers in zip(
        rows,
        [
            "14.7456 14.74 29.4912 29.49",
            "29.4912 29.49 58.9824 58.98",
            "30.2777 30.28 58.9824 58.98",
            "30.2776 30.28 58.9824 58.98",
        ],
        strict=True,
    ):
        assert row[24:].split()[:4] == numbers.split()
    assert "max_memory_allocated" in out


def test_a_codec_part_by_part_as_json() -> None:
    code, out, _ = run("--arch", "mbt-paon", "--preset", "small", "--side", "64", "--json")
    assert code == 0
    found = json.loads(out)
    assert set(found["encoder"]) == {"g_a", "h_a"}
    assert set(found["decoder"]) == {"g_s"}
    assert set(found["entropy_path"]) == {"h_s", "context_prediction", "entropy_parameters"}
    assert found["encoder"]["g_a"] == pytest.approx(11.7)


def test_a_codec_part_by_part() -> None:
    code, out, _ = run("--arch", "mbt-paon", "--preset", "small", "--side", "64")
    assert code == 0
    assert [line[:12].strip() for line in out.splitlines()[1:]] == [
        "encoder",
        "decoder",
        "entropy path",
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "either --table-1 or --arch"),
        (("--table-1", "--arch", "mbt-paon"), "either --table-1 or --arch"),
        (("--arch", "none"), "'none': choose one of"),
        (("--arch", "mbt-paon", "--preset", "huge"), "'huge': choose one of"),
        (("--arch", "mbt-paon", "--preset", "small", "--side", "100"), "multiple of 64"),
    ],
)
def test_refused(words: tuple[str, ...], message: str) -> None:
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert message in err
