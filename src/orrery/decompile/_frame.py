"""The method as a list of stages, checked to fit before it runs.

A stage takes records by their type and gives one record; nothing else passes between stages.
"""

from __future__ import annotations

import contextlib
import resource
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar, cast

from orrery.errors import OrreryError, SpecError
from orrery.progress import SILENT, Progress

Record = TypeVar("Record")


class Records:
    """What stages have given so far, one record of a type.

    Attributes
    ----------
    progress : for reports of one stage
    keep : takes a record that is worth keeping should nothing more be finished
    notes : what a person should know
    """

    def __init__(
        self,
        given: Iterable[object] = (),
        *,
        progress: Progress = SILENT,
        keep: Callable[[object], None] = lambda _: None,
    ) -> None:
        self._held: dict[type, object] = {type(one): one for one in given}
        self.progress, self.keep = progress, keep
        self.notes: list[str] = []

    def __getitem__(self, kind: type[Record]) -> Record:
        return cast(Record, self._held[kind])

    def add(self, record: object) -> None:
        self._held[type(record)] = record

    @property
    def kinds(self) -> frozenset[type]:
        return frozenset(self._held)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One step of the method.

    Attributes
    ----------
    name : what it does, as a noun: ``image``, ``functions``, …
    summary : one sentence for people
    needs : types of the records that it reads
    gives : type of the record that it returns
    run : a function of a module, so that another process finds it by name
    """

    name: str
    summary: str
    needs: tuple[type, ...]
    gives: type
    run: Callable[[Records], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class StageReport:
    """How a stage went.

    Attributes
    ----------
    status : ``done``, ``failed``, ``stopped`` (out of time or memory, or crashed) or ``not run``
    detail : what it found, or why it ended
    seconds : of the clock; peak_bytes : resident memory at most while it ran
    """

    name: str
    status: str
    detail: str = ""
    seconds: float = 0.0
    peak_bytes: int = 0


def check_stages(stages: Sequence[Stage], given: Iterable[type]) -> None:
    """Check that each stage finds what it needs, and that no two give the same.

    Raises
    ------
    SpecError : they do not fit; says which stage lacks what
    """
    have = set(given)
    for stage in stages:
        missing = set(stage.needs) - have
        if missing:
            raise SpecError(
                f"stage {stage.name}",
                found=f"no {_names(missing)}; only {_names(have)} by then",
                wanted="a stage before it that gives it",
                fix="put the stages into another order",
            )
        if stage.gives in have:
            raise SpecError(
                f"stage {stage.name}",
                found=f"a second {stage.gives.__name__}",
                wanted="one stage for each kind of record",
                fix="leave one of them out",
            )
        have.add(stage.gives)


def _names(kinds: Iterable[type]) -> str:
    return ", ".join(sorted(one.__name__ for one in kinds)) or "nothing"


@dataclass(slots=True)
class _Meter:
    """Clock and resident memory of one stage."""

    start: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        with contextlib.suppress(OSError):  # makes the kernel's high-water mark start anew
            Path("/proc/self/clear_refs").write_text("5")

    def read(self) -> tuple[float, int]:
        seconds = time.perf_counter() - self.start
        children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
        try:
            status = Path("/proc/self/status").read_text().splitlines()
            mark = next(line for line in status if line.startswith("VmHWM:"))
            return seconds, max(int(mark.split()[1]) * 1024, children)
        except (OSError, StopIteration, ValueError):
            return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def run_stages(
    stages: Sequence[Stage],
    records: Records,
    *,
    begun: Callable[[str], None] = lambda _: None,
    ended: Callable[[StageReport], None] = lambda _: None,
) -> Records:
    """Run stages in their order, telling when each begins and how it ended.

    Raises
    ------
    SpecError : they do not fit together; none has run
    OrreryError : what a stage said of its input; `ended` has been told
    """
    check_stages(stages, records.kinds)
    for stage in stages:
        begun(stage.name)
        meter = _Meter()
        try:
            given = stage.run(records)
        except (OrreryError, MemoryError, RecursionError) as error:
            seconds, peak = meter.read()
            text = str(error) or type(error).__name__
            ended(StageReport(name=stage.name, status="failed", detail=text, seconds=seconds,
                              peak_bytes=peak))  # fmt: skip
            raise
        if not isinstance(given, stage.gives):
            raise TypeError(f"stage {stage.name} gave a {type(given).__name__}, "
                            f"not a {stage.gives.__name__}")  # fmt: skip
        records.add(given)
        seconds, peak = meter.read()
        ended(StageReport(name=stage.name, status="done", detail=str(getattr(given, "found", "")),
                          seconds=seconds, peak_bytes=peak))  # fmt: skip
    return records
