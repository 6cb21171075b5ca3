"""Timelines: measures against counting, files there and back, the trace-event format."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.errors import SpecError
from orrery.timeline import (
    MemorySample,
    Span,
    Timeline,
    make_spans,
    read_timeline,
    write_timeline,
)

PIECES = st.lists(
    st.tuples(st.sampled_from(["gpu", "link"]), st.integers(0, 30), st.integers(0, 9)), max_size=12
)


def timeline(pieces: list[tuple[str, int, int]]) -> Timeline:
    spans = [
        Span(resource=where, name=f"s{i}", kind="compute", start_ps=start, end_ps=start + length)
        for i, (where, start, length) in enumerate(pieces)
    ]
    spans.sort(key=lambda span: span.start_ps)
    memory = (MemorySample(memory="gpu", time_ps=3, used_bytes=7),)
    return Timeline(name="test", spans=tuple(spans), memory=memory)


@settings(max_examples=100, deadline=None)
@given(PIECES)
def test_busy_time_counts_covered_instants(pieces: list[tuple[str, int, int]]) -> None:
    found = timeline(pieces).busy_s()
    for where in {piece[0] for piece in pieces}:
        mine = [(start, length) for name, start, length in pieces if name == where]
        covered = sum(any(s <= t < s + n for s, n in mine) for t in range(50))
        assert found[where] == pytest.approx(covered * 1e-12)


def test_spans_by_column_are_spans() -> None:
    details = {"bytes": 3}
    made = make_spans(["a", "b"], ["x", "y"], ["c", "d"], [1, 2], [3, 4], [{}, details])
    assert made == [
        Span(resource="a", name="x", kind="c", start_ps=1, end_ps=3),
        Span(resource="b", name="y", kind="d", start_ps=2, end_ps=4, details=details),
    ]


def test_makespan_and_resources() -> None:
    found = timeline([("link", 5, 5), ("gpu", 2, 20)])
    assert (found.makespan_ps, found.makespan_s) == (22, 22e-12)
    assert found.resources() == ("gpu", "link")
    assert Timeline(name="empty", spans=()).makespan_ps == 0


@settings(max_examples=60, deadline=None)
@given(PIECES)
def test_rows_of_the_trace_never_overlap(pieces: list[tuple[str, int, int]]) -> None:
    """Spans of one thread must nest or follow each other; ours follow each other."""
    events = timeline(pieces).to_trace_events()["traceEvents"]
    rows: dict[int, list[tuple[float, float]]] = {}
    for event in events:
        if event["ph"] == "X":
            rows.setdefault(event["tid"], []).append((event["ts"], event["ts"] + event["dur"]))
    assert sum(map(len, rows.values())) == len(pieces)
    for spans in rows.values():
        spans.sort()
        assert all(a[1] <= b[0] + 1e-12 for a, b in itertools.pairwise(spans))
    named = {event["tid"] for event in events if event["name"] == "thread_name"}
    assert named == set(rows)


def test_a_file_is_a_record_and_a_trace(tmp_path: Path) -> None:
    path = tmp_path / "timeline.json"
    made = timeline([("gpu", 0, 4), ("link", 4, 10**15)])
    write_timeline(path, made)
    assert read_timeline(path) == made
    document = json.loads(path.read_text())
    counters = [e for e in document["traceEvents"] if e["ph"] == "C"]
    assert counters == [
        {"ph": "C", "pid": 1, "name": "memory gpu", "ts": 3e-06, "args": {"bytes": 7}}
    ]
    path.write_text("{}")
    with pytest.raises(SpecError, match="a timeline file"):
        read_timeline(path)
