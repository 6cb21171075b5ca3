"""A session: its folders, threads and plans, and its steps from begin to end.

Models:  nothing; this does it, for eager PyTorch, through hooks on saved tensors (`_hooks`).
Ignores: what `_hooks` ignores.
Judge:   gradients bitwise equal to those without it (tests/runtime/offload/test_exact.py).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from orrery.errors import SpecError
from orrery.offload_plan import OffloadPlan, OffloadPlanner, StepProfile
from orrery.timeline import PS_PER_S, IoRequest, IoTrace

from ..direct_io import SECTOR_BYTES, Engine, open_engine
from ..moving import Journey, OffloadError, ScratchFile, Transfers
from ._hooks import Hooks
from ._memory import MemoryMeter, Meter, trimmer
from ._passes import Pass
from ._planning import PlanBook
from ._report import StepReport
from ._settings import OffloadSettings
from ._watch import MemoryWatch

if TYPE_CHECKING:
    from ..devices import CudaDevice


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
        try:
            self._transfers = Transfers(
                self._files, engine=self._engine, ahead_bytes=settings.ahead_bytes,
                block_bytes=settings.block_bytes, queue_bytes=settings.queue_bytes,
                identity=os.urandom(16), on_request=self._note if settings.trace else None,
            )  # fmt: skip
        except (OSError, RuntimeError) as error:  # memory, descriptors, threads
            for file in self._files:
                file.close()
            raise SpecError(
                "offload settings: ahead_bytes, block_bytes, threads", found=str(error),
                wanted="what the system gives this process", fix="lower them",
            ) from error  # fmt: skip
        self._arena = self._transfers.arena
        self._meter: Meter = MemoryMeter() if device is None else device.meter()
        self._trim = trimmer() if settings.return_freed and device is None else None
        self._book = PlanBook(settings, planner, self._files, self._meter, name)
        self._watch = MemoryWatch(self._meter, self._arena, self._trim, self._transfers)
        self._hooks = Hooks(settings, self._transfers, self._book, self._watch, device)
        self._set: list[Any] = []  # the hooks that autograd calls, in a step
        self._step_began: tuple[float, float, Any] = (0.0, 0.0, None)
        self._closed = self._stepping = False

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
    def times_planned(self) -> int:
        """How often a plan was asked for."""
        return self._book.times_planned

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
        found += (*self._transfers.remarks, *self._book.remarks)
        if self.settings.return_freed and self._trim is None and self._device is None:
            found += ("freed memory stays with the process: the C library has no `malloc_trim`",)
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
            modules = self._hooks.modules
            if self._set and modules.same_thread():
                self._set.pop().__exit__(None, None, None)  # of a step that nobody ended
            modules.close()
            self._transfers.close()
            self._meter.close()

    def __enter__(self) -> Self:
        """Begin a step.

        Raises
        ------
        OffloadError : a step of this session is under way, or it was closed
        """
        import torch

        if self._set or self._closed:
            raise OffloadError(
                "offload session", found="a closed one" if self._closed else "a step under way",
                wanted="an open session between steps", fix="begin one step after the other",
            )  # fmt: skip
        waited = self._transfers.waited_s
        self._step_began = (time.perf_counter(), waited, self._transfers.counts)
        self._hooks.begin()
        hooks = torch.autograd.graph.saved_tensors_hooks(self._hooks.pack, self._hooks.unpack)
        hooks.__enter__()
        self._set, self._stepping = [hooks], True
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """End the step; after a measured one, plan.

        Raises
        ------
        OffloadError : no step is under way
        OffloadInfeasibleError : the planner says that no plan keeps the limit
        """
        if not self._stepping:
            raise OffloadError("offload session", found="no step under way",
                               wanted="one that was begun", fix="use `with session:`")  # fmt: skip
        self._stepping = False
        while self._set:  # none, if the session was closed meanwhile
            self._set.pop().__exit__(kind, error, trace)
        passes, end_s = self._hooks.end()
        self._report(passes)
        if kind is None:
            ends_s = [*(later.began_s for later in passes[1:]), end_s]
            for found, ended_s in zip(passes, ends_s, strict=True):
                self._book.settle(
                    found, ended_s, self.reports[-1].moved, self.reports[-1].peak_bytes
                )

    def _report(self, passes: list[Pass]) -> None:
        (began_s, waited_s, before), hooks = self._step_began, self._hooks
        tallies, problems = hooks.tallies, self._transfers.problems
        remarks = [f"drifted: pass {p.index} saved other tensors" for p in passes if p.drifted]
        if hooks.modules.other_threads:
            remarks.append("layers ran in other threads: what they saved there stayed in memory")
        remarks += problems
        if otherwise := tallies["otherwise"]:
            remarks.append(f"{otherwise} tensors were made otherwise than in the measured step, "
                           "and written instead of made again")  # fmt: skip
        self._transfers.problems = []
        self.journeys = [Journey(j.name, j.write, j.begin_s - began_s, j.end_s - began_s)
                         for j in self._transfers.journeys]  # fmt: skip
        self._transfers.journeys = []
        self.reports.append(
            StepReport(
                step=len(self.reports) + 1, measured=any(p.plan is None for p in passes),
                step_s=time.perf_counter() - began_s,
                waited_s=self._transfers.waited_s - waited_s,
                moved=self._transfers.counts.since(before), offloaded=tallies["offloaded"],
                kept=tallies["kept"], forwarded=tallies["forwarded"],
                recomputed=tallies["recomputed"], recompute_s=hooks.remaker.seconds,
                halved=tallies["halved"], off=hooks.off,
                passed_over=dict(hooks.passed_over), peak_bytes=self._watch.peak_bytes,
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
