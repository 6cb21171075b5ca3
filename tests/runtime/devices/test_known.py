"""GPUs by name, on made-up machines."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from orrery.errors import SpecError
from orrery.runtime.devices import known_gpu


def library(count: int, current: int = 0) -> Any:
    return SimpleNamespace(cuda=SimpleNamespace(device_count=lambda: count,
                                                current_device=lambda: current))  # fmt: skip


def test_gpus_that_are_here() -> None:
    assert known_gpu(library(2), "cuda:1", where="x") == "cuda:1"
    assert known_gpu(library(2, current=1), "cuda", where="x") == "cuda:1"


def test_gpus_that_are_not() -> None:
    with pytest.raises(SpecError, match=r"memory: found 'cuda:2', wanted one of cuda:0, cuda:1;"):
        known_gpu(library(2), "cuda:2", where="memory")
    with pytest.raises(SpecError, match=r"wanted one of \(no GPU is here\);"):
        known_gpu(library(0), "cuda", where="memory")
    with pytest.raises(SpecError, match=r"offload: device: found 'cuda', wanted one of cpu;"):
        known_gpu(library(0), "cuda", where="offload: device", also=("cpu",))
