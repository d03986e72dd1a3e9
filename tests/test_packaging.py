"""What setup.cfg packs is what the package needs when it runs."""

from __future__ import annotations

from configparser import ConfigParser
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "paoncodec"


def patterns() -> list[str]:
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    return config["options.package_data"]["paoncodec"].split()


def test_every_data_file_of_the_package_travels() -> None:
    data = [p for p in PACKAGE.rglob("*") if p.is_file() and p.suffix not in {".py", ".pyc"}]
    names = [str(path.relative_to(PACKAGE)) for path in data if not path.name.startswith(".")]
    for model in ("mbt-paon-small", "elic-paon-small-variable"):
        assert f"zoo_data/{model}.safetensors" in names
    for version in ("", "-v2", "-v3", "-v4", "-v5"):
        assert f"zoo_data/mbt-paon-small-variable{version}.safetensors" in names
    left = [name for name in names if not any(fnmatch(name, pattern) for pattern in patterns())]
    assert not left


def test_every_folder_with_code_is_a_package() -> None:
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    assert all((folder / "__init__.py").is_file() for folder in folders)
