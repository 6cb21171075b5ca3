"""What this machine has to run networks on, and the workers that are made of it.

Models:  sets of processors, and each CUDA GPU that PyTorch finds; what is not there is said in
         words.
Ignores: other GPUs than NVIDIA's; sharing a GPU with other programs.
Judge:   made-up machines (tests/runtime/together/test_devices.py).
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orrery.errors import SpecError, UnknownNameError, did_you_mean

from .._backend import BACKENDS
from .._machine import allowed_processors
from ..libraries._torch import load_library
from ._memory import CudaMemory
from ._pool import LocalWorker, core_sets, processors_name

#: back end -> the package it needs, in the order in which they are offered for processors
_PACKAGES = {"onnxruntime": "onnxruntime", "openvino": "openvino", "torch": "torch"}

#: There where an NVIDIA driver is loaded, also where its tools are not installed.
_CONTROL = Path("/dev/nvidiactl")

#: Back ends that run on a GPU.
_ON_GPU = ("torch",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """A CUDA GPU as PyTorch finds it."""

    name: str
    product: str
    memory_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Devices:
    """What is here.

    Attributes
    ----------
    core_sets : name -> processors; all, each half, and beside GPUs all but one
    gpus : those that can be used
    absent : kind of device -> why there is none
    """

    core_sets: Mapping[str, tuple[int, ...]]
    gpus: tuple[Gpu, ...]
    absent: Mapping[str, str]

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.core_sets, *(gpu.name for gpu in self.gpus))

    def __str__(self) -> str:
        said = [", ".join(self.names)]
        return "; ".join(said + [f"no {kind}: {why}" for kind, why in self.absent.items()])


def devices_here() -> Devices:
    """Return what this machine has; PyTorch is loaded only where there is a driver."""
    gpus: tuple[Gpu, ...] = ()
    why = _no_driver()
    if why is None:
        gpus, why = gpus_of(load_library())
    return Devices(core_sets=sets_beside(gpus), gpus=gpus,
                   absent={} if why is None else {"cuda": why})  # fmt: skip


def sets_beside(
    gpus: Sequence[Gpu], processors: Sequence[int] | None = None
) -> dict[str, tuple[int, ...]]:
    """Return the usual sets of processors; beside GPUs also all but one, which feeds the GPUs."""
    found = core_sets(processors)
    everything = next(iter(found.values()))
    if gpus and len(everything) > 2:
        found[processors_name(everything[:-1])] = everything[:-1]
    return found


def _no_driver() -> str | None:
    if importlib.util.find_spec("torch") is None:
        return 'PyTorch is not installed (pip install "orrery[torch]")'
    if shutil.which("nvidia-smi") is None and not _CONTROL.exists():
        return "no NVIDIA driver is installed (neither nvidia-smi nor /dev/nvidiactl is there)"
    return None


def gpus_of(library: Any) -> tuple[tuple[Gpu, ...], str | None]:
    """Return the GPUs that PyTorch finds, or why it finds none."""
    if library.version.cuda is None:
        return (), "this PyTorch was built without CUDA"
    count = library.cuda.device_count()
    if not library.cuda.is_available() or count == 0:
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
        said = "" if hidden is None else f" (CUDA_VISIBLE_DEVICES={hidden!r})"
        return (), f"there is a driver, but PyTorch finds no GPU it can use{said}"
    found = []
    for number in range(count):
        said = library.cuda.get_device_properties(number)
        found.append(Gpu(name=f"cuda:{number}", product=said.name, memory_bytes=said.total_memory))
    return tuple(found), None


def workers_here(wanted: Sequence[str] = (), devices: Devices | None = None) -> list[LocalWorker]:
    """Return workers of this machine.

    Parameters
    ----------
    wanted : ``BACKEND`` (on every set of processors; PyTorch on every GPU too),
        ``BACKEND@DEVICE`` or ``DEVICE`` (with every back end that is installed), where DEVICE is
        a set of processors (``cpu0``, ``cpu0-3,8``) or a GPU (``cuda:0``). None: all back ends that
        are installed on every set of processors, PyTorch on GPUs alone (see `torch_left_out`)
    devices : what there is; looked up by default

    Raises
    ------
    UnknownNameError : no such back end; of a bare name, neither back end nor device
    SpecError : no such device here, a back end that cannot run on it, nothing installed
    """
    devices = devices or devices_here()
    installed = [b for b, package in _PACKAGES.items() if importlib.util.find_spec(package)]
    usual = [backend for backend in installed if backend not in _ON_GPU]
    pairs: list[tuple[str, str]] = []
    for one in wanted:
        backend, at, device = one.partition("@")
        if not backend or (at and not device):
            raise SpecError(f"worker {one!r}", found="no back end" if not backend else "no device",
                            wanted="BACKEND, DEVICE or BACKEND@DEVICE",
                            fix="name it, or name no worker: all are tried then")  # fmt: skip
        if not device and re.match(r"cpu\d|cuda\b|gpu\b", backend):
            device, backend = backend, ""
        if backend and backend not in BACKENDS:
            if device:
                raise UnknownNameError("back end", backend, BACKENDS.names())
            raise UnknownNameError("back end or device here", backend,
                                   (*BACKENDS.names(), *devices.names))  # fmt: skip
        places = [_known(device, devices, one)] if device else list(devices.names)
        for place in places:
            fitting = [b for b in installed if b in _ON_GPU] if _is_gpu(place) else usual
            if backend and _is_gpu(place) and backend not in _ON_GPU:
                if device:
                    raise SpecError(
                        f"worker {one!r}", found=f"{backend} on a GPU",
                        wanted=f"{' or '.join(_ON_GPU)} there, or {backend} on processors",
                        fix="name another back end or device",
                    )  # fmt: skip
                continue
            pairs += [(name, place) for name in ([backend] if backend else fitting)]
    if not wanted:
        pairs = [(b, place) for b in usual for place in devices.core_sets]
        pairs += [(b, gpu.name) for gpu in devices.gpus for b in _ON_GPU]
    if not pairs:
        raise SpecError("run: back ends", found="none installed", wanted="one or more",
                        fix='pip install "orrery[run]"')  # fmt: skip
    memories = {p: CudaMemory(p) for p in dict.fromkeys(p for _, p in pairs) if _is_gpu(p)}
    return [
        _worker(backend, place, devices, memories.get(place))
        for backend, place in dict.fromkeys(pairs)
    ]


def torch_left_out(workers: Sequence[str]) -> str | None:
    """Say that PyTorch on processors is not among workers, and why; None where nobody misses it.

    Parameters
    ----------
    workers : their names
    """
    own = [name.partition(" ") for name in workers]
    if importlib.util.find_spec(_PACKAGES["torch"]) is None or any(
        backend == "torch" and not _is_gpu(device) for device, _, backend in own
    ):
        return None
    return ("PyTorch on processors is not among the workers: its matrix products keep one number "
            "of threads for the whole process, whatever processors a worker has, and its threads "
            "go on turning for a while after a run, on processors of others. `--workers torch`, "
            "beside others, adds it.")  # fmt: skip


def _is_gpu(device: str) -> bool:
    return device.startswith("cuda")


def _known(device: str, devices: Devices, said: str) -> str:
    """Return the name of a device that is here; other sets of our processors are devices too.

    Raises
    ------
    SpecError : it is not here; says what is, and why no GPU is
    """
    if device in devices.names:
        return device
    processors = _processors(device)
    if processors and set(processors) <= set(allowed_processors()):
        return processors_name(processors)
    raise SpecError(f"worker {said!r}: device", found=device, wanted=f"one that is here: {devices}",
                    fix=f"name one of these{did_you_mean(device, devices.names)}")  # fmt: skip


def _processors(device: str) -> tuple[int, ...]:
    """Read e.g. ``cpu0-3,8``; empty where it is none."""
    if not re.fullmatch(r"cpu\d{1,5}(-\d{1,5})?(,\d{1,5}(-\d{1,5})?)*", device):
        return ()
    found: set[int] = set()
    for part in device[3:].split(","):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return tuple(sorted(found))


def _version(backend: str) -> str:
    """Return the version with a blank before it; times of another are of no use."""
    try:
        return f" {importlib.metadata.version(_PACKAGES[backend])}"
    except (KeyError, importlib.metadata.PackageNotFoundError):
        return ""


def _worker(backend: str, device: str, devices: Devices, memory: CudaMemory | None) -> LocalWorker:
    version = _version(backend)
    if _is_gpu(device):
        gpu = next(gpu for gpu in devices.gpus if gpu.name == device)
        return LocalWorker(
            name=f"{device} {backend}", processors=(), backend=BACKENDS[backend](device=device),
            label=f"{backend}{version} on {gpu.product}", memory=memory,
        )  # fmt: skip
    processors = _processors(device)
    made = BACKENDS[backend]
    return LocalWorker(
        name=f"{device} {backend}", processors=processors,
        backend=made() if backend == "reference" else made(threads=len(processors)),
        label=f"{backend}{version} x{len(processors)}",
    )  # fmt: skip
