"""Saved tensors leave memory during the forward pass and are back when the backward needs them.

Models:  nothing; this does it, for eager PyTorch on the CPU, through hooks on saved tensors.
Ignores: tensors on accelerators and of classes other than PyTorch's own: they stay where they are,
         and the report counts them. Writes that PyTorch does not count (`.data`, NumPy views) are
         invisible here as they are to autograd.
Judge:   gradients bitwise equal to those without it (tests/runtime/offload/test_exact.py).

A saved storage is either in memory or whole in files, never in between; a backward pass gets the
bytes that were saved or an error. With hooks set, autograd no longer checks whether a saved tensor
was changed in place: that check is made here.
"""

from __future__ import annotations

import itertools
import os
import time
import weakref
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from orrery.offload_plan import OffloadPlan, OffloadPlanner, StepProfile
from orrery.timeline import PS_PER_S, IoRequest, IoTrace

from ..direct_io import SECTOR_BYTES, Engine, open_engine
from ..moving import Journey, OffloadError, Parcel, ScratchFile, Transfers
from ..remaking import Again, Leaf, Recipe, Remaker, UnmadeError, bytes_of
from ._memory import MemoryMeter, Meter, return_freed_memory
from ._passes import Kept, Pass, Record, Token, one_more
from ._planning import PlanBook
from ._report import StepReport
from ._settings import OffloadSettings
from ._tensors import (
    HeldStorage,
    LeavingStorage,
    Modules,
    comes_from_parameter,
    in_backward,
    is_parameter,
    is_shared,
    rebuilt,
    rebuilt_whole,
    refuse_written,
    root_of,
    shortened,
    storage_key,
    storage_number,
    version_of,
    why_unmovable,
    window_of,
)

if TYPE_CHECKING:
    from ..devices import CudaDevice

__all__ = ["OffloadSession"]


_Held: TypeAlias = "Kept | Token | Again"


class OffloadSession:
    """Moves what training steps save for their backward passes to files and back.

    Each ``with session:`` is one step. The first is measured, with everything offloaded, so that
    even a batch that does not fit runs; its profile goes to the planner, and later steps obey the
    plan. A step that saves other tensors than the measured one is said to have drifted; it is safe,
    and the next step is measured again.

    Parameters
    ----------
    settings : folders, limits, sizes
    planner : is given the profile of each pass; its answer is obeyed
    name : of the network, for profiles and plans

    Raises
    ------
    SpecError : a folder that cannot be used
    """

    def __init__(
        self,
        settings: OffloadSettings,
        planner: OffloadPlanner,
        *,
        name: str = "step",
        files: Callable[[Path, int], ScratchFile] | None = None,
        engine: Engine | None = None,
        device: CudaDevice | None = None,
    ) -> None:
        if device is None and settings.device != "cpu":
            from ..devices import CudaDevice

            device = CudaDevice(settings.device)
        if device is not None:
            settings = replace(settings, recompute=False)
        self.settings, self._device = settings, device
        self._engine = engine or open_engine(settings.engine, settings.threads)
        self.reports: list[StepReport] = []
        self.journeys: list[Journey] = []  # of the last step, from its begin
        slot_bytes = settings.block_bytes + SECTOR_BYTES
        self._files: list[ScratchFile] = []
        try:
            for folder in settings.folders:
                make = files or (lambda f, s: ScratchFile(f, s, direct=settings.direct))
                self._files.append(make(Path(folder), slot_bytes))
        except BaseException:
            for file in self._files:
                file.close()
            raise
        self._requests: dict[ScratchFile, list[IoRequest]] = {f: [] for f in self._files}
        self._began_s = time.perf_counter()
        self._transfers = Transfers(
            self._files, engine=self._engine, ahead_bytes=settings.ahead_bytes,
            block_bytes=settings.block_bytes, queue_bytes=settings.queue_bytes,
            identity=os.urandom(16), on_request=self._note if settings.trace else None,
        )  # fmt: skip
        self._arena = self._transfers.arena
        self._remaker = Remaker((Kept, Token), value=self._value, peek=self._peek, own=one_more)
        self._aside_s = 0.0  # that trying out took
        self._meter: Meter = MemoryMeter() if device is None else device.meter()
        self._book = PlanBook(settings, planner, self._files, self._meter, name)
        self._returned = settings.return_freed and return_freed_memory(settings.least_bytes)
        self._numbers = itertools.count()
        self._passes: list[Pass] = []
        self._hooks: list[Any] = []
        self._where = None if device is None else device.device
        self._modules = Modules(self._where)
        self._passed_over: Counter[str] = Counter()
        self._tallies: Counter[str] = Counter()
        self._backward_seen = False
        self._failures_seen = 0
        self._peak_bytes = self._moved_before = 0
        self._step_began: tuple[float, float, Any] = (0.0, 0.0, None)
        self._closed = False

    # What a user calls.

    @property
    def plans(self) -> tuple[OffloadPlan, ...]:
        """The plans in force, one per pass of a step."""
        return self._book.plans

    @property
    def profiles(self) -> tuple[StepProfile, ...]:
        """What was measured, one per pass of a step that was."""
        return self._book.profiles

    @property
    def engine(self) -> str:
        """How requests are made, e.g. ``io_uring, 8 requests at once, direct``."""
        direct = [file.direct for file in self._files]
        way = "direct" if all(direct) else "partly direct" if any(direct) else "cached"
        there = "" if self._device is None else f", from {self._device.name}"
        return f"{self._engine.label}, {way}{there}"

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a user should know about the folders and the engine."""
        found = tuple(remark for file in self._files for remark in file.remarks)
        found += tuple(self._transfers.remarks)
        if self.settings.return_freed and not self._returned:
            found += ("freed memory may stay with the process: the C library takes no such option",)
        return found

    def traces(self) -> tuple[IoTrace, ...]:
        """Return the requests of each folder so far; empty unless the settings ask for a trace."""
        return tuple(
            IoTrace(device=str(file.folder), requests=tuple(sorted(found, key=lambda r: r.time_ps)))
            for file, found in self._requests.items()
        )

    def close(self) -> None:
        """End the session: its threads end, and its files' space is free again.

        A backward pass through tensors that are still away is refused afterwards.
        """
        if not self._closed:
            self._closed = True
            if self._hooks and self._modules.same_thread():
                self._hooks.pop().__exit__(None, None, None)  # of a step that nobody ended
            self._modules.close()
            self._transfers.close()
            self._meter.close()

    def __enter__(self) -> Self:
        """Begin a step.

        Raises
        ------
        OffloadError : a step of this session is under way, or it was closed
        """
        import torch

        if self._hooks or self._closed:
            raise OffloadError(
                "offload session", found="a closed one" if self._closed else "a step under way",
                wanted="an open session between steps", fix="begin one step after the other",
            )  # fmt: skip
        self._passes, self._passed_over, self._tallies = [], Counter(), Counter()
        self._backward_seen, self._peak_bytes, self._moved_before = False, 0, 0
        self._meter.forget()
        self._off = self._remaker.seconds = 0.0
        waited = self._transfers.waited_s
        self._step_began = (time.perf_counter(), waited, self._transfers.counts)
        self._begin_pass()
        self._modules.begin()
        hooks = torch.autograd.graph.saved_tensors_hooks(self._pack, self._unpack)
        hooks.__enter__()
        self._hooks = [hooks]
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """End the step; after a measured one, plan.

        Raises
        ------
        OffloadInfeasibleError : the planner says that no plan keeps the limit
        """
        while self._hooks:  # none, if the session was closed meanwhile
            self._hooks.pop().__exit__(kind, error, trace)
        end_s = self._now()
        self._report()
        passes, self._passes = self._passes, []
        for found in passes:
            found.known.clear()
        self._modules.end()
        self._arena.give_pages_back()
        if kind is None:
            ends_s = [*(later.began_s for later in passes[1:]), end_s]
            for found, ended_s in zip(passes, ends_s, strict=True):
                self._book.settle(found, ended_s, self.reports[-1].moved)

    # What autograd calls.

    def _pack(self, tensor: Any) -> _Held:
        if tensor.is_leaf and tensor.requires_grad:
            reason: str | None = "a parameter"
        else:
            reason = why_unmovable(tensor, self.settings.least_bytes, self._where)
        if self._backward_seen:
            if not in_backward():
                self._begin_pass()
            elif reason is None:
                # What a backward pass saves (a recomputed checkpoint, a graph of the gradient) is
                # needed at once or, for a second derivative, soon.
                reason = "saved during a backward pass"
        if reason is None and (is_parameter(tensor) or comes_from_parameter(tensor)):
            reason = "a parameter"
        if reason is not None:
            self._passed_over[reason] += 1
            return Kept(tensor, None)
        number = storage_number(tensor)
        buffer = number in self._modules.storages
        if buffer or is_shared(tensor):
            self._passed_over["a buffer" if buffer else "in memory that others share"] += 1
            return Kept(tensor, None)
        self._raise_failures()
        return self._saved(tensor, (number, version_of(tensor)))

    def _saved(self, tensor: Any, key: tuple[int, int]) -> _Held:
        running = self._passes[-1]
        self._settle(running)
        now = self._now()
        record = running.saved_before(tensor, key)
        if record is None:
            record = self._new_record(tensor, now, running)
            running.known.setdefault(key, []).append(record)
            self._weigh(running)
            if record.action == "keep":
                self._tallies["kept"] += 1
                self._make_room(running)
                return Kept(tensor, record)
            found: _Held | None = self._made_again(tensor, record, running)
            if found is None:
                found = token = self._leaving(tensor, record)
                self._tallies["offloaded"] += 1
                self._transfers.write(token.parcel)
            self._make_room(running)
            return found
        record.last_use_s = now
        if record.remade is not None and (remade := record.remade()) is not None:
            return Again(remade, HeldStorage.released(tensor), record, window_of(tensor))
        known = None if record.parcel is None else record.parcel()
        # A view as complex numbers cannot be had from half the bits.
        if known is None or (record.halved and tensor.dtype.itemsize != 4):
            return Kept(tensor, record)
        return Token(known, HeldStorage.released(tensor), record, window_of(tensor))

    def _leaving(self, tensor: Any, record: Record) -> Token:
        """Return what stands for a tensor that is written, with half the bits where wanted."""
        held = source = HeldStorage(tensor.detach())
        size, element_bytes = record.size_bytes, self._element_bytes(tensor, record)
        short = shortened(tensor) if self.settings.storage == "fp16" else None
        if short is not None:
            held.let_go()
            source, off = short
            self._off, record.halved = max(self._off, off), True
            self._tallies["halved"] += 1
            size, element_bytes = size // 2, element_bytes // 2
        if self._device is not None:
            source = LeavingStorage(held, self._device)
        parcel = Parcel(next(self._numbers), record.name, size, element_bytes, source)
        record.parcel = weakref.ref(parcel)
        return Token(parcel, held, record, window_of(tensor))

    def _made_again(self, tensor: Any, record: Record, running: Pass) -> Again | None:
        """Return what stands for a tensor that is made again; None for what is to be written.

        While measuring, note whether it could be.
        """
        if record.action == "recompute":
            remade = self._remaker.remade(tensor, running.ways[len(running.records) - 1])
            if remade is not None:
                self._tallies["recomputed"] += 1
                record.remade = weakref.ref(remade)
                return Again(remade, HeldStorage.released(tensor), record, window_of(tensor))
            record.action = "offload"
            self._tallies["otherwise"] += 1
        elif running.plan is None and self.settings.recompute and self.settings.storage == "exact":
            began_s, waited_s = time.perf_counter(), self._transfers.waited_s
            record.way = self._remaker.tried(tensor, self._may_try)
            # Neither its memory nor its time is the step's.
            self._peak_bytes = max(self._peak_bytes, self._meter.most())
            self._meter.forget()
            waited_s = self._transfers.waited_s - waited_s
            self._aside_s += time.perf_counter() - began_s - waited_s
        return None

    def _may_try(self, recipe: Recipe, needs: Sequence[Record | None]) -> bool:
        known, running = [need for need in needs if need is not None], self._passes[-1]
        if any(running.by_name.get(need.name) is not need for need in known):
            return False  # of an earlier pass: nothing keeps it until then
        more = recipe.size_bytes + recipe.beside_bytes + sum(need.size_bytes for need in known)
        limit = self.settings.limit_bytes
        return limit is None or self._meter.read() + more <= limit

    def _unpack(self, held: _Held) -> Any:
        if not self._backward_seen and in_backward():
            self._begin_backward()
        running = self._passes[-1] if self._passes else None
        if running is not None:
            self._weigh(running)
        tensor = self._value(held)
        if running is not None and not isinstance(held, Kept):
            self._read_ahead(running)
        return tensor

    def _value(self, held: _Held | Leaf) -> Any:
        """Return what something held stands for, and note that it was needed."""
        record = None if isinstance(held, Leaf) else held.record
        running = self._passes[-1] if self._passes else None
        if record is not None:
            now = self._now()
            record.needed_s = now if record.needed_s is None else record.needed_s
            record.released_s = now
            if running is not None:
                self._read_ahead(running)
        if isinstance(held, Kept | Leaf):
            if held.version != (found := version_of(held.tensor)):
                leaf = isinstance(held, Leaf)
                refuse_written(_shape(held.tensor), held.version, found, leaf=leaf)
            return held.tensor
        if isinstance(held, Again):
            held.guard.refuse_written(held.record.name)
            try:
                return rebuilt(self._remaker.root(held), held.window)
            except UnmadeError as error:
                raise OffloadError(
                    f"backward: saved tensor {held.record.name!r}", found=str(error),
                    wanted="a calculation that gives it again", fix="set recompute=False",
                ) from error  # fmt: skip
        tensor = self._fetched(held)
        if running is not None:
            held.record.fetched = True
            if held.parcel.is_packed:
                held.record.packed_bytes = held.parcel.travelled_bytes
        return tensor

    def _peek(self, held: _Held | Leaf) -> Any:
        """Return what something held stands for without taking it from those who will ask."""
        if isinstance(held, Kept | Leaf):
            return held.tensor
        if isinstance(held, Again):
            return rebuilt(self._remaker.root(held), held.window)
        here = self._transfers.lent(
            held.parcel,
            lambda source: source.window(held.window) if isinstance(source, HeldStorage) else None,
        )
        if here is not None:
            return here
        self._transfers.read(held.parcel, now=True)
        root = root_of(self._transfers.arrival(held.parcel)[: held.parcel.size_bytes])
        held.parcel.here = None
        return rebuilt(root, held.window)

    def _fetched(self, token: Token) -> Any:
        parcel = token.parcel
        self._raise_failures()
        stays = self._transfers.keep(parcel)
        token.guard.refuse_written(parcel.name)
        if stays and isinstance(parcel.source, HeldStorage):
            if not token.record.fetched:
                self._tallies["forwarded"] += 1
            if not token.record.halved:
                return parcel.source.window(token.window)
        root: Any = parcel.root
        if root is not None and version_of(root):
            parcel.here = parcel.root = root = None  # a backward wrote to it: read it again
        if root is None and stays and isinstance(parcel.source, HeldStorage):
            parcel.root = root = rebuilt_whole(bytes_of(parcel.source.tensor))
            parcel.generation += 1
        elif root is None:
            self._transfers.read(parcel, now=True)
            data = self._transfers.arrival(parcel)[: parcel.size_bytes]
            if self._device is None:
                root = root_of(data)
            else:
                (root, parcel.there), parcel.here = self._device.arrive(data), None
            if token.record.halved:
                root, parcel.here = rebuilt_whole(root), None
            parcel.root = root
        token.generation = parcel.generation
        live = [other for reference in parcel.tokens if (other := reference()) is not None]
        if all(getattr(other, "generation", 0) == parcel.generation for other in live):
            parcel.here = parcel.root = None
        if self._device is not None:
            self._device.use(root, parcel.there)
        return rebuilt(root, token.window)

    # What they do it with.

    def _now(self) -> float:
        """Return seconds on a clock that stands still while the training thread waits."""
        return time.perf_counter() - self._transfers.waited_s - self._aside_s

    def _settle(self, running: Pass) -> None:
        """Let the clock mean what the device has done, and not what was asked of it."""
        if self._device is not None and running.plan is None:
            self._device.settle()

    def _begin_pass(self) -> None:
        index = len(self._passes)
        for found in self._passes:
            found.known.clear()
        plan, expected = self._book.plan(index)
        ways = self._book.ways(index)
        begun = Pass(index=index, began_s=self._now(), plan=plan, expected=expected, ways=ways)
        self._passes.append(begun)
        self._backward_seen = False
        self._arena.give_pages_back()

    def _begin_backward(self) -> None:
        self._backward_seen = True
        if self._passes:
            running = self._passes[-1]
            if running.plan is None:  # so that every tensor is read, and reading is measured
                self._settle(running)
                self._transfers.drain()
            running.backward_s = self._now()

    def _new_record(self, tensor: Any, now: float, running: Pass) -> Record:
        size = tensor.untyped_storage().nbytes()
        signature = (size, tensor.dtype, tuple(tensor.shape))
        action, packed, name = running.planned(signature, self.settings.packing)
        if name is None:
            maker = tensor.grad_fn.name() if tensor.grad_fn is not None else "leaf"
            name = f"{len(running.records)} {maker} {_shape(tensor)}"
        record = Record(
            signature=signature, name=name, size_bytes=size, made_s=now, last_use_s=now,
            storage=storage_key(tensor), count=HeldStorage.released(tensor), action=action,
            packed=packed,
        )  # fmt: skip
        running.records.append(record)
        running.by_name[record.name] = record
        return record

    @staticmethod
    def _element_bytes(tensor: Any, record: Record) -> int:
        size = tensor.dtype.itemsize
        return (
            size if record.packed and size in (1, 2, 4, 8) and not record.size_bytes % size else 0
        )

    def _make_room(self, running: Pass) -> None:
        """Wait for as many writes as the plan says, so that the next tensor finds room."""
        if running.plan is not None and not running.drifted:
            self._transfers.wait_for_writes(
                running.plan.tensors[len(running.records) - 1].waiting_bytes
            )

    def _read_ahead(self, running: Pass) -> None:
        """Begin the reads whose turn has come, for as long as the arena has room."""
        plan = running.plan
        if plan is None or running.drifted:
            return
        while running.next_read < len(plan.reads):
            read = plan.reads[running.next_read]
            after = None if read.after is None else running.by_name.get(read.after)
            if read.after is not None and (after is None or after.needed_s is None):
                return
            record = running.by_name.get(read.name)
            parcel = None if record is None or record.parcel is None else record.parcel()
            # What has not been written by now need not be: it is needed soon.
            if (
                record is not None
                and parcel is not None
                and not record.fetched
                and not self._transfers.keep(parcel)
                and not self._transfers.read(parcel, now=False)
            ):
                return
            running.next_read += 1

    def _weigh(self, running: Pass) -> None:
        """Note, while measuring, how much memory was in use, and how much was no saved tensor."""
        if running.plan is not None:
            return
        self._settle(running)
        most = self._meter.most()
        self._meter.forget()
        self._peak_bytes = max(self._peak_bytes, most)
        # When within the time since the last look the most was in use is not known: the fewest
        # bytes on their way at either end make the rest the largest it can have been.
        # On a device, what was read back is not there before it is used.
        passing = self._device is None
        moved = self._transfers.passing_bytes if passing else self._transfers.queued_bytes
        running.other_bytes = max(running.other_bytes, most - min(moved, self._moved_before))
        self._moved_before = moved

    def _raise_failures(self) -> None:
        failures = self._transfers.failed_writes
        if failures > self._failures_seen:
            self._failures_seen = failures
            if self.settings.when_full == "raise":
                raise OffloadError(
                    "offload", found=self._transfers.problems[-1], wanted="room for it",
                    fix="free some of the disk, or let tensors stay in memory when it is full",
                )  # fmt: skip

    # What follows a step.

    def _report(self) -> None:
        began_s, waited_s, before = self._step_began
        for measured in self._passes[-1:]:
            self._weigh(measured)
        self._peak_bytes = max(self._peak_bytes, self._meter.most())
        problems = self._transfers.problems
        remarks = [
            f"drifted: pass {p.index} saved other tensors" for p in self._passes if p.drifted
        ]
        if self._modules.other_threads:
            remarks.append("layers ran in other threads: what they saved there stayed in memory")
        remarks += problems
        if otherwise := self._tallies["otherwise"]:
            remarks.append(f"{otherwise} tensors were made otherwise than in the measured step, "
                           "and written instead of made again")  # fmt: skip
        self._transfers.problems = []
        self.journeys = [Journey(j.name, j.write, j.begin_s - began_s, j.end_s - began_s)
                         for j in self._transfers.journeys]  # fmt: skip
        self._transfers.journeys = []
        self.reports.append(
            StepReport(
                step=len(self.reports) + 1, measured=any(p.plan is None for p in self._passes),
                step_s=time.perf_counter() - began_s,
                waited_s=self._transfers.waited_s - waited_s,
                moved=self._transfers.counts.since(before), offloaded=self._tallies["offloaded"],
                kept=self._tallies["kept"], forwarded=self._tallies["forwarded"],
                recomputed=self._tallies["recomputed"], recompute_s=self._remaker.seconds,
                halved=self._tallies["halved"], off=self._off,
                passed_over=dict(self._passed_over), peak_bytes=self._peak_bytes,
                remarks=tuple(remarks),
            )
        )  # fmt: skip

    def _note(self, file: ScratchFile, begin: float, write: bool, offset: int, size: int) -> None:
        self._requests[file].append(
            IoRequest(
                time_ps=round((begin - self._began_s) * PS_PER_S), write=write,
                offset_bytes=offset, size_bytes=size, lifetime="step",
            )
        )  # fmt: skip


def _shape(tensor: Any) -> str:
    size = "x".join(map(str, tensor.shape)) or "scalar"
    return f"{size} {str(tensor.dtype).removeprefix('torch.')}"
