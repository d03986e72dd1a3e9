"""Files of tensors: equal ones are equal files, which is what identifies weights."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import safe_open

from paoncodec.tensors import save_tensors


def test_bytes_depend_on_contents_alone(tmp_path: Path) -> None:
    tensors = {"a": torch.arange(6.0).view(2, 3).T, "b": torch.tensor([1, 2])}
    about = {f"key {n}": str(n) for n in range(9)}
    backwards = dict(reversed(about.items()))
    paths = [tmp_path / name for name in ("first", "second")]
    for path, metadata in zip(paths, (about, backwards), strict=True):
        save_tensors(tensors, path, metadata)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    with safe_open(paths[0], framework="pt") as file:
        assert file.metadata() == about
        assert torch.equal(file.get_tensor("a"), tensors["a"])
        assert torch.equal(file.get_tensor("b"), tensors["b"])
