"""What happened when, on which resource, in integer picoseconds."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

__all__ = [
    "MOST_PS",
    "PS_PER_S",
    "IoRequest",
    "IoTrace",
    "MemorySample",
    "Span",
    "Timeline",
    "make_spans",
    "read_io_trace",
    "read_timeline",
    "write_io_trace",
    "write_timeline",
]

PS_PER_S = 10**12
#: The last instant of any clock, 53 days: two such times still add up in 64 bits.
MOST_PS = 2**62 - 1
TIMELINE_SCHEMA = 1
IO_TRACE_SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One piece of work on one resource; `kind` is e.g. compute, transfer, read, write."""

    resource: str
    name: str
    kind: str
    start_ps: int
    end_ps: int
    details: Mapping[str, str | int | float] = field(default_factory=dict)


def make_spans(
    resources: Sequence[str],
    names: Sequence[str],
    kinds: Sequence[str],
    starts_ps: Sequence[int],
    ends_ps: Sequence[int],
    details: Sequence[Mapping[str, str | int | float]],
) -> list[Span]:
    """Return one span per row of six equally long columns, three times as fast as one by one.

    A replay makes hundreds of thousands; a frozen record's own constructor would take most of its
    time. The slots are filled directly before anybody else sees the records.
    """
    spans = [object.__new__(Span) for _ in names]
    columns = (resources, names, kinds, starts_ps, ends_ps, details)
    for member, column in zip(fields(Span), columns, strict=True):
        deque(map(getattr(Span, member.name).__set__, spans, column), maxlen=0)
    return spans


@dataclass(frozen=True, slots=True, kw_only=True)
class MemorySample:
    """Bytes in use in one memory from `time_ps` on."""

    memory: str
    time_ps: int
    used_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """Spans sorted by start; ties keep the order in which they were inserted."""

    name: str
    spans: tuple[Span, ...]
    memory: tuple[MemorySample, ...] = ()

    @property
    def makespan_ps(self) -> int:
        """The end of the last span, 0 when there is none."""
        return max((span.end_ps for span in self.spans), default=0)

    @property
    def makespan_s(self) -> float:
        """The end of the last span in seconds."""
        return self.makespan_ps / PS_PER_S

    def resources(self) -> tuple[str, ...]:
        """Return the resources, each once, in order of first use."""
        return tuple(dict.fromkeys(span.resource for span in self.spans))

    def busy_s(self) -> dict[str, float]:
        """Return per resource the seconds covered by at least one span."""
        by_resource: dict[str, list[tuple[int, int]]] = {}
        for span in self.spans:
            by_resource.setdefault(span.resource, []).append((span.start_ps, span.end_ps))
        return {name: _covered(pieces) / PS_PER_S for name, pieces in by_resource.items()}

    def to_trace_events(self) -> dict[str, Any]:
        """Return the Chrome trace-event document that Perfetto opens.

        Each resource becomes a thread with its name; overlapping spans of one resource (transfers
        that share a link) are spread over several rows of it, because the format nests spans of
        one thread. Memory becomes counter tracks. Times are microseconds, as the format wants.
        """
        events: list[dict[str, Any]] = [
            {"ph": "M", "pid": 1, "name": "process_name", "args": {"name": self.name}}
        ]
        rows: dict[tuple[str, int], int] = {}
        for resource in self.resources():
            mine = [span for span in self.spans if span.resource == resource]
            for span, lane in _lanes(mine):
                tid = rows.setdefault((resource, lane), len(rows) + 1)
                events.append(
                    {
                        "ph": "X",
                        "pid": 1,
                        "tid": tid,
                        "name": span.name,
                        "cat": span.kind,
                        "ts": span.start_ps / 1e6,
                        "dur": (span.end_ps - span.start_ps) / 1e6,
                        "args": dict(span.details),
                    }
                )
        for (resource, lane), tid in rows.items():
            label = resource if lane == 0 else f"{resource} ({lane + 1})"
            events.append(
                {"ph": "M", "pid": 1, "tid": tid, "name": "thread_name", "args": {"name": label}}
            )
        events += [
            {
                "ph": "C", "pid": 1, "name": f"memory {sample.memory}", "ts": sample.time_ps / 1e6,
                "args": {"bytes": sample.used_bytes},
            }
            for sample in self.memory
        ]  # fmt: skip
        return {"traceEvents": events, "displayTimeUnit": "ms"}


@dataclass(frozen=True, slots=True, kw_only=True)
class IoRequest:
    """One block request; `lifetime` says how long the data is needed (e.g. step, run)."""

    time_ps: int
    write: bool
    offset_bytes: int
    size_bytes: int
    lifetime: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class IoTrace:
    """Block requests against one device, in the order they were issued."""

    device: str
    requests: tuple[IoRequest, ...]


def write_timeline(path: Path, timeline: Timeline) -> None:
    """Write a timeline as a JSON file, whole or not at all.

    The file is both: our record, exact to the picosecond, and a Chrome trace-event document
    that Perfetto opens (viewers skip the keys they do not know).
    """
    from .store import write_record

    write_record(path, "timeline", TIMELINE_SCHEMA, timeline, beside=timeline.to_trace_events())


def read_timeline(path: Path) -> Timeline:
    """Read what `write_timeline` wrote.

    Raises
    ------
    SpecError : no such file, not a timeline, another schema, unknown or missing keys
    """
    from .store import read_record

    return read_record(path, "timeline", Timeline, TIMELINE_SCHEMA)


def write_io_trace(path: Path, trace: IoTrace) -> None:
    """Write block requests as a JSON file, whole or not at all."""
    from .store import write_record

    write_record(path, "io_trace", IO_TRACE_SCHEMA, trace, indent=None)


def read_io_trace(path: Path) -> IoTrace:
    """Read what `write_io_trace` wrote.

    Raises
    ------
    SpecError : no such file, not a trace, another schema, unknown or missing keys
    """
    from .store import read_record

    return read_record(path, "io_trace", IoTrace, IO_TRACE_SCHEMA)


def _covered(pieces: Iterable[tuple[int, int]]) -> int:
    total, reach = 0, -1
    for start, end in sorted(pieces):
        total += max(0, end - max(start, reach))
        reach = max(reach, end)
    return total


def _lanes(spans: Iterable[Span]) -> list[tuple[Span, int]]:
    """Give each span the first row that is free at its start."""
    free: list[int] = []
    placed = []
    for span in sorted(spans, key=lambda s: s.start_ps):
        lane = next((i for i, end in enumerate(free) if end <= span.start_ps), len(free))
        if lane == len(free):
            free.append(0)
        free[lane] = span.end_ps
        placed.append((span, lane))
    return placed
