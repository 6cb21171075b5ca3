"""A plan under load: inputs in a row, replayed, beside the period that its search saw."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from orrery.evidence import Evidence
from orrery.graph import Graph
from orrery.report import Cell, Column, Need, Section, Table, Text, judge, make_scorecard
from orrery.sim import Pipeline, replay_pipeline

from .._render import titled_text
from .._result import MapResult
from ..figures import WHY_UNKNOWN, batch_of
from ..judging._seconds import part_seconds
from ..pages import regions_of
from ._load_words import beside, bounded, doubts_of, rhythm

#: inputs to play at most, where nobody says how many; a quarter of it in plans of more regions
_MOST, _LARGE = 64, 300

INPUTS = ("Inputs in a row", "Who is busy while inputs follow each other")


def under_load(
    result: MapResult, graphs: Sequence[Graph], needs: Sequence[Need] = (), *, most: int = 0
) -> MapResult:
    """Return the result with the period and the latency of inputs that follow each other.

    The throughput of its card is then theirs, unless inputs need what those before them leave.
    """
    plan, price = result.plan, result.price
    made = {
        name: sum(region.graph.known_bytes(t) or 0 for t in region.outputs)
        for name, region in regions_of(graphs, plan).items()
    }
    found = replay_pipeline(
        plan, result.system, part_seconds(price), expansion=price.expansion,
        output_bytes=lambda a: made[a.region],
        most=most or (_MOST if len(plan.assignments) <= _LARGE else _MOST // 4),
    )  # fmt: skip
    doubts = tuple(doubts_of(found, result.system, graphs))
    lines = (rhythm(found), f"{beside(found)}{bounded(plan, found)}", *doubts)
    sections: tuple[Section, ...] = (
        Text(title=INPUTS[0], paragraphs=lines, tone="warning" if doubts else "note"),
        _table(found),
    )
    source = f"{found.inputs} inputs in a row"
    evidence = (*in_a_row(result.evidence, graphs, found.period_s, source),
                _latency(result, found, source))  # fmt: skip
    card = make_scorecard(evidence[0].subject, evidence, reasons=WHY_UNKNOWN)
    verdicts = judge(card, needs)
    page = replace(
        result.page, scorecard=card, verdicts=tuple(verdicts),
        sections=(*result.page.sections[:1], *sections, *result.page.sections[1:]),
    )  # fmt: skip
    return replace(result, evidence=evidence, scorecard=card, verdicts=tuple(verdicts), page=page)


def under_load_text(result: MapResult, *, width: int = 96) -> str:
    """Return as text what inputs in a row take; empty where nobody asked."""
    return titled_text(result.page, INPUTS, width=width)


def _table(found: Pipeline) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for name, busy in [*found.device_busy_s.items(), *found.link_busy_s.items()]:
        share = 100 * busy / found.period_s if found.period_s else None
        most = found.peak_bytes.get(name)
        rows.append((name, busy, share, found.link_slowed_s.get(name), most))
    return Table(
        title=INPUTS[1],
        columns=(
            Column(name="device or link"),
            Column.number("busy per input", "s"),
            Column.number("of the period", "%", bar=True),
            Column.number("transfers slowed by", "s",
                          help="per input, all its transfers together, because the link was full"),
            Column.number("most memory", "bytes", help="with all inputs that are on their way"),
        ),
        rows=tuple(rows),
        filterable=len(rows) > 12,
    )  # fmt: skip


def in_a_row(
    evidence: Sequence[Evidence], graphs: Sequence[Graph], period_s: float, how: str
) -> Iterator[Evidence]:
    """Yield the evidence, its first throughput that of inputs in a row, and their period.

    The throughput stays where inputs need what those before them leave.
    """
    batch = 0 if any(g.states for g in graphs) else sum(batch_of(g) for g in graphs)
    latency = next(e for e in evidence if e.metric == "latency")
    source = replace(latency.source, note=f"{how}; {latency.source.note}")
    for one in evidence:
        if batch and one.metric == "throughput" and one.value is not None and period_s:
            context = {**one.context, "overlap": "inputs following each other"}
            yield replace(one, value=batch / period_s, source=source, context=context)
            batch = 0
        else:
            yield one
    yield replace(latency, metric="period", value=period_s, source=source)


def _latency(result: MapResult, found: Pipeline, how: str) -> Evidence:
    latency = next(e for e in result.evidence if e.metric == "latency")
    source = replace(latency.source, note=f"{how}; {latency.source.note}")
    return replace(latency, metric="latency under load", value=found.latency_s, source=source)
