"""The last step's transfers, expected and measured, on one clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orrery.timeline import PS_PER_S, Span

if TYPE_CHECKING:
    from ._session import TrainingSession


def last_moves(session: TrainingSession) -> list[Span]:
    """Return a span per transfer of the last step, as planned and as it was.

    ``writes, planned`` and ``reads, planned`` begin where the step began; of several passes, each
    is expected when those before it take as long as planned. A step that was measured follows no
    plan: it has the second kind alone.
    """
    if not session.reports or len(session.began_s) < len(session.reports):
        return []
    last, began_s = session.reports[-1], session.began_s[len(session.reports) - 1]
    spans = []
    if not last.measured:
        start_s = began_s
        for plan in session.plans:
            for move in plan.moves:
                spans.append(_span("planned", move.write, move.name, start_s, move.begin_s,
                                   move.end_s))  # fmt: skip
            start_s += plan.step_s
    for journey in session.engine.journeys:
        spans.append(_span("measured", journey.write, journey.name, began_s, journey.begin_s,
                           journey.end_s))  # fmt: skip
    return spans


def _span(basis: str, write: bool, name: str, start_s: float, begin: float, end: float) -> Span:
    way = "write" if write else "read"
    first = round((start_s + begin) * PS_PER_S)
    return Span(resource=f"{way}s, {basis}", name=name, kind=way, start_ps=first,
                end_ps=max(first, round((start_s + end) * PS_PER_S)))  # fmt: skip
