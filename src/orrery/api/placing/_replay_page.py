"""The page of a placement that was kept: what was measured then, and now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from orrery.plan import Plan
from orrery.report import Column, Section, Table, Text, TimelineChart
from orrery.units import format_quantity

if TYPE_CHECKING:
    from orrery.runtime.together import Comparison, Outcome, PlacedNetwork


def replay_sections(
    plan: Plan, found: Comparison, network: PlacedNetwork, outcome: Outcome, notes: Sequence[str]
) -> list[Section]:
    """Return then and now, who ran what, and when, in one request."""
    said = [*_then_and_now(plan, found), *notes]
    return [
        Text(title="Then and now", paragraphs=tuple(said), tone="note" if notes else "plain"),
        _steps(plan, network, outcome),
        TimelineChart(
            title="One request", timeline=network.timeline(outcome),
            caption="Measured: when each worker ran which subgraph, as in the table. timeline.json "
            "holds the request that answered, which is another one.",
        ),
    ]  # fmt: skip


def _then_and_now(plan: Plan, found: Comparison) -> list[str]:
    way = next(iter(found.times_s))
    now, (low, high) = found.median_s(way), found.interval_s(way)
    lines = [
        f"Now it takes {_seconds(now)} ({_seconds(low)} to {_seconds(high)}, {found.rounds} "
        "rounds). Nothing was compared: a kept plan is run as it is."
    ]
    then = [plan.settings.get(f"measured{key}_s") for key in ("", "_low", "_high")]
    if all(isinstance(value, int | float) for value in then):
        was, from_, to = (float(value) for value in then if value is not None)
        apart = "within" if from_ <= high and low <= to else "outside"
        lines.append(
            f"When it was placed it took {_seconds(was)} ({_seconds(from_)} to {_seconds(to)}, "
            f"{plan.settings.get('rounds', 'unknown')} rounds), {now / was - 1:+.1%} since: "
            f"{apart} what both intervals allow."
        )
        if apart == "outside":
            lines.append("Something is not as it was then: other programs, clock rates, "
                         "libraries. --fresh times and places anew.")  # fmt: skip
    if plan.predicted_latency_s is not None:
        lines.append(f"Predicted from its parts then: {_seconds(plan.predicted_latency_s)}.")
    return lines


def _steps(plan: Plan, network: PlacedNetwork, outcome: Outcome) -> Table:
    spans = zip(network.steps, outcome.began_s, outcome.ended_s, strict=True)
    rows = tuple(
        (step.region.name, _names(step.region.nodes), len(step.region.nodes), step.worker,
         begun - outcome.asked_s, ended - begun)
        for step, begun, ended in spans
    )  # fmt: skip
    return Table(
        title="Who runs what", rows=rows,
        columns=(Column(name="subgraph"), Column(name="nodes"),
                 Column(name="count", kind="number"), Column(name="worker"),
                 Column(name="begins after", unit="s", kind="number"),
                 Column(name="in a request", unit="s", kind="number", bar=True)),
        caption=f"{plan.searcher}; every node is in nodes.csv.",
    )  # fmt: skip


def _names(nodes: Sequence[str]) -> str:
    return nodes[0] if len(nodes) == 1 else f"{nodes[0]} … {nodes[-1]}"


def _seconds(value: float) -> str:
    return format_quantity(value, "s")
