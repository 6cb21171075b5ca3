"""How a session moves saved tensors: options, read at the border."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from orrery.errors import SpecError

from ..direct_io import SECTOR_BYTES, EngineName

#: Fewest and most of each. A block passes through memory that is registered with the system, which
#: takes a GiB at once; io_uring has four thousand requests under way in one ring at the most.
_NUMBERS = (
    ("least_bytes", 1, 1 << 62), ("block_bytes", SECTOR_BYTES, 1 << 28), ("threads", 1, 1024),
    ("queue_bytes", 0, 1 << 62), ("ahead_bytes", 0, 1 << 46),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class OffloadSettings:
    """Settings of an `OffloadSession`.

    Attributes
    ----------
    folders : on SSDs; with several, each tensor is spread over all
    limit_bytes : of memory that the process may take; None: what it has and what is free
    least_bytes : smaller storages stay in memory and are not planned
    block_bytes : of one request; a whole number of sectors
    threads : that make requests; io_uring has twice as many requests under way, from one thread
    engine : how requests are made; None: io_uring where this process may use it, else threads
    queue_bytes : of tensors that may wait to be written; the forward pass waits beyond
    ahead_bytes : of memory for what is read back before it is needed
    when_full : what becomes of a tensor that cannot be written: it stays in ``memory``, or the
        step ends with an error (``raise``) before anything is lost
    packing : pack elements that are mostly zero, without loss, where the plan says so
    recompute : make tensors again instead of writing them where that gave the same bits in the step
        that was measured, and the plan says so
    device : whose tensors are moved, and whose memory is limited: ``cpu``, ``cuda``, ``cuda:1``; on
        a GPU nothing is made again
    storage : ``exact``; or ``fp16``, which writes single precision with half the bits where no
        element is then off by more than 2^-11 of its tensor's largest. Gradients are then no longer
        exact, and nothing is made again
    direct : go past the system's cache where it allows that
    trace : keep a record of each request
    return_freed : have the C library give freed memory back to the system where the limit is near.
        Without it much of what leaves goes on being held, and the limit is not kept
    """

    folders: Sequence[Path]
    limit_bytes: int | None = None
    least_bytes: int = 1 << 20
    block_bytes: int = 1 << 20
    threads: int = 4
    engine: EngineName | None = None
    queue_bytes: int = 64 << 20
    ahead_bytes: int = 256 << 20
    when_full: Literal["memory", "raise"] = "memory"
    packing: bool = True
    recompute: bool = True
    device: str = "cpu"
    storage: Literal["exact", "fp16"] = "exact"
    direct: bool = True
    trace: bool = False
    return_freed: bool = True

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises
        ------
        SpecError : no folder, one twice, a size or a number that is too small
        """
        if not self.folders:
            raise _refused("folders", "none", "at least one", "name a folder on an SSD")
        resolved = [Path(folder).resolve() for folder in self.folders]
        if len(set(resolved)) != len(resolved):
            raise _refused("folders", ", ".join(map(str, self.folders)), "each once",
                           "name one folder per SSD")  # fmt: skip
        for key, least, most in _NUMBERS:
            value = getattr(self, key)
            if type(value) is not int:
                raise _refused(key, value, "a whole number", "write one")
            if value < least:
                raise _refused(key, value, f"{least} or more", "raise it")
            if value > most:
                raise _refused(key, value, f"{most} or less", "lower it")
        for key in ("packing", "recompute", "direct", "trace", "return_freed"):
            if type(value := getattr(self, key)) is not bool:
                raise _refused(key, value, "True or False", "write one of them")
        if self.block_bytes % SECTOR_BYTES:
            raise _refused("block_bytes", self.block_bytes, f"a multiple of {SECTOR_BYTES}",
                           "round it up")  # fmt: skip
        if self.limit_bytes is not None and self.limit_bytes <= 0:
            raise _refused("limit_bytes", self.limit_bytes, "above zero", "say what may be used")
        if self.device != "cpu" and self.storage != "exact":
            raise _refused("storage", f"{self.storage!r} for {self.device}", "'exact'",
                           "store exactly, or train on the CPU")  # fmt: skip
        if self.storage not in ("exact", "fp16"):
            raise _refused("storage", self.storage, "'exact' or 'fp16'", "choose one")
        if self.storage == "fp16" and self.device != "cpu":
            raise _refused("storage", f"fp16 on {self.device}", "exact", "leave it out on a GPU")
        if self.when_full not in ("memory", "raise"):
            raise _refused("when_full", self.when_full, "'memory' or 'raise'", "choose one")


def _refused(key: str, found: object, wanted: str, fix: str) -> SpecError:
    return SpecError(f"offload settings: {key}", found=found, wanted=wanted, fix=fix)
