"""A session: steps of a training loop, the plans that they follow, and what came of them."""

from __future__ import annotations

import threading
import time
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from orrery.errors import SpecError
from orrery.offload_plan import OffloadPlan, StepProfile
from orrery.plan import Infeasible
from orrery.progress import SILENT, Progress

from .._result import InfeasibleError
from ._refusals import refuse_idle

if TYPE_CHECKING:
    from orrery.mapping.offload import OffloadSearch
    from orrery.report import Page
    from orrery.runtime.offload import OffloadSettings, StepReport

_open, _MOST_PLANNINGS = threading.local(), 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Planning:
    """What was planned after a step."""

    step: int
    profile: StepProfile
    answer: OffloadPlan | Infeasible


class TrainingSession:
    """What `orrery.offload` returns; each ``with session:`` is one training step.

    `engine` moves the tensors, `plannings` are the last plans that were asked for, also those that
    were replaced, `began_s` is when each step began, from the session's begin.
    """

    def __init__(
        self, settings: OffloadSettings, search: OffloadSearch, *, name: str = "step",
        progress: Progress = SILENT,
    ) -> None:  # fmt: skip
        from orrery.mapping.offload import plan_offload
        from orrery.runtime.offload import OffloadSession

        plannings: list[Planning] = []

        def planner(profile: StepProfile) -> OffloadPlan | Infeasible:
            answer = plan_offload(profile, search, progress)
            plannings.append(Planning(step=len(engine.reports), profile=profile, answer=answer))
            del plannings[:-_MOST_PLANNINGS]  # a loop whose steps differ has one every other step
            return answer

        engine = OffloadSession(settings, planner, name=name)
        self.name, self.engine, self.plannings = name, engine, plannings
        self.began_s: list[float] = []
        self._progress, self._origin_s = progress, time.perf_counter()
        # The planner must not hold the session, or the files would outlive it.
        self._end = weakref.finalize(self, engine.close)

    def __enter__(self) -> Self:
        """Begin a step.

        Raises
        ------
        SpecError : a step of this or another session is under way in this thread
        """
        if (other := getattr(_open, "session", None)) is not None:
            whose = "this session" if other is self else "another session"
            raise SpecError("offload", found=f"a step of {whose} that is under way",
                            wanted="one step at a time in a thread",
                            fix="end it before the next begins")  # fmt: skip
        self.began_s.append(time.perf_counter() - self._origin_s)
        try:
            self.engine.__enter__()
        except BaseException:
            self.began_s.pop()
            raise
        _open.session = self
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """End the step; after one that was measured, plan.

        Raises
        ------
        InfeasibleError : no plan keeps the step within its limit; the step itself is whole
        SpecError : before there was a plan, a step that nothing can be planned for
        """
        from orrery.runtime.offload import OffloadInfeasibleError

        _open.session = None
        try:
            self.engine.__exit__(kind, error, trace)
        except OffloadInfeasibleError as lack:
            raise InfeasibleError("offload: memory_limit", lack.infeasible) from None
        if kind is None:
            done = self.reports[-1]
            if not self.plannings:
                refuse_idle(done)
            self._progress.step(f"offload {self.name}", done.step, best=done.step_s)

    @property
    def reports(self) -> list[StepReport]:
        """What each step so far moved, and what that cost it."""
        return self.engine.reports

    @property
    def plans(self) -> tuple[OffloadPlan, ...]:
        """The plans in force, one per backward pass of a step; none before the first was made."""
        return self.engine.plans

    @property
    def profiles(self) -> tuple[StepProfile, ...]:
        """What the plans were made from, one per backward pass of a step."""
        return self.engine.profiles

    def explain(self) -> str:
        """Return in a few sentences what leaves memory, what that costs, and what was measured."""
        from ._words import explained

        return "\n".join(explained(self))

    def page(self) -> Page:
        """Return everything as a page: memory before and after, steps, tensors, plans."""
        from ._page import session_page

        return session_page(self)

    def write(self, folder: str | Path) -> dict[str, Path]:
        """Write plans, profiles, the timeline, traces and the page; return name -> file."""
        from ._files import write_files

        return write_files(self, folder)

    def close(self) -> None:
        """End the session: its threads end, and its files' space is free again.

        A step that is still under way, as where a loop has left it by an error, ends with it.
        """
        if getattr(_open, "session", None) is self:
            _open.session = None
        self._end()
