"""What is here and what is not, by made-up machines; names of workers as people write them."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orrery.errors import SpecError, UnknownNameError
from orrery.runtime.together import Devices, _devices, core_sets, devices_here, workers_here
from orrery.runtime.together._devices import Gpu, gpus_of, sets_beside

OWN = tuple(sorted(os.sched_getaffinity(0)))
ALL = next(iter(core_sets()))
ONE = f"cpu{OWN[0]}"


class NoMemory:
    """Stands for a GPU's memory."""

    def __init__(self, name: str) -> None:
        self.name = name


@pytest.fixture
def with_gpus(monkeypatch: pytest.MonkeyPatch) -> Devices:
    monkeypatch.setattr(_devices, "CudaMemory", NoMemory)
    gpus = tuple(Gpu(name=f"cuda:{k}", product="Made Up", memory_bytes=1 << 30) for k in range(2))
    return Devices(core_sets=core_sets(), gpus=gpus, absent={})


WITHOUT = Devices(core_sets=core_sets(), gpus=(), absent={"cuda": "no driver, made up"})


def names(*wanted: str, devices: Devices = WITHOUT) -> list[str]:
    return [worker.name for worker in workers_here(wanted, devices)]


def library(count: int = 0, cuda: str | None = "12.8", available: bool = True) -> Any:
    said = SimpleNamespace(name="Made Up", total_memory=123)
    return SimpleNamespace(
        version=SimpleNamespace(cuda=cuda),
        cuda=SimpleNamespace(device_count=lambda: count, is_available=lambda: available,
                             get_device_properties=lambda number: said),
    )  # fmt: skip


def test_why_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert gpus_of(library(cuda=None)) == ((), "this PyTorch was built without CUDA")
    assert "finds no GPU" in str(gpus_of(library(0))[1])
    assert "finds no GPU" in str(gpus_of(library(1, available=False))[1])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert "CUDA_VISIBLE_DEVICES=''" in str(gpus_of(library(0))[1])
    found, why = gpus_of(library(2))
    assert why is None
    assert [(g.name, g.product, g.memory_bytes) for g in found] == [
        ("cuda:0", "Made Up", 123), ("cuda:1", "Made Up", 123),
    ]  # fmt: skip


def test_a_processor_is_left_to_feed_the_gpus() -> None:
    gpu = Gpu(name="cuda:0", product="Made Up", memory_bytes=1)
    assert sets_beside([], (0, 1, 2, 3)) == core_sets((0, 1, 2, 3))
    assert sets_beside([gpu], (0, 1, 2, 3)) == {**core_sets((0, 1, 2, 3)), "cpu0-2": (0, 1, 2)}
    assert sets_beside([gpu], (0, 1)) == core_sets((0, 1))


def test_what_is_here_is_said_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    found = devices_here()
    assert found.core_sets.items() >= core_sets().items()
    assert found.gpus or found.absent["cuda"]
    monkeypatch.setattr(_devices.shutil, "which", lambda tool: None)
    monkeypatch.setattr(_devices, "_CONTROL", Path("/nowhere/at-all"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: object())
    assert "no NVIDIA driver" in devices_here().absent["cuda"]
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: None)
    assert "PyTorch is not installed" in devices_here().absent["cuda"]
    assert "no cuda: PyTorch" in str(devices_here())


@pytest.mark.needs("onnxruntime")
def test_workers_by_name() -> None:
    everywhere = [f"{place} onnxruntime" for place in core_sets()]
    assert names("onnxruntime") == everywhere
    assert names("onnxruntime@" + ONE) == [f"{ONE} onnxruntime"]
    assert names("onnxruntime@" + ONE, "onnxruntime") == [
        f"{ONE} onnxruntime", *(one for one in everywhere if one != f"{ONE} onnxruntime"),
    ]  # fmt: skip
    assert f"{ONE} onnxruntime" in names(ONE)
    assert set(everywhere) <= set(names())
    assert not any("torch" in one for one in names())
    assert names(f"reference@cpu{OWN[0]}-{OWN[0]}") == [f"{ONE} reference"]
    worker = workers_here(["onnxruntime"], WITHOUT)[0]
    assert worker.processors == OWN
    assert worker.label.startswith("onnxruntime 1")  # times of another version are of no use


@pytest.mark.torch
def test_workers_on_gpus(with_gpus: Devices) -> None:
    found = workers_here(["cuda:1", "torch@cuda:0"], with_gpus)
    assert [worker.name for worker in found] == ["cuda:1 torch", "cuda:0 torch"]
    assert [worker.occupies for worker in found] == [{"cuda:1"}, {"cuda:0"}]
    assert [worker.memory_name for worker in found] == ["cuda:1", "cuda:0"]
    assert found[0].label.endswith("on Made Up")
    everything = workers_here([], with_gpus)
    assert {"cuda:0 torch", "cuda:1 torch"} <= {worker.name for worker in everything}
    assert f"{ALL} torch" not in {worker.name for worker in everything}
    assert "cuda:0 torch" in names("torch", devices=with_gpus)
    twice = workers_here(["torch@cuda:0", "cuda:0"], with_gpus)
    assert len(twice) == 1
    with pytest.raises(SpecError, match="onnxruntime on a GPU"):
        names("onnxruntime@cuda:0", devices=with_gpus)


@pytest.mark.parametrize("device", ["cuda:0", "cuda", "cpu999", "cpu0-99999", "gpu", "cpu1-"])
def test_a_device_that_is_not_here(device: str) -> None:
    for said in (f"reference@{device}", device):
        if said == "cpu1-":  # reads as neither
            continue
        with pytest.raises(SpecError, match=r"no driver, made up") as told:
            names(said)
        assert ALL in str(told.value)


def test_a_back_end_that_does_not_exist() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'onnxruntime'"):
        names("onnxrntime")
    with pytest.raises(UnknownNameError, match="did you mean 'torch'"):
        names("trch@cuda:0")
    with pytest.raises(UnknownNameError, match=f"no back end or device .*'tpu'; known: .*{ALL}"):
        names("tpu")


@pytest.mark.parametrize("said", ["", "@", "@cpu0", "onnxruntime@"])
def test_a_worker_of_which_half_is_missing_is_not_all_of_them(said: str) -> None:
    with pytest.raises(SpecError, match=r"no (back end|device)"):
        names(said)
