"""The page of a network on several workers: who runs what, what it gains, and why not more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orrery.report import Column, Section, Table, Text, TimelineChart
from orrery.units import format_quantity

from ._choose import PLACED, Choice

if TYPE_CHECKING:
    from orrery.runtime.together import Outcome

__all__ = ["placing_sections"]


def placing_sections(choice: Choice, outcome: Outcome | None) -> list[Section]:
    """Return the comparison, the placement step by step, and when what ran (of one request)."""
    sections: list[Section] = [_verdict(choice), _ways(choice), _steps(choice, outcome)]
    if outcome is not None:
        sections.append(TimelineChart(
            title="One request", timeline=choice.networks[PLACED].timeline(outcome),
            caption="Measured: when each worker ran which subgraph.",
        ))  # fmt: skip
    sections.append(_corrections(choice))
    return sections


def _seconds(value: float) -> str:
    return format_quantity(value, "s")


def _verdict(choice: Choice) -> Text:
    problem, comparison = choice.problem, choice.comparison
    one = min(choice.alone, key=comparison.median_s)
    ratio, (low, high) = comparison.speedup(PLACED, one)
    path, area = problem.bounds()
    predicted, measured = choice.placed.predicted_s, comparison.median_s(PLACED)
    said = [
        f"Placed on several workers it takes {_seconds(measured)}; whole on {one}, "
        f"{_seconds(comparison.median_s(one))}: {ratio:.2f} times quicker "
        f"({low:.2f} to {high:.2f}, 95 %, within {comparison.rounds} rounds).",
        f"Predicted from its parts: {_seconds(predicted)}, {predicted / measured - 1:+.1%} of what "
        "was measured.",
        f"No placement of these subgraphs takes less than {_seconds(max(path, area))} "
        + (f"(the longest path; {_seconds(area)} if all processors were always busy)."
           if path >= area else "(all processors always busy)."),
    ]  # fmt: skip
    if choice.best != PLACED:
        said.append(f"So it is run whole, on {one}. " + _why(choice, max(path, area)))
    if problem.partition.is_single_path:
        said.append("It has no paths side by side that are worth it: a single path.")
    said += problem.partition.notes
    refused = sorted(set(choice.profile.refusals.values()))
    said += [f"Not everywhere: {why}" for why in refused[:3]]
    return Text(title="Does it pay?", paragraphs=tuple(said),
                tone="plain" if choice.best == PLACED else "note")  # fmt: skip


def _why(choice: Choice, bound: float) -> str:
    """Say what forbids a gain: the bound, or what the parts lose against the whole."""
    one = min(choice.alone, key=choice.comparison.median_s)
    whole = choice.comparison.median_s(one)
    if bound > 0.95 * whole:
        return ("Its subgraphs cannot be quicker than that together: what does not run side by "
                "side, or needs all processors, takes nearly as long as the whole.")  # fmt: skip
    column = [w.name for w in choice.problem.workers].index(one)
    parts = float(choice.problem.seconds[:, column].sum())
    if parts > 1.05 * whole:
        return (f"Cut into subgraphs, {one} alone takes {_seconds(parts)}: what was fused or kept "
                "in caches across the cuts is lost.")  # fmt: skip
    return ("What was predicted to be gained was not seen: workers side by side wait for the same "
            "memory, or the machine is busy.")  # fmt: skip


def _ways(choice: Choice) -> Table:
    found = choice.comparison
    rows = [
        (name, found.median_s(name), *found.interval_s(name), found.speedup(PLACED, name)[0])
        for name in sorted(found.times_s, key=found.median_s)
    ]
    return Table(
        title="Ways to run it", rows=tuple(rows), sort_by="median",
        columns=(Column(name="way"), Column(name="median", unit="s", kind="number", bar=True),
                 Column(name="from", unit="s", kind="number"),
                 Column(name="to", unit="s", kind="number"),
                 Column(name="placed is quicker by", kind="number", help="within rounds")),
        caption=f"{found.rounds} rounds; each runs every way once.",
    )  # fmt: skip


def _steps(choice: Choice, outcome: Outcome | None) -> Table:
    problem = choice.problem
    timing = problem.timing(choice.placed.placement)
    critical = set(timing.critical_path())
    rows = []
    for turn, number in enumerate(problem.order):
        part = problem.partition.subgraphs[number]
        worker = choice.placed.placement[number]
        took = None if outcome is None else outcome.ended_s[turn] - outcome.began_s[turn]
        nodes = part.region.nodes
        rows.append((
            part.region.name, problem.partition.phases[part.phase].kind,
            nodes[0] if len(nodes) == 1 else f"{nodes[0]} … {nodes[-1]}", len(nodes),
            problem.workers[worker].name, float(problem.seconds[number, worker]), took,
            "yes" if number in critical else "",
        ))  # fmt: skip
    return Table(
        title="Who runs what", rows=tuple(rows),
        columns=(Column(name="subgraph"), Column(name="phase"), Column(name="nodes"),
                 Column(name="count", kind="number"), Column(name="worker"),
                 Column(name="timed alone", unit="s", kind="number"),
                 Column(name="in a request", unit="s", kind="number"),
                 Column(name="on the critical path")),
        caption="Subgraphs of one phase know nothing of each other.",
    )  # fmt: skip


def _corrections(choice: Choice) -> Table:
    return Table(
        title="What was tried", columns=(
            Column(name="change"), Column(name="whole network", unit="s", kind="number"),
            Column(name="kept"), Column(name="by")),
        rows=tuple((c.what, c.seconds, "yes" if c.kept else "", c.by) for c in choice.placed.log),
        caption="Greedy placement, the whole on each worker, then corrections that are measured.",
    )  # fmt: skip
