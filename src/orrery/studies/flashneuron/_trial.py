"""One way to train one network with one batch, in a child process under a cap.

Models:  nothing; it runs. What ours is told to keep within is the cap, and pages of files on top:
         the session counts them, a memory group gives them back before it kills.
Judge:   tests/studies/flashneuron: a cap that is too small kills, losses are the same in all ways.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from orrery.progress import Progress
from orrery.runtime.together import Comparison, in_turn
from orrery.runtime.training import Cap, CappedProcess, DeepNetwork
from orrery.units import format_quantity

OURS = "offloading"
#: ways as shown, and as the trainer calls them
WAY_NAMES = {
    "none": "none", "checkpointing": "checkpointing", "save_on_cpu": "save_on_cpu",
    "naive file": "naive file", OURS: "given",
}  # fmt: skip

#: Steps that come before a step is typical: memory of the optimiser, and ours its measured step.
_WARM = {OURS: 2}
_RETURNED = {"MALLOC_MMAP_THRESHOLD_": "262144", "MALLOC_TRIM_THRESHOLD_": "262144"}
#: The start of PyTorch on a busy machine.
_START_S = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What is tried.

    Attributes
    ----------
    cap_bytes : of the whole process; None: no cap
    limit_bytes : that ours is told to keep; None: follows from the cap
    threads : of PyTorch
    returned : the C library gives freed memory back at once, as ours has it: more fits then, and
        fresh pages take time
    options : of ours, as `orrery.api.offloading.OffloadOptions` takes them
    """

    network: DeepNetwork
    way: str
    batch: int
    cap_bytes: int | None
    folder: str
    threads: int
    limit_bytes: int | None = None
    returned: bool = False
    options: tuple[tuple[str, str | int | bool], ...] = (("least", "256 KiB"),)
    seed: int = 0

    @property
    def warm_steps(self) -> int:
        return _WARM.get(self.way, 1)

    @property
    def said(self) -> str:
        cap = "" if self.cap_bytes is None else f", {format_quantity(self.cap_bytes, 'bytes')}"
        return f"{self.network.kind} {self.network.layers}, {self.way}, batch {self.batch}{cap}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """One step.

    Attributes
    ----------
    cpu_s : of all threads of the process
    peak_bytes : the most resident memory of the process meanwhile, pages of files included
    moved_bytes, io_cpu_s, waited_s, hidden_share : of ours: written and read, what that took of
        processors, how long the step waited, which share of transfers it did not wait for
    within_s, recompute_s : of ours: of the step, what is within the session, without planning; of
        that, what was made again
    planned_s, planned_bytes, forward_s, write_bytes_per_s : of ours: the step as planned, what is
        written each step, and what it was planned from; None: a step that is measured
    saved_bytes, other_bytes : of ours: all that is saved, and the most of anything else
    """

    loss: float
    seconds: float
    cpu_s: float
    peak_bytes: int
    moved_bytes: int = 0
    io_cpu_s: float = 0.0
    waited_s: float = 0.0
    hidden_share: float | None = None
    within_s: float = 0.0
    recompute_s: float = 0.0
    planned_s: float | None = None
    planned_bytes: int | None = None
    forward_s: float | None = None
    write_bytes_per_s: float | None = None
    saved_bytes: int | None = None
    other_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a trial.

    Attributes
    ----------
    fits : all steps ran within the cap
    why : it does not fit
    steps : that ran, the first ones not typical
    weight_bytes, start_bytes : of parameters; resident before the first step
    cap_peak_bytes : the most that counted against the cap; None where nobody counts
    engine : of ours, how requests are made, and what is to be said of the folder
    """

    fits: bool
    why: str = ""
    steps: tuple[Taken, ...] = ()
    weight_bytes: int = 0
    start_bytes: int = 0
    cap_peak_bytes: int | None = None
    engine: str = ""

    @property
    def planned(self) -> tuple[Taken, ...]:
        """Of ours, the steps that obeyed a plan, but for the first: it leads to a better one."""
        steps = tuple(taken for taken in self.steps if taken.planned_s is not None)
        return steps[1:] or steps


class Trainee:
    """A child process that trains, step by step as it is told.

    `why` says what keeps it from going on, `need_bytes` what ours would need where that is known.
    """

    def __init__(self, trial: Trial, cap: Cap, *, step_s: float = 900.0) -> None:
        self.trial, self.steps, self.why = trial, list[Taken](), ""
        self.need_bytes: int | None = None
        self.start: dict[str, Any] = {}
        self._step_s = step_s
        self._process = CappedProcess(
            [sys.executable, "-m", "orrery.studies.flashneuron._child"], cap=cap,
            limit_bytes=trial.cap_bytes, what=trial.said,
            environment={
                "OMP_NUM_THREADS": str(trial.threads), **(_RETURNED if trial.returned else {}),
            },
        )  # fmt: skip
        try:
            self._begin()
        except BaseException:
            self._process.close()
            raise

    def _begin(self) -> None:
        request = {"trial": asdict(self.trial)}
        self.start = self._answer(request, _START_S) or {}

    def step(self) -> Taken | None:
        """Do one step; None when it cannot be done, and `why` says so.

        Raises
        ------
        ChildFailedError : the child ended for another reason than memory
        """
        if self.why:
            return None
        answer = self._answer({"step": len(self.steps)}, self._step_s)
        if answer is None:
            return None
        self.steps.append(Taken(**answer))
        return self.steps[-1]

    def _answer(self, request: dict[str, Any], most_s: float) -> dict[str, Any] | None:
        answer = self._process.ask(request, most_s=most_s)
        if answer is None:
            self.why = (
                "more memory than the cap" if self._process.out_of_memory else
                f"no answer in {most_s:g} s: short of memory, it reads the same pages over and over"
            )  # fmt: skip
        elif "lack" in answer:
            self.why, self.need_bytes, answer = str(answer["lack"]), answer.get("need_bytes"), None
        return answer

    @property
    def outcome(self) -> Outcome:
        """What became of it so far."""
        return Outcome(
            fits=not self.why, why=self.why, steps=tuple(self.steps),
            cap_peak_bytes=self._process.peak_bytes, **self.start,
        )  # fmt: skip

    def close(self) -> None:
        """End the child."""
        self._process.close()

    def __enter__(self) -> Trainee:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def attempt(trial: Trial, cap: Cap, *, steps: int = 1, step_s: float = 900.0) -> Outcome:
    """Try whether it fits: so many steps after those that are not typical.

    Raises
    ------
    ChildFailedError : the child ended for another reason than memory
    """
    with Trainee(trial, cap, step_s=step_s) as trainee:
        for _ in range(trial.warm_steps + steps):
            if trainee.step() is None:
                break
        return trainee.outcome


@contextlib.contextmanager
def _warm(trials: Sequence[Trial], cap: Cap) -> Iterator[list[Trainee]]:
    with contextlib.ExitStack() as stack:
        trainees = []
        for trial in trials:
            trainee = stack.enter_context(Trainee(trial, cap))
            for _ in range(trial.warm_steps):
                trainee.step()
            trainees.append(trainee)
        yield trainees


def rounds(
    trials: dict[str, Trial], cap: Cap, *, most: int, most_s: float, progress: Progress, task: str,
) -> tuple[Comparison, dict[str, Outcome]]:  # fmt: skip
    """Let all train in turn, a step each a round, so that a machine that slows down slows all.

    Seconds are those of a sample. What does not fit is left out; its outcome says why.

    Parameters
    ----------
    most, most_s : no further round after so many, or so many seconds

    Raises
    ------
    CancelledError : the user asked to stop
    """
    with _warm(list(trials.values()), cap) as trainees:
        named = dict(zip(trials, trainees, strict=True))
        times: dict[str, list[float]] = {name: [] for name in trials}
        until = time.perf_counter() + most_s
        for turn in range(most):
            if turn and time.perf_counter() > until:
                break
            progress.step(task, turn, most)
            for name in in_turn([n for n, t in named.items() if not t.why], turn):
                taken = named[name].step()
                if taken is not None:
                    times[name].append(taken.seconds / named[name].trial.batch)
        outcomes = {name: trainee.outcome for name, trainee in named.items()}
    whole = {name: tuple(found) for name, found in times.items() if outcomes[name].fits}
    return Comparison(times_s=whole), outcomes


def scratch(folder: Path) -> None:
    """Remove what naive files of killed children left in a folder."""
    for path in folder.glob(".naive-*.pt"):
        with contextlib.suppress(OSError):
            path.unlink()
