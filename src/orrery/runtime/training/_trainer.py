"""Steps of training that hold what they save for the backward pass in one of several ways.

Models:  nothing; it trains, with momentum, on batches drawn from a seed: the same in every way.
Ignores: reading and augmenting real data.
Judge:   losses of all ways are the same to the last bit (tests/runtime/training/test_trainer.py).
"""

from __future__ import annotations

import contextlib
import functools
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from orrery.errors import SpecError, did_you_mean

from ._networks import DeepNetwork

#: What is entered around forward and backward of a step.
WayOfHolding = Callable[[], AbstractContextManager[Any]]

#: ``none``: as PyTorch does; ``checkpointing``: each unit is run again in the backward pass;
#: ``save_on_cpu``: PyTorch's, which has nothing to move where all is on the CPU; ``naive file``:
#: each saved tensor goes to a file and back while the step waits; ``given``: the caller's
WAYS = ("none", "checkpointing", "save_on_cpu", "naive file", "given")


class Trainer:
    """A network, its optimiser, and a way to hold saved tensors.

    Parameters
    ----------
    way : one of `WAYS`
    batch : samples of a step
    folder : for files of the naive way
    given : entered around each step by the way ``given``
    threads : of PyTorch, for the whole process; None leaves them

    Raises
    ------
    SpecError : no such way, or none given
    """

    def __init__(
        self, shape: DeepNetwork, way: str, batch: int, *, seed: int = 0,
        folder: Path | None = None, given: WayOfHolding | None = None, threads: int | None = None,
    ) -> None:  # fmt: skip
        import torch

        if way not in WAYS:
            raise SpecError("trainer: way", found=way, wanted=f"one of {', '.join(WAYS)}",
                            fix=f"correct it{did_you_mean(way, WAYS)}")  # fmt: skip
        if (way == "given" and given is None) or (way == "naive file" and folder is None):
            raise SpecError(f"trainer: way {way!r}", found="nothing to do it with",
                            wanted="`given`" if way == "given" else "a folder",
                            fix="pass it")  # fmt: skip
        if threads is not None:
            torch.set_num_threads(threads)
        torch.manual_seed(seed)
        self.network, self.batch, self.way = shape.build(), batch, way
        self.network.parts.train()
        self.optimiser = torch.optim.SGD(self.network.parts.parameters(), lr=0.01, momentum=0.9)
        self.optimiser.zero_grad()  # loads half of PyTorch, which is not of the first step
        self._holding: WayOfHolding = {
            "save_on_cpu": torch.autograd.graph.save_on_cpu,
            "naive file": functools.partial(_in_files, folder or Path()),
            "given": given,
        }.get(way) or contextlib.nullcontext

    def step(self) -> tuple[float, float, float]:
        """Do one step; return its loss, its seconds, and those of all processors meanwhile.

        Raises
        ------
        MemoryError : there is not enough
        """
        import torch

        x, wanted = self.network.batch(self.batch)
        self.optimiser.zero_grad()
        busy, begun = time.process_time(), time.perf_counter()
        try:
            with self._holding():
                loss = torch.nn.functional.cross_entropy(self._forward(x), wanted)
                loss.backward()
            self.optimiser.step()
        except RuntimeError as error:
            if "allocate memory" in str(error):
                raise MemoryError(str(error).splitlines()[0]) from error
            raise
        return loss.item(), time.perf_counter() - begun, time.process_time() - busy

    def _forward(self, x: Any) -> Any:
        from torch.utils.checkpoint import checkpoint

        first, *units, last = self.network.parts
        x = first(x)
        for unit in units:
            again = self.way == "checkpointing"
            x = checkpoint(unit, x, use_reentrant=False) if again else unit(x)
        return last(x)


class _File:
    """A tensor in a file of its own, for as long as somebody may want it back."""

    def __init__(self, tensor: Any, folder: Path) -> None:
        import torch

        descriptor, self.path = tempfile.mkstemp(dir=folder, prefix=".naive-", suffix=".pt")
        with os.fdopen(descriptor, "wb") as handle:
            torch.save(tensor, handle)

    def tensor(self) -> Any:
        import torch

        return torch.load(self.path, weights_only=True)

    def __del__(self) -> None:
        with contextlib.suppress(OSError):
            Path(self.path).unlink()


def _in_files(folder: Path) -> AbstractContextManager[Any]:
    """Return hooks that write every saved tensor but parameters at once, each to its own file.

    As PyTorch's tutorial on hooks does; a view takes its storage along, and shared ones are written
    once for each time they are saved.
    """
    import torch

    def pack(tensor: Any) -> Any:
        return tensor if isinstance(tensor, torch.nn.Parameter) else _File(tensor.detach(), folder)

    def unpack(held: Any) -> Any:
        return held.tensor() if isinstance(held, _File) else held

    hooks: AbstractContextManager[Any] = torch.autograd.graph.saved_tensors_hooks(pack, unpack)
    return hooks
