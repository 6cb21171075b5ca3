"""The page of a session: memory before and after, each step, each tensor, each plan."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

from orrery.plan import Infeasible
from orrery.provenance import PROGRAM_VERSION
from orrery.report import Column, Page, Section, Table, Text, TimelineChart
from orrery.timeline import PS_PER_S, MemorySample, Span, Timeline

from ._curves import curves
from ._moves import last_moves
from ._words import explained, plain_peak_bytes, remarks_of, written_bytes

if TYPE_CHECKING:
    from ._session import TrainingSession

#: Steps that a page lists; the files hold all.
_SHOWN = 500


def session_page(session: TrainingSession) -> Page:
    """Return everything that is known of a session."""
    folders = ", ".join(str(folder) for folder in session.engine.settings.folders)
    sections: list[Section] = [
        Text(title="What leaves memory", paragraphs=tuple(explained(session)),
             tone="warning" if remarks_of(session) else "plain"),
    ]  # fmt: skip
    if session.reports:
        sections += [_memory(session), *curves(session.reports), _steps(session)]
    if session.plans:
        sections += [_tensors(session), _plans(session), _reasons(session)]
    if session.reports:
        sections.append(
            TimelineChart(title="When", timeline=steps_timeline(session, most=_SHOWN),
                          caption="Each step, and the transfers of the last one: as planned, and "
                                  "as they were.")
        )  # fmt: skip
    return Page(
        title=f"Offloading {session.name}", subtitle=f"to {folders}", sections=tuple(sections),
        provenance={"program": PROGRAM_VERSION, "engine": session.engine.engine},
    )  # fmt: skip


def steps_timeline(session: TrainingSession, *, most: int | None = None) -> Timeline:
    """Return one span per step, its peak of memory, and the last one's transfers."""
    pairs = list(zip(session.began_s, session.reports, strict=False))[-(most or 0) :]
    spans, memory = [], []
    for began_s, report in pairs:
        start = round(began_s * PS_PER_S)
        spans.append(
            Span(resource="training", name=f"step {report.step}",
                 kind="measured" if report.measured else "planned",
                 start_ps=start, end_ps=start + round(report.step_s * PS_PER_S),
                 details={"waited_s": report.waited_s, "peak_bytes": report.peak_bytes,
                          "written_bytes": report.moved.written_bytes,
                          "read_bytes": report.moved.read_bytes})
        )  # fmt: skip
        memory.append(
            MemorySample(memory="process", time_ps=start, used_bytes=report.peak_bytes)
        )  # fmt: skip
    return Timeline(name=session.name, spans=(*spans, *last_moves(session)), memory=tuple(memory))


def _memory(session: TrainingSession) -> Table:
    first, last = session.reports[0], session.reports[-1]
    rows: list[tuple[str | int | None, ...]] = []
    if session.profiles:
        rows += [
            ("with everything in memory", plain_peak_bytes(session), "estimated"),
            ("the limit", min(p.limit_bytes for p in session.profiles), "given or free"),
        ]
    if session.plans:
        rows.append(("planned", max(plan.peak_bytes for plan in session.plans), "estimated"))
    rows.append((f"step {first.step}", first.peak_bytes, "measured"))
    if last is not first:
        rows.append((f"step {last.step}", last.peak_bytes, "measured"))
    return Table(
        title="Peak of memory", rows=tuple(rows), filterable=False,
        columns=(Column(name="what"), Column(name="bytes", unit="bytes", kind="number", bar=True),
                 Column(name="basis")),
        caption="Of the whole process, the interpreter and its libraries counted."
        if session.engine.settings.device == "cpu"
        else "Of tensors on the device.",
    )  # fmt: skip


def _steps(session: TrainingSession) -> Table:
    reports = session.reports[-_SHOWN:]
    before = written_bytes(session) - sum(r.moved.written_bytes for r in reports)
    total = list(accumulate((r.moved.written_bytes for r in reports), initial=before))[1:]
    rows = tuple(
        (str(r.step), "measured" if r.measured else "planned", r.step_s, r.waited_s, r.hidden_share,
         r.moved.written_bytes, r.moved.read_bytes, worn, r.peak_bytes, r.cpu_s_per_gib)
        for r, worn in zip(reports, total, strict=True)
    )  # fmt: skip
    numbers = (("time", "s"), ("waited", "s"), ("hidden", ""), ("written", "bytes"),
               ("read", "bytes"), ("written so far", "bytes"), ("peak", "bytes"),
               ("processor per GiB", "s"))  # fmt: skip
    return Table(
        title="Steps", rows=rows,
        columns=(Column(name="step"), Column(name="kind"),
                 *(Column(name=n, unit=unit, kind="number") for n, unit in numbers)),
        caption="Hidden: the share of transfers during which the step went on. Written so far is "
                "what the host wrote; what the SSD writes beyond that is not known.",
    )  # fmt: skip


def _tensors(session: TrainingSession) -> Table:
    rows = tuple(
        (t.name, number, t.size_bytes, t.action + (", packed" if t.packed else ""), t.moved_bytes,
         t.reason)
        for number, plan in enumerate(session.plans, start=1) for t in plan.tensors
    )  # fmt: skip
    return Table(
        title="Saved tensors", rows=rows,
        columns=(Column(name="tensor"), Column(name="pass", kind="number"),
                 Column(name="size", unit="bytes", kind="number", bar=True), Column(name="what"),
                 Column(name="moved", unit="bytes", kind="number"), Column(name="because")),
        caption="Number in its pass, what made it, shape and type of the first view saved.",
    )  # fmt: skip


def _plans(session: TrainingSession) -> Table:
    rows = tuple(
        (p.step, p.profile.write_bytes_per_s, p.profile.read_bytes_per_s,
         p.answer.what if isinstance(p.answer, Infeasible) else p.answer.summary)
        for p in session.plannings
    )  # fmt: skip
    return Table(
        title="Plans", rows=rows,
        columns=(Column(name="after step", kind="number"),
                 Column(name="writes", unit="bytes/s", kind="number"),
                 Column(name="reads", unit="bytes/s", kind="number"), Column(name="plan")),
        caption="Rates as measured when the plan was made.",
    )  # fmt: skip


def _reasons(session: TrainingSession) -> Text:
    said = [line for plan in session.plans for line in plan.log]
    return Text(title="Why the plan is as it is", paragraphs=tuple(dict.fromkeys(said)))
